//! Formats of times: those of `strftime`, and Envoy's for fractions.

use super::template::TemplateError;

/// A piece of a time, which is in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimePiece {
    /// A character as it is.
    Text(char),
    /// `%Y`
    Year,
    /// `%m`
    Month,
    /// `%d`
    Day,
    /// `%H`
    Hour,
    /// `%M`
    Minute,
    /// `%S`
    Second,
    /// `%s`: seconds since the Unix epoch.
    Epoch,
    /// `%f`, `%3f`: so many digits of the second's fraction.
    Fraction(usize),
}

/// `START_TIME` without a format of its own.
pub(super) const START_TIME: &str = "%Y-%m-%dT%H:%M:%S.%3fZ";

/// A format of `strftime`, with Envoy's additions for fractions.
pub(super) fn parse(format: &str) -> Result<Vec<TimePiece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        let specifiers: [(&str, &[TimePiece]); 12] = [
            ("%Y", &[TimePiece::Year]),
            ("%m", &[TimePiece::Month]),
            ("%d", &[TimePiece::Day]),
            ("%H", &[TimePiece::Hour]),
            ("%M", &[TimePiece::Minute]),
            ("%S", &[TimePiece::Second]),
            ("%s", &[TimePiece::Epoch]),
            ("%f", &[TimePiece::Fraction(9)]),
            ("%3f", &[TimePiece::Fraction(3)]),
            ("%6f", &[TimePiece::Fraction(6)]),
            ("%9f", &[TimePiece::Fraction(9)]),
            (
                "%E3S",
                &[
                    TimePiece::Second,
                    TimePiece::Text('.'),
                    TimePiece::Fraction(3),
                ],
            ),
        ];
        let found = specifiers.iter().find(|(text, _)| rest.starts_with(text));
        if let Some((text, meaning)) = found {
            pieces.extend_from_slice(meaning);
            rest = &rest[text.len()..];
        } else if c == '%' {
            let shown: String = rest.chars().take(2).collect();
            return Err(TemplateError {
                message: format!("`{shown}` in the format of a time is not supported"),
                help: Some("there are %Y %m %d %H %M %S %s %f %3f %6f %9f and %E3S".to_owned()),
            });
        } else {
            pieces.push(TimePiece::Text(c));
            rest = &rest[c.len_utf8()..];
        }
    }
    Ok(pieces)
}
