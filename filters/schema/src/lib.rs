//! What the tests of each filter ask of its documents: that its README, its example
//! and its schema agree with what the filter reads.
//!
//! A test that cannot read a document fails: everything here panics.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Display;
use std::fs;
use std::path::Path;

use boon::{Compiler, Schemas};
use serde_json::Value;

/// The schema beside a filter's manifest, `schema.json`.
pub struct Schema {
    schemas: Schemas,
    index: boon::SchemaIndex,
    text: Value,
}

impl Schema {
    /// Reads the schema in `folder`, and panics unless it is one.
    #[must_use]
    pub fn read(folder: &str) -> Self {
        let text = fs::read_to_string(Path::new(folder).join("schema.json")).unwrap();
        let text: Value = serde_json::from_str(&text).unwrap();
        let mut compiler = Compiler::new();
        compiler.add_resource("schema.json", text.clone()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("schema.json", &mut schemas).unwrap();
        Self {
            schemas,
            index,
            text,
        }
    }

    /// What the schema says against a configuration.
    ///
    /// # Errors
    ///
    /// Where it does not fit, and why.
    pub fn check(&self, configuration: &Value) -> Result<(), String> {
        let valid = self.schemas.validate(configuration, self.index);
        valid.map_err(|error| format!("{error:#}"))
    }
}

/// Checks the documents in the folder of the filter, which is `CARGO_MANIFEST_DIR`:
/// each `configuration` in its README and in its example fits the schema and is
/// taken by `read`, and the README tells every field of the schema.
///
/// # Panics
///
/// If something does not agree.
pub fn check_documents<E: Display>(folder: &str, read: impl Fn(&[u8]) -> Result<(), E>) {
    let schema = Schema::read(folder);
    let readme = fs::read_to_string(Path::new(folder).join("README.md")).unwrap();
    let example = fs::read_to_string(Path::new(folder).join("example.yaml")).unwrap();
    let filter = Path::new(folder).file_name().unwrap().to_str().unwrap();
    for (document, blocks) in [
        ("README.md", blocks(&readme)),
        ("example.yaml", vec![example.as_str()]),
    ] {
        let mut found = Vec::new();
        for block in blocks {
            let yaml: Value = serde_saphyr::from_str(block)
                .unwrap_or_else(|error| panic!("{filter}/{document}: {error}\n{block}"));
            configurations(&yaml, filter, &mut found);
        }
        assert!(
            !found.is_empty(),
            "{filter}/{document} configures no {filter}"
        );
        for configuration in found {
            if let Err(reason) = schema.check(&configuration) {
                panic!("{filter}/{document} does not fit the schema: {reason}");
            }
            if let Err(reason) = read(configuration.to_string().as_bytes()) {
                panic!("{filter}/{document} is refused: {reason}");
            }
        }
    }
    let mut fields = Vec::new();
    names(&schema.text, &mut fields);
    for field in fields {
        let told =
            readme.contains(&format!("`{field}`")) || readme.contains(&format!("\"{field}\""));
        assert!(told, "{filter}/README.md does not tell `{field}`");
    }
}

/// The blocks of YAML in a document.
fn blocks(markdown: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    for part in markdown.split("```yaml\n").skip(1) {
        blocks.push(part.split("```").next().unwrap());
    }
    blocks
}

/// The configurations of plugins whose module is the filter's.
fn configurations(yaml: &Value, filter: &str, found: &mut Vec<Value>) {
    match yaml {
        Value::Object(map) => {
            let file = &map.get("vm_config").unwrap_or(&Value::Null)["code"]["local"]["filename"];
            let file = file.as_str().unwrap_or_default();
            if file.ends_with(&format!("/{filter}.wasm")) {
                found.push(
                    map.get("configuration")
                        .cloned()
                        .unwrap_or_else(|| Value::Object(serde_json::Map::new())),
                );
            }
            map.values().for_each(|v| configurations(v, filter, found));
        }
        Value::Array(items) => items.iter().for_each(|v| configurations(v, filter, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The names of all `properties` in a schema.
fn names(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| names(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| names(v, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
