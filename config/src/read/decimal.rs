//! `1.5`: decimal numbers that are compared exactly.

use std::fmt;

use serde_json::json;

use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::{Meaning, Node};

/// Digits behind the point that are kept.
const DIGITS: usize = 6;

/// A decimal number from 0, to the millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(u64);

impl Decimal {
    /// 1.
    pub const ONE: Self = Self(1_000_000);

    /// Its value.
    #[allow(clippy::cast_precision_loss)] // Far more digits than anybody writes.
    pub fn value(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The number that a text is, if it is one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(DIGITS)];
        let millionths: u64 = format!("{fraction:0<DIGITS$}").parse().ok()?;
        Some(Self(whole.parse::<u64>().ok()? * 1_000_000 + millionths))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

impl FromYaml for Decimal {
    const EXPECTED: &'static str = "a number such as `1.5`";

    fn placeholder() -> Self {
        Self::ONE
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let number = match node.scalar() {
            Some((scalar, Meaning::Integer | Meaning::Float)) => Self::parse(&scalar.text),
            _ => None,
        };
        number.unwrap_or_else(|| mismatch(node, problems))
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "number", "minimum": 0 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_to_the_millionth() {
        for (text, value) in [("1", 1.0), ("0.25", 0.25), ("2.0000005", 2.0)] {
            let read = Decimal::parse(text).map(Decimal::value);
            assert_eq!(read, Some(value), "{text}");
        }
        for wrong in ["", "-1", ".5", "1e3", "nan"] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
    }
}
