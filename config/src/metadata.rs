//! Facts for filters: Envoy's `core.v3.Metadata`.

use serde_json::{Map, Value as Json, json};

use crate::any;
use crate::problems::Problems;
use crate::read::{FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::{Entry, Node, Value};

/// A JSON object, keys in the order of the file.
pub type Struct = Map<String, Json>;

/// `metadata`: for each namespace, usually the name of a filter, an object.
/// Default: empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Namespaces and what stands under them.
    pub namespaces: Vec<(String, Struct)>,
}

impl Metadata {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}

impl FromYaml for Metadata {
    const EXPECTED: &'static str = "a mapping of namespaces such as `{ my.filter: { key: 1 } }`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let namespace = |entry: &Entry| {
            let name = entry.key.text.clone();
            (name, JsonObject::read(&entry.value, problems).0)
        };
        Self {
            namespaces: entries.iter().map(namespace).collect(),
        }
    }

    fn shape() -> Shape {
        let namespace = json!({ "type": "object" });
        Shape::Is(json!({ "type": "object", "additionalProperties": namespace }))
    }
}

/// A mapping that is taken as it is.
#[derive(Debug, Default)]
pub(crate) struct JsonObject(pub(crate) Struct);

impl FromYaml for JsonObject {
    const EXPECTED: &'static str = "a mapping";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match &node.value {
            Value::Mapping(_) => match any::json(node, problems) {
                Json::Object(members) => Self(members),
                _ => Self::placeholder(),
            },
            _ => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::mapping()
    }
}
