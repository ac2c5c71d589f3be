//! As much of JSON schema as [`super::schema`] needs, for tests. A keyword that it does
//! not know is an error.

use regex::Regex;
use serde_json::{Map, Value as Json};

/// What is wrong with `value`, with the place of it; empty if nothing is.
pub(super) fn validate(root: &Json, value: &Json) -> Vec<String> {
    let mut wrong = Vec::new();
    check(root, root, value, "", &mut wrong);
    wrong
}

fn is_valid(root: &Json, schema: &Json, value: &Json) -> bool {
    let mut wrong = Vec::new();
    check(root, schema, value, "", &mut wrong);
    wrong.is_empty()
}

fn check(root: &Json, schema: &Json, value: &Json, at: &str, wrong: &mut Vec<String>) {
    for (keyword, argument) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "examples" => true,
            "$ref" => {
                let name = argument.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(root, &root["$defs"][name], value, at, wrong);
                true
            }
            "type" => match argument {
                Json::Array(kinds) => kinds.iter().any(|kind| is_a(value, kind)),
                kind => is_a(value, kind),
            },
            "enum" => argument.as_array().unwrap().contains(value),
            "const" => argument == value,
            "minimum" => value
                .as_f64()
                .is_none_or(|v| v >= argument.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|v| v <= argument.as_f64().unwrap()),
            "pattern" => {
                let pattern = Regex::new(argument.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "required" => value.as_object().is_none_or(|members| {
                let mut keys = argument.as_array().unwrap().iter();
                keys.all(|key| members.contains_key(key.as_str().unwrap()))
            }),
            "anyOf" => {
                let mut all = argument.as_array().unwrap().iter();
                all.any(|schema| is_valid(root, schema, value))
            }
            "allOf" => {
                let mut all = argument.as_array().unwrap().iter();
                all.all(|schema| is_valid(root, schema, value))
            }
            "not" => !is_valid(root, argument, value),
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, argument, item, &format!("{at}/{place}"), wrong);
                }
                true
            }
            "properties" | "additionalProperties" => {
                let none = Map::new();
                let known = schema.get("properties").and_then(Json::as_object);
                let known = known.unwrap_or(&none);
                for (key, member) in value.as_object().unwrap_or(&none) {
                    let place = format!("{at}/{key}");
                    match known.get(key) {
                        Some(schema) if keyword == "properties" => {
                            check(root, schema, member, &place, wrong);
                        }
                        None if *argument == Json::Bool(false) => {
                            wrong.push(format!("{place}: unknown"));
                        }
                        None if keyword == "additionalProperties" => {
                            check(root, argument, member, &place, wrong);
                        }
                        Some(_) | None => {}
                    }
                }
                true
            }
            unknown => panic!("unknown keyword {unknown}"),
        };
        if !holds {
            wrong.push(format!("{at}: {keyword} {argument}, found {value}"));
        }
    }
}

fn is_a(value: &Json, kind: &Json) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        unknown => panic!("unknown type {unknown}"),
    }
}
