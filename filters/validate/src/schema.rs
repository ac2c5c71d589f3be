//! JSON Schemas of bodies.

use boon::{Compiler, SchemaIndex, Schemas, ValidationError};
use serde::Deserialize;
use serde_json::Value;

/// Errors of one body that are told.
const ERRORS_MAX: usize = 10;
/// The name of the schema for itself: whole, as a guest has no folder for a relative one.
const NAME: &str = "https://weir.invalid/body.json";

/// A schema of draft 4, 6, 7, 2019-09 or 2020-12, as its `$schema` says; 2020-12 if
/// it does not.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

/// What is wrong with one place in a body.
#[derive(Debug, PartialEq, serde::Serialize)]
pub(crate) struct Wrong {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Schema")
    }
}

impl TryFrom<Value> for Schema {
    type Error = String;

    fn try_from(schema: Value) -> Result<Self, String> {
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler
            .add_resource(NAME, schema)
            .map_err(|error| error.to_string())?;
        let mut schemas = Schemas::new();
        let index = compiler
            .compile(NAME, &mut schemas)
            .map_err(|error| format!("{error:#}"))?;
        Ok(Self { schemas, index })
    }
}

impl Schema {
    /// # Errors
    ///
    /// What is wrong with the body.
    pub(crate) fn check(&self, body: &Value) -> Result<(), Vec<Wrong>> {
        self.schemas.validate(body, self.index).map_err(|error| {
            let mut wrong = Vec::new();
            collect(&error, &mut wrong);
            wrong
        })
    }
}

/// The innermost causes: what is around them only says that there are some.
fn collect(error: &ValidationError<'_, '_>, wrong: &mut Vec<Wrong>) {
    if error.causes.is_empty() && wrong.len() < ERRORS_MAX {
        wrong.push(Wrong {
            pointer: error.instance_location.to_string(),
            detail: error.kind.to_string(),
        });
    }
    for cause in &error.causes {
        collect(cause, wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order() -> Schema {
        let schema = json!({
            "type": "object",
            "required": ["item", "count"],
            "additionalProperties": false,
            "properties": {
                "item": { "type": "string", "pattern": "^[a-z]+$" },
                "count": { "type": "integer", "minimum": 1 },
                "mail": { "type": "string", "format": "email" },
            },
        });
        Schema::try_from(schema).unwrap()
    }

    fn wrong(body: &Value) -> Vec<(String, String)> {
        let wrong = order().check(body).unwrap_err();
        wrong.into_iter().map(|w| (w.pointer, w.detail)).collect()
    }

    #[test]
    fn what_fits_is_right() {
        let body = json!({ "item": "tea", "count": 2, "mail": "ada@example.com" });
        assert_eq!(order().check(&body), Ok(()));
    }

    #[test]
    fn each_place_that_is_wrong_is_told() {
        let all = wrong(&json!({ "item": "TEA", "count": 0, "mail": "ada" }));
        let mut places: Vec<_> = all.iter().map(|(pointer, _)| &**pointer).collect();
        places.sort_unstable();
        assert_eq!(places, ["/count", "/item", "/mail"]);
        let missing = wrong(&json!({ "item": "tea" }));
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].0, "");
        assert!(missing[0].1.contains("count"), "{missing:?}");
    }

    #[test]
    fn only_so_many_are_told() {
        let schema = json!({ "items": { "type": "string" } });
        let schema = Schema::try_from(schema).unwrap();
        let body = Value::Array(vec![json!(1); 1000]);
        assert_eq!(schema.check(&body).unwrap_err().len(), ERRORS_MAX);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for schema in [
            json!(7),
            json!({ "type": "text" }),
            json!({ "$ref": "#/$defs/none" }),
            json!({ "$ref": "https://elsewhere.test/schema.json" }),
        ] {
            assert!(Schema::try_from(schema.clone()).is_err(), "{schema}");
        }
    }
}
