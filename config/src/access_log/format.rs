//! What is in a line of the access log.

use serde_json::json;

use super::template::Template;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::{Entry, Node, Value};

/// `access_log.format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFormat {
    /// Weir's own line, whose values cannot forge others.
    Weir,
    /// A text.
    Text(Template),
    /// A line of JSON, in the order of the file.
    Json(Vec<(String, JsonFormat)>),
}

/// A value in a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonFormat {
    /// A text. A single operator gives its value, numbers as such.
    Text(Template),
    /// An object.
    Object(Vec<(String, JsonFormat)>),
}

impl LogFormat {
    /// Envoy's default.
    pub(crate) fn envoy() -> Self {
        Self::Text(Template::envoy())
    }
}

impl FromYaml for LogFormat {
    const EXPECTED: &'static str = "a text or a mapping";

    fn placeholder() -> Self {
        Self::Weir
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match &node.value {
            Value::Mapping(entries) => Self::Json(members(entries, problems)),
            _ => match template(node, problems) {
                Some(template) => Self::Text(template),
                None => Self::Weir,
            },
        }
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": ["string", "number", "boolean", "object"] }))
    }
}

fn members(entries: &[Entry], problems: &mut Problems) -> Vec<(String, JsonFormat)> {
    let mut members = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = match &entry.value.value {
            Value::Mapping(entries) => Some(JsonFormat::Object(self::members(entries, problems))),
            _ => template(&entry.value, problems).map(JsonFormat::Text),
        };
        members.extend(value.map(|value| (entry.key.text.clone(), value)));
    }
    members
}

fn template(node: &Node, problems: &mut Problems) -> Option<Template> {
    let Some(text) = node.text() else {
        mismatch::<LogFormat>(node, problems);
        return None;
    };
    match Template::parse(text) {
        Ok(template) => Some(template),
        Err(error) => {
            let problem = Problem::new(node.span, error.message);
            problems.push(match error.help {
                Some(help) => problem.help(help),
                None => problem,
            });
            None
        }
    }
}
