//! One bootstrap over another.

use serde_json::{Map, Value as Json};

/// Why a bootstrap is none.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum BootstrapError {
    #[error("{what} is not JSON, which --config-yaml takes: {source}")]
    Json {
        what: &'static str,
        source: serde_json::Error,
    },
}

/// The bootstrap in `file` with `more` over it, as protobuf merges messages: fields of
/// messages by themselves, lists one behind the other, and of other values the later.
///
/// # Errors
/// When one of them is not JSON.
pub(super) fn merged(file: &str, more: &str) -> Result<String, BootstrapError> {
    let read = |what, text| {
        serde_json::from_str(text).map_err(|source| BootstrapError::Json { what, source })
    };
    let mut bootstrap = read("the file", file)?;
    merge(&mut bootstrap, read("its text", more)?);
    Ok(format!("{bootstrap:#}"))
}

fn merge(into: &mut Json, from: Json) {
    match (into, from) {
        (_, Json::Null) => {}
        (Json::Object(into), Json::Object(from)) => {
            for (name, value) in from {
                match find(into, &name) {
                    Some(known) => merge(known, value),
                    None => {
                        into.insert(name, value);
                    }
                }
            }
        }
        (Json::Array(into), Json::Array(from)) => into.extend(from),
        (into, from) => *into = from,
    }
}

/// The field `name`, in either of its spellings.
fn find<'m>(fields: &'m mut Map<String, Json>, name: &str) -> Option<&'m mut Json> {
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let wanted = plain(name);
    let mut fields = fields.iter_mut();
    fields
        .find(|(known, _)| plain(known) == wanted)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_merged_lists_go_on_and_values_are_replaced() {
        let file = json!({
            "node": { "id": "a", "cluster": "b" },
            "static_resources": { "clusters": [{ "name": "one" }] },
            "admin": { "address": 1 },
        });
        let more = json!({
            "node": { "id": "c", "metadata": {} },
            "staticResources": { "clusters": [{ "name": "two" }] },
            "admin": null,
        });
        let merged = merged(&file.to_string(), &more.to_string()).unwrap();
        let expected = json!({
            "node": { "id": "c", "cluster": "b", "metadata": {} },
            "static_resources": { "clusters": [{ "name": "one" }, { "name": "two" }] },
            "admin": { "address": 1 },
        });
        assert_eq!(serde_json::from_str::<Json>(&merged).unwrap(), expected);
    }

    #[test]
    fn what_is_no_json_is_named() {
        let error = merged("{}", "a: b").unwrap_err().to_string();
        assert!(error.starts_with("its text is not JSON"), "{error}");
    }
}
