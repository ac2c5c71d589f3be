//! [`schema`]: what a configuration looks like, as a JSON schema.
//!
//! Nothing of it is written down twice: the readers are asked. Each reads a mapping
//! with one of its keys after the other, and what it asks that mapping for is what it
//! knows ([`Event`]). A key without which it complains is required; one of several is,
//! if having another helps.

mod docs;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod validator;

use serde_json::{Map, Value as Json, json};

use self::docs::Docs;
use crate::any;
use crate::config;
use crate::problems::Problems;
use crate::read::Block;
use crate::source::Span;
use crate::yaml::{self, Entry, Key, Node, Value};

/// What the values of a type look like.
pub(crate) enum Shape {
    /// A mapping that is read by this, or something of which no more is known.
    Block(fn(&Node, &mut Problems)),
    /// A list.
    List(Box<Shape>),
    /// Any of these.
    Any(Vec<Shape>),
    /// A mapping of any keys to this.
    Map(Box<Shape>),
    /// As this schema says.
    Is(Json),
}

impl Shape {
    /// Text: what looks like a number or a truth value is text where text is wanted.
    pub(crate) fn text() -> Self {
        Self::Is(json!({ "type": ["string", "number", "boolean"] }))
    }

    /// One of these words.
    pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        Self::Is(json!({ "enum": words.collect::<Vec<_>>() }))
    }

    /// A mapping of any keys.
    pub(crate) fn mapping() -> Self {
        Self::Is(json!({ "type": "object" }))
    }
}

/// What a reader asks of a mapping.
pub(crate) enum Event {
    /// It reads it as this.
    Open(&'static Block),
    /// It wants the value of a key, as what has this shape.
    Key(&'static Block, String, fn() -> Shape),
    /// It cannot do without a key.
    Require(&'static Block, String),
    /// It takes one of these keys, and not two.
    OneOf(&'static Block, Vec<&'static str>),
}

/// The JSON schema (draft 2020-12) of Weir's own configuration.
///
/// What it refuses is wrong, but for a key without a value, which counts as one that is
/// not there. What it takes may still be wrong: names that must differ, references,
/// regular expressions and the like are for [`parse`](crate::parse) to check.
pub fn schema() -> Json {
    let mut writer = Writer {
        definitions: Map::new(),
        docs: Docs::of_sources(),
    };
    let root = writer.shape(Shape::Block(config::probe));
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Weir",
    });
    if let (Json::Object(schema), Json::Object(root)) = (&mut schema, root) {
        schema.extend(root);
        schema.insert("$defs".to_owned(), Json::Object(writer.definitions));
    }
    schema
}

struct Writer {
    definitions: Map<String, Json>,
    docs: Docs,
}

impl Writer {
    fn shape(&mut self, shape: Shape) -> Json {
        match shape {
            Shape::Is(schema) => schema,
            Shape::List(item) => json!({ "type": "array", "items": self.shape(*item) }),
            Shape::Any(shapes) => {
                let shapes = shapes.into_iter().map(|shape| self.shape(shape));
                json!({ "anyOf": shapes.collect::<Vec<_>>() })
            }
            Shape::Map(value) => {
                json!({ "type": "object", "additionalProperties": self.shape(*value) })
            }
            Shape::Block(read) => self.block(read),
        }
    }

    /// A reference to the definition of a block.
    fn block(&mut self, read: fn(&Node, &mut Problems)) -> Json {
        let opened = probe(read, None).into_iter().find_map(|event| match event {
            Event::Open(block) => Some(block),
            _ => None,
        });
        let Some(block) = opened else {
            return json!({});
        };
        let name = definition(block);
        if !self.definitions.contains_key(&name) {
            // A block may be in itself.
            self.definitions.insert(name.clone(), Json::Null);
            let definition = self.define(block, read);
            self.definitions.insert(name.clone(), definition);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    fn define(&mut self, block: &'static Block, read: fn(&Node, &mut Problems)) -> Json {
        let known = Known::of(block, read);
        let mut properties = Map::new();
        for (key, example) in block.keys {
            let mut shapes: Vec<Json> = Vec::new();
            for shape in known.shapes(key) {
                let shape = self.shape(shape());
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
            let mut property = match shapes.len() {
                0 | 1 => shapes.pop().unwrap_or_else(|| json!({})),
                _ => json!({ "anyOf": shapes }),
            };
            if let Json::Object(property) = &mut property {
                if let Some(text) = self.docs.of(block, key) {
                    property.insert("description".to_owned(), text.into());
                }
                property.extend(value(example).map(|v| ("examples".to_owned(), json!([v]))));
            }
            properties.insert((*key).to_owned(), property);
        }
        let mut definition = json!({
            "title": block.name,
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        });
        if let Json::Object(definition) = &mut definition {
            if !known.required.is_empty() {
                definition.insert("required".to_owned(), json!(known.required));
            }
            if !known.alternatives.is_empty() {
                let all = known.alternatives.iter().map(|keys| {
                    let any = keys.iter().map(|key| json!({ "required": [key] }));
                    json!({ "anyOf": any.collect::<Vec<_>>() })
                });
                definition.insert("allOf".to_owned(), all.collect());
            }
            let clashes: Vec<_> = known.one_of.iter().flat_map(|keys| clashes(keys)).collect();
            if !clashes.is_empty() {
                definition.insert("not".to_owned(), json!({ "anyOf": clashes }));
            }
        }
        definition
    }
}

/// What is known of the keys of a block.
struct Known {
    keys: Vec<(String, fn() -> Shape)>,
    required: Vec<String>,
    /// Of each of these, one is required.
    alternatives: Vec<Vec<String>>,
    /// Of each of these, two are too many.
    one_of: Vec<Vec<&'static str>>,
}

impl Known {
    fn of(block: &'static Block, read: fn(&Node, &mut Problems)) -> Self {
        let mut known = Self {
            keys: Vec::new(),
            required: Vec::new(),
            alternatives: Vec::new(),
            one_of: Vec::new(),
        };
        let without = known.note(block, probe(read, None));
        let with: Vec<_> = block
            .key_names()
            .flat_map(|key| values().map(move |value| (key, value)))
            .map(|(key, value)| (key, known.note(block, probe(read, Some((key, value))))))
            .collect();
        for required in without {
            let not_by = with.iter().filter(|(_, keys)| !keys.contains(&required));
            let not_by = not_by.map(|(key, _)| *key).filter(|key| *key != required);
            let mut others: Vec<_> = not_by.map(str::to_owned).collect();
            if others.is_empty() {
                known.required.push(required);
            } else {
                others.dedup();
                others.insert(0, required);
                known.alternatives.push(others);
            }
        }
        known
    }

    /// Notes what happened; gives the keys that were required.
    fn note(&mut self, of: &'static Block, events: Vec<Event>) -> Vec<String> {
        let mut required = Vec::new();
        for event in events {
            match event {
                Event::Key(block, key, shape) if std::ptr::eq(block, of) => {
                    self.keys.push((key, shape));
                }
                Event::Require(block, key) if std::ptr::eq(block, of) => required.push(key),
                Event::OneOf(block, keys) if std::ptr::eq(block, of) => {
                    if !self.one_of.contains(&keys) {
                        self.one_of.push(keys);
                    }
                }
                Event::Open(_) | Event::Key(..) | Event::Require(..) | Event::OneOf(..) => {}
            }
        }
        required.sort_unstable();
        required.dedup();
        required
    }

    fn shapes<'a>(&'a self, key: &'a str) -> impl Iterator<Item = fn() -> Shape> + 'a {
        let of_key = self.keys.iter().filter(move |(known, _)| known == key);
        of_key.map(|(_, shape)| *shape)
    }
}

/// Values that a reader may treat in different ways; it says nothing of the first.
fn values() -> impl Iterator<Item = Value> {
    let values = [
        Value::Broken,
        Value::Sequence(Vec::new()),
        Value::Mapping(Vec::new()),
    ];
    values.into_iter()
}

/// What happens when a mapping is read, with one key or none.
fn probe(read: fn(&Node, &mut Problems), key: Option<(&str, Value)>) -> Vec<Event> {
    let span = Span::default();
    let node = |value| Node {
        value,
        span,
        at: span,
    };
    let entry = key.map(|(key, value)| Entry {
        key: Key {
            text: key.to_owned(),
            span,
        },
        value: node(value),
    });
    let mapping = node(Value::Mapping(entry.into_iter().collect()));
    let mut problems = Problems::recording();
    read(&mapping, &mut problems);
    problems.into_events()
}

/// Every two of the keys.
fn clashes(keys: &[&'static str]) -> Vec<Json> {
    let pairs = keys.iter().enumerate().flat_map(|(place, first)| {
        let rest = keys[place + 1..].iter();
        rest.map(move |second| json!({ "required": [first, second] }))
    });
    pairs.collect()
}

/// The name of the definition of a block: `a cluster` is `cluster`.
fn definition(block: &Block) -> String {
    let name = block
        .name
        .trim_start_matches("an ")
        .trim_start_matches("a ");
    let name = name.trim_start_matches("the ").replace('`', "");
    name.to_lowercase().replace(' ', "_")
}

/// YAML text as JSON.
fn value(text: &str) -> Option<Json> {
    let mut problems = Problems::default();
    let node = yaml::compose(text, &mut problems)?;
    let json = any::json(&node, &mut problems);
    (problems.total() == 0).then_some(json)
}
