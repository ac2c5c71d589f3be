//! `5%`, `0.25%`.

use std::fmt;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// A share of a whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Percent(u32);

/// Millionths in one percent.
const OF_ONE: u32 = 10_000;

impl Percent {
    /// All of it, in millionths.
    pub const WHOLE: u32 = 100 * OF_ONE;

    /// All of it.
    pub const ALL: Self = Self(Self::WHOLE);

    /// 20%.
    pub(crate) const FIFTH: Self = Self(Self::WHOLE / 5);

    /// `part` of `whole`, if that is not more than all.
    pub(crate) fn of(part: u32, whole: u32) -> Option<Self> {
        let millionths = u64::from(part) * u64::from(Self::WHOLE);
        let millionths = millionths.checked_div(u64::from(whole))?;
        let millionths = u32::try_from(millionths).ok()?;
        (millionths <= Self::WHOLE).then_some(Self(millionths))
    }

    /// The share in millionths, from 0 to [`Percent::WHOLE`].
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / OF_ONE, self.0 % OF_ONE);
        let digits = format!("{part:04}");
        match digits.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            digits => write!(f, "{whole}.{digits}%"),
        }
    }
}

impl FromYaml for Percent {
    const EXPECTED: &'static str = "a share such as `5%` or `0.25%`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        match parse(text) {
            Ok(percent) => percent,
            Err(message) => {
                let problem = Problem::new(node.span, message);
                problems.push(problem.help("for example `5%` or `0.25%`"));
                Self::placeholder()
            }
        }
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,4})?%$" }))
    }
}

fn parse(text: &str) -> Result<Percent, String> {
    let Some(number) = text.strip_suffix('%') else {
        return Err(format!("`{text}` is no share: the percent sign is missing"));
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(format!("`{text}` is no share"));
    }
    if part.len() > 4 {
        return Err(format!(
            "`{text}` has more than four digits behind the point"
        ));
    }
    let millionths = format!("{whole}{part:0<4}").parse().ok();
    let millionths = millionths.filter(|m| *m <= Percent::WHOLE);
    millionths
        .map(Percent)
        .ok_or_else(|| format!("`{text}` is more than all of it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_shown() {
        for (text, millionths) in [
            ("0%", 0),
            ("5%", 50_000),
            ("0.25%", 2_500),
            ("0.0001%", 1),
            ("12.5%", 125_000),
            ("100%", 1_000_000),
        ] {
            let percent = parse(text).unwrap();
            assert_eq!(percent.millionths(), millionths, "{text}");
            assert_eq!(percent.to_string(), text);
        }
        for text in [
            "5", "%", "-1%", "1.%", ".5%", "1e1%", "0.00001%", "101%", "5 %",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
