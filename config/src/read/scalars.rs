//! Strings, truth values, counts and paths.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch, mismatch_with_help};
use crate::schema::Shape;
use crate::yaml::{Meaning, Node};

impl FromYaml for String {
    const EXPECTED: &'static str = "a string";

    fn placeholder() -> Self {
        Self::new()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some(text) => text.to_owned(),
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

impl FromYaml for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn placeholder() -> Self {
        Self::new()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match node.text() {
            Some("") => {
                problems.push(Problem::new(node.span, "the path is empty"));
                Self::placeholder()
            }
            Some(text) => Self::from(text),
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

impl FromYaml for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn placeholder() -> Self {
        false
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some((scalar, meaning)) = node.scalar() else {
            return mismatch(node, problems);
        };
        if let Meaning::Bool(value) = meaning {
            return value;
        }
        let meant = match scalar.text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "1" => Some("write `true`"),
            "no" | "off" | "n" | "0" => Some("write `false`"),
            "true" | "false" if scalar.quoted => Some("remove the quotes"),
            _ => None,
        };
        mismatch_with_help(node, meant, problems)
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "boolean" }))
    }
}

/// Whole numbers with a range of their own.
macro_rules! integers {
    ($($type:ty: $expected:literal),+ $(,)?) => {$(
        impl FromYaml for $type {
            const EXPECTED: &'static str = $expected;

            fn placeholder() -> Self {
                0
            }

            fn read(node: &Node, problems: &mut Problems) -> Self {
                let number = match node.scalar() {
                    Some((scalar, Meaning::Integer)) => scalar.text.parse().ok(),
                    _ => None,
                };
                match number {
                    Some(number) => number,
                    None => mismatch(node, problems),
                }
            }

            fn shape() -> Shape {
                Shape::Is(json!({
                    "type": "integer",
                    "minimum": <$type>::MIN,
                    "maximum": <$type>::MAX,
                }))
            }
        }
    )+};
}

integers! {
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    usize: "a whole number from 0",
    i64: "a whole number",
}

impl FromYaml for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number from 1";

    fn placeholder() -> Self {
        Self::MIN
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let number = match node.scalar() {
            Some((scalar, Meaning::Integer)) => scalar.text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => number,
            None => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "integer", "minimum": 1 }))
    }
}
