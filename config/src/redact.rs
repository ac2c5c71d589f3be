//! A configuration without its secrets, to be shown.
//!
//! What a filter's configuration means is known to the filter alone, so what looks
//! like a secret counts as one: to hide too much is better than too little.

use serde_json::Value as Json;

/// What stands in the place of a secret.
const HIDDEN: &str = "[redacted]";

/// Words that make a secret of a key that has one of them, without its separators.
const WORDS: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "bearer",
    "jwt",
    "jwk",
    "connectionstring",
    "privatekey",
    "apikey",
    "signature",
];

/// Takes the secrets out of what [`Config::to_json`](crate::Config::to_json) gives:
/// values of environment variables and of a collector's headers, pull secrets, code
/// that stands in the file, user names and queries of URLs, private keys, and in what
/// is for filters all that looks like a secret by its name.
pub fn redact(config: &mut Json) {
    own(config);
}

/// What Weir's own keys hold.
fn own(value: &mut Json) {
    match value {
        Json::Object(members) => {
            named(members);
            for (key, value) in members {
                match key.as_str() {
                    "key_values" | "headers" if value.is_object() => all(value),
                    "pull_secret" | "inline_string" | "inline_bytes" => hide(value),
                    "configuration" => configuration(value),
                    "metadata" => foreign(value),
                    _ => own(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(own),
        Json::String(text) => clean(text),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// What is for a filter. A text may be JSON all the same; if it is not, nobody knows
/// what is in it.
fn configuration(value: &mut Json) {
    if let Json::String(text) = value {
        *value = match serde_json::from_str(text) {
            Ok(json @ (Json::Object(_) | Json::Array(_))) => json,
            _ => return hide(value),
        };
    }
    let is_any = |type_: &Json| type_.as_str().is_some_and(|t| t.ends_with("BytesValue"));
    if value.get("@type").is_some_and(is_any) {
        return value.get_mut("value").map_or((), hide);
    }
    foreign(value);
}

/// What somebody else gives a meaning to.
fn foreign(value: &mut Json) {
    match value {
        Json::Object(members) => {
            named(members);
            for (key, value) in members {
                if is_secret(key) {
                    all(value);
                } else {
                    foreign(value);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(foreign),
        Json::String(text) => clean(text),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// `{ name: authorization, value: … }`, or `exact` and the like: a header that is
/// named beside its value.
fn named(members: &mut serde_json::Map<String, Json>) {
    let name = ["name", "key", "header"]
        .iter()
        .find_map(|key| members.get(*key)?.as_str());
    if !name.is_some_and(is_secret) {
        return;
    }
    for (key, value) in members {
        if !matches!(key.as_str(), "name" | "key" | "header") && value.is_string() {
            hide(value);
        }
    }
}

fn is_secret(key: &str) -> bool {
    let separators = |c: char| !matches!(c, '-' | '_' | '.' | ' ');
    let plain = key.chars().filter(|c| separators(*c)).collect::<String>();
    let plain = plain.to_ascii_lowercase();
    let ends = ["key", "keys", "auth", "dsn"];
    WORDS.iter().any(|word| plain.contains(word)) || ends.iter().any(|end| plain.ends_with(end))
}

/// Every value in it.
fn all(value: &mut Json) {
    match value {
        Json::Object(members) => members.values_mut().for_each(all),
        Json::Array(items) => items.iter_mut().for_each(all),
        Json::String(_) | Json::Number(_) => hide(value),
        Json::Null | Json::Bool(_) => {}
    }
}

fn hide(value: &mut Json) {
    if !value.is_null() {
        *value = HIDDEN.into();
    }
}

/// A text without what a URL says of its user, or of a right to use it, and without
/// private keys.
fn clean(text: &mut String) {
    if text.contains("PRIVATE KEY-----") {
        HIDDEN.clone_into(text);
        return;
    }
    let mut from = 0;
    while let Some(scheme) = text[from..].find("://") {
        let rest = from + scheme + "://".len();
        if let Some(query) = text[rest..].find('?') {
            text.truncate(rest + query + 1);
            text.push_str(HIDDEN);
        }
        let authority = text[rest..].find(['/', ',', ' ']);
        let authority = authority.map_or(text.len(), |end| rest + end);
        if let Some(user) = text[rest..authority].rfind('@') {
            text.replace_range(rest..rest + user, HIDDEN);
        }
        from = rest;
    }
}

/// A text as it may be shown: of URLs without a user and what stands in the query.
pub fn redacted(text: &str) -> String {
    let mut text = text.to_owned();
    clean(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn redacted(mut value: Json) -> Json {
        redact(&mut value);
        value
    }

    #[test]
    fn secrets_are_hidden_where_weir_knows_them() {
        let wasm = json!({ "vm_config": {
            "code": { "remote": { "uri": "https://u:p@h/x.wasm?sig=1", "pull_secret": "/s" } },
            "environment_variables": { "host_env_keys": ["HOME"], "key_values": { "A": "b" } },
        } });
        let expected = json!({ "vm_config": {
            "code": { "remote": { "uri": "https://[redacted]@h/x.wasm?[redacted]", "pull_secret": HIDDEN } },
            "environment_variables": { "host_env_keys": ["HOME"], "key_values": { "A": HIDDEN } },
        } });
        assert_eq!(redacted(wasm), expected);
        let inline = json!({ "local": { "inline_bytes": "AGFzbQ==" } });
        assert_eq!(
            redacted(inline),
            json!({ "local": { "inline_bytes": HIDDEN } })
        );
        let otlp = json!({ "otlp": { "endpoint": "http://h:1", "headers": { "x": "y" } } });
        assert_eq!(
            redacted(otlp),
            json!({ "otlp": { "endpoint": "http://h:1", "headers": { "x": HIDDEN } } })
        );
        let key = json!({ "k": "-----BEGIN PRIVATE KEY-----\nx" });
        assert_eq!(redacted(key), json!({ "k": HIDDEN }));
    }

    #[test]
    fn what_looks_like_a_secret_in_what_is_for_filters_is_hidden() {
        let given = json!({ "configuration": {
            "header": "x-user", "api_key": "k", "Client-Secret": { "a": [1, "b"] },
            "upstreams": [{ "url": "redis://me:pw@h", "password": "p" }], "tokens": ["t"],
            "headers": [{ "name": "Authorization", "value": "v" }, { "name": "x", "value": "w" }],
        } });
        let expected = json!({ "configuration": {
            "header": "x-user", "api_key": HIDDEN, "Client-Secret": { "a": [HIDDEN, HIDDEN] },
            "upstreams": [{ "url": "redis://[redacted]@h", "password": HIDDEN }], "tokens": [HIDDEN],
            "headers": [{ "name": "Authorization", "value": HIDDEN }, { "name": "x", "value": "w" }],
        } });
        assert_eq!(redacted(given), expected);
        for (given, expected) in [
            (
                json!("{ \"password\" : 1, \"a\": 2 }"),
                json!({ "password": HIDDEN, "a": 2 }),
            ),
            (json!("any words"), json!(HIDDEN)),
            (
                json!({ "@type": "t/google.protobuf.BytesValue", "value": "AA==" }),
                json!({ "@type": "t/google.protobuf.BytesValue", "value": HIDDEN }),
            ),
        ] {
            let given = json!({ "configuration": given });
            assert_eq!(redacted(given), json!({ "configuration": expected }));
        }
    }

    #[test]
    fn a_route_that_wants_a_secret_does_not_tell_it() {
        let given = json!({ "match": { "headers": [{ "name": "cookie", "exact": "c" }] } });
        let expected = json!({ "match": { "headers": [{ "name": "cookie", "exact": HIDDEN }] } });
        assert_eq!(redacted(given), expected);
    }
}
