//! The configuration.

use filter_config::HeaderValue;
use serde::Deserialize;

use crate::origin::Origin;

/// What other origins may do.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    pub(crate) allow_origins: Vec<Origin>,
    pub(crate) allow_methods: Option<List>,
    pub(crate) allow_headers: Option<List>,
    pub(crate) expose_headers: Option<HeaderValue>,
    pub(crate) max_age: Option<String>,
    pub(crate) allow_credentials: bool,
    pub(crate) allow_private_network: bool,
    /// Whether the upstream sees preflights of origins that are not allowed.
    pub(crate) forward_unmatched_preflights: bool,
    /// Whether caches are told that responses depend on the origin.
    pub(crate) vary: bool,
}

/// What may be asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum List {
    /// `*`: whatever is asked for.
    Any,
    /// As it stands in a header.
    These(HeaderValue),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    allow_origins: Vec<Origin>,
    #[serde(default)]
    allow_methods: Vec<HeaderValue>,
    #[serde(default)]
    allow_headers: Vec<HeaderValue>,
    #[serde(default)]
    expose_headers: Vec<HeaderValue>,
    max_age_s: Option<u32>,
    #[serde(default)]
    allow_credentials: bool,
    #[serde(default)]
    allow_private_network: bool,
    #[serde(default = "yes")]
    forward_unmatched_preflights: bool,
    #[serde(default = "yes")]
    vary: bool,
}

fn yes() -> bool {
    true
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        if fields.allow_origins.is_empty() {
            return Err("`allow_origins` is empty: nothing would be allowed".to_owned());
        }
        let any = fields
            .allow_origins
            .iter()
            .any(|o| matches!(o, Origin::Any));
        if any && fields.allow_credentials {
            let reason = "`allow_credentials` with the origin `*` would let every site act in \
                          the name of its visitors: name origins, or a regex";
            return Err(reason.to_owned());
        }
        Ok(Self {
            allow_origins: fields.allow_origins,
            allow_methods: list(&fields.allow_methods)?,
            allow_headers: list(&fields.allow_headers)?,
            expose_headers: joined(&fields.expose_headers)?,
            max_age: fields.max_age_s.map(|seconds| seconds.to_string()),
            allow_credentials: fields.allow_credentials,
            allow_private_network: fields.allow_private_network,
            forward_unmatched_preflights: fields.forward_unmatched_preflights,
            vary: fields.vary,
        })
    }
}

fn list(words: &[HeaderValue]) -> Result<Option<List>, String> {
    match words {
        [word] if &**word == "*" => Ok(Some(List::Any)),
        words => Ok(joined(words)?.map(List::These)),
    }
}

fn joined(words: &[HeaderValue]) -> Result<Option<HeaderValue>, String> {
    let words: Vec<&str> = words.iter().map(|word| &**word).collect();
    match words.is_empty() {
        true => Ok(None),
        false => HeaderValue::try_from(words.join(",")).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn lists_become_headers() {
        let config = read(
            r#"{"allow_origins": ["*"], "allow_methods": ["GET", "PUT"], "allow_headers": ["*"],
                "expose_headers": ["x-a"], "max_age_s": 600}"#,
        );
        let config = config.unwrap();
        let methods = HeaderValue::try_from("GET,PUT".to_owned()).unwrap();
        assert_eq!(config.allow_methods, Some(List::These(methods)));
        assert_eq!(config.allow_headers, Some(List::Any));
        assert_eq!(config.expose_headers.as_deref(), Some("x-a"));
        assert_eq!(config.max_age.as_deref(), Some("600"));
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "missing field `allow_origins`"),
            (r#"{"allow_origins": []}"#, "`allow_origins` is empty"),
            (
                r#"{"allow_origins": ["*"], "allow_credentials": true}"#,
                "every site",
            ),
            (
                r#"{"allow_origins": ["a"]}"#,
                "field `allow_origins[0]`: `a` is no origin",
            ),
            (
                r#"{"allow_origins": ["*"], "max_age": 1}"#,
                "unknown field `max_age`",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
