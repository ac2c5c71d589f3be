//! `10ms`, `1.5s`, `2h`.

use std::time::Duration;

use serde_json::json;

use crate::error::Problem;
use crate::limits::MAX_DURATION;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// Units and their nanoseconds.
const UNITS: [(&str, u128); 5] = [
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Digits of a number, before and behind the point together; beyond, it is
/// longer than a year or finer than a nanosecond.
const MAX_DIGITS: usize = 18;

impl FromYaml for Duration {
    const EXPECTED: &'static str = "a duration such as `10ms`, `1.5s` or `2h`";

    fn placeholder() -> Self {
        Self::ZERO
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        match parse(text) {
            Ok(duration) => duration,
            Err((message, help)) => {
                let problem = Problem::new(node.span, message);
                problems.push(problem.help(help));
                Self::placeholder()
            }
        }
    }

    fn shape() -> Shape {
        let pattern = r"^(0|[0-9]+(\.[0-9]+)?(us|ms|s|m|h))$";
        Shape::Is(json!({ "anyOf": [{ "type": "string", "pattern": pattern }, { "const": 0 }] }))
    }
}

/// The duration, or a message and help.
fn parse(text: &str) -> Result<Duration, (String, String)> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = !whole.is_empty() && !fraction.is_empty() && !fraction.contains('.');
    if !is_number {
        let help = if text.starts_with('-') {
            "a duration cannot be negative"
        } else {
            "write a number and a unit, such as `10ms`, `1.5s` or `2h`"
        };
        return Err((format!("`{text}` is not a duration"), help.to_owned()));
    }
    let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(unit_error(text, number, unit));
    };
    let digits = whole.len() + fraction.len();
    let total = if digits <= MAX_DIGITS {
        scaled(whole, *nanos)
            .zip(scaled(fraction, *nanos))
            .map(|(whole, fraction)| {
                let scale = 10_u128.pow(u32::try_from(fraction_digits(number)).unwrap_or(0));
                whole + fraction / scale
            })
    } else {
        None
    };
    let duration = total
        .and_then(|nanos| u64::try_from(nanos).ok())
        .map(Duration::from_nanos)
        .filter(|duration| *duration <= MAX_DURATION);
    duration.ok_or_else(|| {
        let message = format!("the duration `{text}` is too long");
        (message, "the longest is 366 days, `8784h`".to_owned())
    })
}

fn scaled(digits: &str, nanos: u128) -> Option<u128> {
    digits.parse::<u128>().ok()?.checked_mul(nanos)
}

/// Digits behind the point; a number without one is read as if `.0` followed.
fn fraction_digits(number: &str) -> usize {
    number
        .split_once('.')
        .map_or(1, |(_, fraction)| fraction.len())
}

fn unit_error(text: &str, number: &str, unit: &str) -> (String, String) {
    if unit.is_empty() {
        let help = format!("write `{number}s` for seconds or `{number}ms` for milliseconds");
        return (format!("the duration `{text}` has no unit"), help);
    }
    let plain = unit.trim().to_ascii_lowercase();
    let known = UNITS.iter().any(|(name, _)| *name == plain);
    let help = if known {
        format!("did you mean `{number}{plain}`?")
    } else if unit.contains(|c: char| c.is_ascii_digit()) {
        "write one number with one unit, such as `90s`".to_owned()
    } else {
        "units are `us`, `ms`, `s`, `m` and `h`".to_owned()
    };
    (format!("`{text}` is not a duration: unknown unit"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        for (text, expected) in [
            ("0", Duration::ZERO),
            ("0s", Duration::ZERO),
            ("10ms", Duration::from_millis(10)),
            ("0.25s", Duration::from_millis(250)),
            ("1.5s", Duration::from_millis(1500)),
            ("0.000001s", Duration::from_micros(1)),
            ("250us", Duration::from_micros(250)),
            ("1m", Duration::from_secs(60)),
            ("2h", Duration::from_secs(7200)),
            ("8784h", MAX_DURATION),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "s",
            "15",
            "1.5",
            ".5s",
            "5.s",
            "1.2.3s",
            "-1s",
            "+1s",
            "1e3s",
            "10S",
            "10 ms",
            "1m30s",
            "1d",
            "9000h",
            "99999999999999999999999h",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
