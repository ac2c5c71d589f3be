//! `64MiB`, `512KB`, `4096`.

use std::fmt;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::Node;

/// Units and their bytes: powers of 1024 with an `i`, of 1000 without.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = ["GiB", "MiB", "KiB"].into_iter().find_map(|unit| {
            let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
            (self.0 > 0 && self.0.is_multiple_of(*bytes)).then(|| (self.0 / bytes, unit))
        });
        let (number, unit) = largest.unwrap_or((self.0, "B"));
        write!(f, "{number}{unit}")
    }
}

impl FromYaml for ByteSize {
    const EXPECTED: &'static str = "a size such as `64MiB`, `512KB` or `4096`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text().filter(|text| !text.is_empty()) else {
            return mismatch(node, problems);
        };
        match parse(text) {
            Ok(size) => size,
            Err((message, help)) => {
                let problem = Problem::new(node.span, message);
                problems.push(problem.help(help));
                Self::placeholder()
            }
        }
    }

    fn shape() -> Shape {
        let pattern = "^[0-9]+(([KMG]i?)?B)?$";
        Shape::Is(json!({
            "anyOf": [{ "type": "string", "pattern": pattern }, { "type": "integer", "minimum": 0 }],
        }))
    }
}

/// The size, or a message and help.
fn parse(text: &str) -> Result<ByteSize, (String, String)> {
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    if number.is_empty() {
        let help = "write a whole number and a unit, such as `64MiB`";
        return Err((format!("`{text}` is not a size"), help.to_owned()));
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err((format!("`{text}` is not a size"), unit_help(number, unit)));
    };
    let size = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*bytes));
    size.map(ByteSize).ok_or_else(|| {
        let help = "sizes are below 16 EiB";
        (format!("the size `{text}` is too large"), help.to_owned())
    })
}

fn unit_help(number: &str, unit: &str) -> String {
    let unit = unit.trim();
    let same = |(name, _): &&(&str, u64)| {
        let short = name.trim_end_matches('B');
        name.eq_ignore_ascii_case(unit) || short.eq_ignore_ascii_case(unit)
    };
    match UNITS.iter().find(same) {
        Some((name, _)) => format!("did you mean `{number}{name}`?"),
        None if unit.starts_with('.') => "write a whole number of a smaller unit".to_owned(),
        None => "units are `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` and `GiB`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_bytes() {
        for (text, expected) in [
            ("4096", 4096),
            ("1KiB", 1024),
            ("512KB", 512_000),
            ("64MiB", 64 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(parse(text), Ok(ByteSize(expected)), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused_with_a_suggestion() {
        for (text, help) in [
            ("64mib", "did you mean `64MiB`?"),
            ("64Mi", "did you mean `64MiB`?"),
            ("64 MB", "did you mean `64MB`?"),
            ("64k", "did you mean `64KB`?"),
            ("1.5GiB", "write a whole number of a smaller unit"),
            (
                "3 apples",
                "units are `B`, `KB`, `MB`, `GB`, `KiB`, `MiB` and `GiB`",
            ),
            ("99999999999GiB", "sizes are below 16 EiB"),
            ("-1", "write a whole number and a unit, such as `64MiB`"),
        ] {
            let found = parse(text).map_err(|(_, help)| help);
            assert_eq!(found, Err(help.to_owned()), "{text}");
        }
    }

    #[test]
    fn sizes_show_the_largest_unit_that_fits() {
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1500).to_string(), "1500B");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }
}
