//! What a request is sent on with when its token is right.

use base64ct::{Base64UrlUnpadded, Encoding};
use filter_config::{HeaderName, HeaderValue};
use filter_http::{Headers, Source};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::provider::Provider;

/// A claim that upstreams are told in a header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClaimHeader {
    header: HeaderName,
    /// Its name, or the names on the way to it with dots between.
    claim: String,
}

/// A token that is right, and who has issued it.
pub(crate) struct Grant<'p> {
    pub(crate) provider: &'p Provider,
    /// Where tokens were found.
    pub(crate) sources: Vec<&'p Source>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) payload: String,
    /// All signatures were known to be right.
    pub(crate) known: bool,
}

impl Grant<'_> {
    /// Takes the tokens away, unless they are forwarded, and sets the headers.
    pub(crate) fn apply(&self, request: &impl Headers) {
        if !self.provider.forward {
            for source in &self.sources {
                source.strip(request);
            }
        }
        if let Some(name) = &self.provider.payload_header {
            request.set(name, Some(&self.payload));
        }
        for ClaimHeader { header, claim } in &self.provider.claim_headers {
            if let Some(value) = find(&self.claims, claim).and_then(text) {
                request.set(header, Some(&value));
            }
        }
    }
}

/// Takes away what only this filter may say.
pub(crate) fn sanitize<'p>(providers: impl Iterator<Item = &'p Provider>, request: &impl Headers) {
    for provider in providers {
        let claims = provider.claim_headers.iter().map(|claim| &claim.header);
        for name in claims.chain(&provider.payload_header) {
            request.set(name, None);
        }
    }
}

fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// The value as it stands in a header: lists and objects are JSON in base64url, as
/// in Envoy. None for what cannot stand there.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => {
            Base64UrlUnpadded::encode_string(value.to_string().as_bytes())
        }
    };
    HeaderValue::try_from(text)
        .ok()
        .map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_become_text() {
        let claims = r#"{"sub": "ada", "n": 7, "f": 1.5, "t": true, "none": null,
            "roles": ["a", "b"], "org": {"id": 7}, "https://x.y/z": "dotted",
            "evil": "a\r\nx: y"}"#;
        let claims: Map<String, Value> = serde_json::from_str(claims).unwrap();
        let value = |name: &str| find(&claims, name).and_then(text);
        for (name, expected) in [
            ("sub", Some("ada")),
            ("n", Some("7")),
            ("f", Some("1.5")),
            ("t", Some("true")),
            ("roles", Some("WyJhIiwiYiJd")),
            ("org", Some("eyJpZCI6N30")),
            ("org.id", Some("7")),
            ("https://x.y/z", Some("dotted")),
            ("none", None),
            ("evil", None),
            ("org.id.x", None),
            ("other", None),
        ] {
            assert_eq!(value(name).as_deref(), expected, "{name}");
        }
    }
}
