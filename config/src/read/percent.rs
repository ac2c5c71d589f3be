//! `12.5%`.

use std::fmt;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// A part of the whole, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u32);

impl Percent {
    /// All of it.
    pub const ALL: Self = Self(Self::MILLION);

    /// 20%.
    pub(crate) const FIFTH: Self = Self(Self::MILLION / 5);

    const MILLION: u32 = 1_000_000;

    /// `part` of `whole`, if that is not more than all.
    pub(crate) fn of(part: u32, whole: u32) -> Option<Self> {
        let millionths = u64::from(part) * u64::from(Self::MILLION);
        let millionths = millionths.checked_div(u64::from(whole))?;
        let millionths = u32::try_from(millionths).ok()?;
        (millionths <= Self::MILLION).then_some(Self(millionths))
    }

    /// So much, of a million.
    pub fn millionths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

impl FromYaml for Percent {
    const EXPECTED: &'static str = "a percentage such as `12.5%`";

    fn placeholder() -> Self {
        Self::ALL
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        parse(text).unwrap_or_else(|| {
            let message = format!("`{text}` is not a percentage");
            let help = "it is from `0%` to `100%`, with up to four decimals";
            problems.push(Problem::new(node.span, message).help(help));
            Self::placeholder()
        })
    }

    fn shape() -> Shape {
        let pattern = "^[0-9]+([.][0-9]{1,4})?%?$";
        Shape::Is(json!({
            "anyOf": [
                { "type": "string", "pattern": pattern },
                { "type": "number", "minimum": 0, "maximum": 100 },
            ],
        }))
    }
}

fn parse(text: &str) -> Option<Percent> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<4}").parse().ok()?;
    let millionths = whole.parse::<u32>().ok()?.checked_mul(10_000)? + fraction;
    (millionths <= Percent::MILLION).then_some(Percent(millionths))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_read_and_shown() {
        for (text, millionths, shown) in [
            ("0", 0, "0%"),
            ("12.5%", 125_000, "12.5%"),
            ("100%", 1_000_000, "100%"),
            ("0.0001", 1, "0.0001%"),
        ] {
            let percent = parse(text);
            assert_eq!(percent, Some(Percent(millionths)), "{text}");
            assert_eq!(percent.unwrap_or(Percent::ALL).to_string(), shown);
        }
        for wrong in ["", "%", "100.1", "-1", "1.", "0.00001", "many"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
