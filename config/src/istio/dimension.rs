//! Values of labels: expressions of CEL that are a text or name an attribute.

use std::fmt;

use serde_json::json;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::{Node, Value};

/// What attributes begin with.
const ROOTS: [&str; 8] = [
    "request",
    "response",
    "connection",
    "source",
    "destination",
    "upstream",
    "xds",
    "node",
];

/// What the value of a label is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// `'v1'`: always the same.
    Text(String),
    /// `request.headers['x-team']`: an attribute, by its path.
    Attribute(Vec<String>),
}

impl Dimension {
    /// The one that an expression of CEL stands for; `None` if it is more than a text or
    /// an attribute, which may be wrapped in `string(…)`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let inner = text.strip_prefix("string(");
        let inner = inner.and_then(|inner| inner.strip_suffix(')'));
        let text = inner.map_or(text, str::trim);
        if let Some(text) = literal(text) {
            return Some(Self::Text(text.to_owned()));
        }
        let path = path(text)?;
        let is_known = ROOTS.contains(&path.first()?.as_str()) && path.len() > 1;
        is_known.then_some(Self::Attribute(path))
    }
}

/// What stands between quotes of one kind, without any escape.
fn literal(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.get(1..)?.strip_suffix(quote)?;
    (!inner.contains([quote, '\\'])).then_some(inner)
}

/// `a.b['c']` as its parts.
fn path(text: &str) -> Option<Vec<String>> {
    let (first, mut rest) = word(text)?;
    let mut path = vec![first.to_owned()];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (next, after) = word(after)?;
            path.push(next.to_owned());
            rest = after;
        } else {
            let (key, after) = rest.strip_prefix('[')?.split_once(']')?;
            path.push(literal(key.trim())?.to_owned());
            rest = after;
        }
    }
    Some(path)
}

/// The identifier that a text begins with, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let begins = word.starts_with(|c: char| !c.is_ascii_digit());
    begins.then_some((word, rest))
}

/// As an expression.
impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => quoted(text, f),
            Self::Attribute(path) => {
                for (place, part) in path.iter().enumerate() {
                    match word(part) {
                        Some((_, "")) if place == 0 => f.write_str(part)?,
                        Some((_, "")) => write!(f, ".{part}")?,
                        _ => {
                            f.write_str("[")?;
                            quoted(part, f)?;
                            f.write_str("]")?;
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// In the quotes that it does not contain.
fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    write!(f, "{quote}{text}{quote}")
}

impl FromYaml for Dimension {
    const EXPECTED: &'static str = "a text in quotes, or an attribute such as `request.host`";

    fn placeholder() -> Self {
        Self::Text(String::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        Self::parse(text).unwrap_or_else(|| {
            let message = format!("`{text}` is no {}", Self::EXPECTED.trim_start_matches("a "));
            let help = "other expressions are not supported; for example \"'v1'\", or \
                        request.headers['x-team']";
            problems.push(Problem::new(node.span, message).help(help));
            Self::placeholder()
        })
    }

    fn shape() -> Shape {
        Shape::text()
    }
}

/// `dimensions`: labels and their values, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dimensions(pub Vec<(String, Dimension)>);

/// Whether a label can have this name.
pub(crate) fn is_label(name: &str) -> bool {
    word(name).is_some_and(|(word, rest)| !word.is_empty() && rest.is_empty())
        && !name.starts_with("__")
        && name != "le"
}

impl FromYaml for Dimensions {
    const EXPECTED: &'static str = "a mapping such as `{ request_host: request.host }`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let mut dimensions = Vec::new();
        for entry in entries {
            let name = &entry.key.text;
            if !is_label(name) {
                let message = format!("`{name}` cannot be the name of a label");
                problems.push(Problem::new(entry.key.span, message));
            }
            dimensions.push((name.clone(), Dimension::read(&entry.value, problems)));
        }
        // As Istio has them.
        dimensions.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(dimensions)
    }

    fn shape() -> Shape {
        let values = json!({ "type": "string" });
        Shape::Is(json!({ "type": "object", "additionalProperties": values }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_attributes_are_read_and_written() {
        for (given, written) in [
            ("'v1'", "'v1'"),
            ("\"it's\"", "\"it's\""),
            ("request.host", "request.host"),
            (" string( destination.port ) ", "destination.port"),
            ("request.headers[\"x-team\"]", "request.headers['x-team']"),
            ("node.metadata['LABELS']['app']", "node.metadata.LABELS.app"),
        ] {
            let dimension = Dimension::parse(given);
            let dimension = dimension.unwrap_or_else(|| panic!("{given}"));
            assert_eq!(dimension.to_string(), written, "{given}");
            assert_eq!(Dimension::parse(written), Some(dimension), "{given}");
        }
    }

    #[test]
    fn other_expressions_are_none() {
        for given in [
            "",
            "'",
            "'a' + 'b'",
            "'\\n'",
            "1",
            "true",
            "request",
            "request.host + 'x'",
            "request.headers[0]",
            "request.headers['a'",
            "has(request.headers['a']) ? 'a' : 'b'",
            "upstream_peer.labels['role'].value",
            "1request.host",
            "request..host",
        ] {
            assert_eq!(Dimension::parse(given), None, "{given}");
        }
    }
}
