//! The tree.

use serde_json::Value as Json;

use crate::limits::MAX_SHOWN_VALUE;
use crate::source::Span;
use crate::yaml::schema::{Meaning, meaning};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// The value itself.
    pub(crate) span: Span,
    /// Where to point when the value as a whole is meant: its key if it is a
    /// mapping or list, or else the value.
    pub(crate) at: Span,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A problem was noted already: there is nothing to read, nor to say.
    Broken,
}

/// Text that is neither a list nor a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    /// Quoted, a block (`|`, `>`) or tagged `!!str`: a string whatever it says.
    pub(crate) quoted: bool,
}

/// A key of a mapping and its value. Keys differ from one another.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Node {
    pub(crate) fn scalar_at(scalar: Scalar, span: Span) -> Self {
        Self {
            value: Value::Scalar(scalar),
            span,
            at: span,
        }
    }

    pub(crate) fn broken(span: Span) -> Self {
        Self {
            value: Value::Broken,
            span,
            at: span,
        }
    }

    /// The same as JSON has it, which has no places.
    pub(crate) fn of_json(json: &Json) -> Self {
        let span = Span::NOWHERE;
        let scalar = |text: String, quoted| Value::Scalar(Scalar { text, quoted });
        let value = match json {
            Json::Null => scalar("null".to_owned(), false),
            Json::Bool(value) => scalar(value.to_string(), false),
            Json::Number(number) => scalar(number.to_string(), false),
            Json::String(text) => scalar(text.clone(), true),
            Json::Array(items) => Value::Sequence(items.iter().map(Self::of_json).collect()),
            Json::Object(fields) => Value::Mapping(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: Key {
                            text: key.clone(),
                            span,
                        },
                        value: Self::of_json(value),
                    })
                    .collect(),
            ),
        };
        Self {
            value,
            span,
            at: span,
        }
    }

    /// The scalar and its meaning; `None` if it is anything else.
    pub(crate) fn scalar(&self) -> Option<(&Scalar, Meaning)> {
        match &self.value {
            Value::Scalar(scalar) => Some((scalar, meaning(scalar))),
            Value::Sequence(_) | Value::Mapping(_) | Value::Broken => None,
        }
    }

    /// The text of a scalar that is not null. What looks like a number or a
    /// truth value is text as written where text is wanted.
    pub(crate) fn text(&self) -> Option<&str> {
        match self.scalar()? {
            (_, Meaning::Null) => None,
            (scalar, _) => Some(&scalar.text),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.scalar(), Some((_, Meaning::Null)))
    }

    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::Sequence(items) if items.is_empty())
    }

    /// What was found, to complete "expected …, found …".
    pub(crate) fn describe(&self) -> String {
        let scalar = match &self.value {
            Value::Scalar(scalar) => scalar,
            Value::Sequence(_) => return "a list".to_owned(),
            Value::Mapping(_) => return "a mapping".to_owned(),
            Value::Broken => return "an error".to_owned(),
        };
        let text = shorten(&scalar.text);
        match meaning(scalar) {
            Meaning::Null => "nothing".to_owned(),
            Meaning::Bool(_) => format!("`{text}`"),
            Meaning::Integer | Meaning::Float => format!("the number `{text}`"),
            Meaning::Text if text.is_empty() => "an empty string".to_owned(),
            Meaning::Text => format!("the string `{text}`"),
        }
    }
}

/// At most [`MAX_SHOWN_VALUE`] characters of `text`, on one line.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN_VALUE).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown.escape_debug().to_string()
}
