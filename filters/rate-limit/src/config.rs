//! The configuration.

use std::num::{NonZeroU32, NonZeroU64};

use filter_config::HeaderName;
use serde::Deserialize;

/// Only `limit` has no default.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    pub(crate) limit: Limit,
    /// Whose requests are counted together.
    pub(crate) by: By,
    /// Tells counters of filters apart that share a `vm_id`.
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) headers: Headers,
}

/// How many requests pass in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    /// Requests in one window.
    pub(crate) requests: NonZeroU32,
    /// Milliseconds of one window.
    pub(crate) window_ms: NonZeroU64,
    /// Requests that may come at once, if they are let through evenly and not by
    /// windows.
    pub(crate) burst: Option<NonZeroU32>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    /// Those of one client address.
    #[default]
    Client,
    /// All of them.
    All,
    /// Those with one value of a header.
    Header(HeaderName),
}

/// Where requests are counted.
#[derive(Debug, Default, Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// In shared data, for all workers.
    #[default]
    Node,
    /// In each worker's own memory.
    Worker,
}

/// What clients are told about the limit.
#[derive(Debug, Default, Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Headers {
    #[default]
    None,
    /// `x-ratelimit-limit`, `-remaining` and `-reset`, as Envoy's filters.
    XRatelimit,
    /// `ratelimit-policy` and `ratelimit` of draft-ietf-httpapi-ratelimit-headers-10.
    Ratelimit,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    limit: NonZeroU32,
    #[serde(default = "second")]
    window_ms: NonZeroU64,
    burst: Option<NonZeroU32>,
    #[serde(default)]
    by: By,
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    headers: Headers,
}

fn second() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(999)
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let name = fields.name;
        let plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        if fields.headers == Headers::Ratelimit && !name.chars().all(plain) {
            return Err(format!("{name:?} cannot stand in a `ratelimit` header"));
        }
        Ok(Self {
            limit: Limit {
                requests: fields.limit,
                window_ms: fields.window_ms,
                burst: fields.burst,
            },
            by: fields.by,
            name,
            scope: fields.scope,
            headers: fields.headers,
        })
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
    fn a_limit_is_all_that_is_needed() {
        let config = read(r#"{"limit": 10}"#).unwrap();
        let limit = config.limit;
        assert_eq!((limit.requests.get(), limit.window_ms.get()), (10, 1000));
        assert_eq!(limit.burst, None);
        assert_eq!(config.by, By::Client);
        assert_eq!(config.scope, Scope::Node);
        assert_eq!(config.headers, Headers::None);
    }

    #[test]
    fn every_field_can_be_set() {
        let json = r#"{"limit": 1, "window_ms": 60000, "burst": 5, "by": {"header": "X-Key"},
            "name": "api", "scope": "worker", "headers": "x-ratelimit"}"#;
        let config = read(json).unwrap();
        assert_eq!(config.limit.window_ms.get(), 60_000);
        assert_eq!(config.limit.burst, NonZeroU32::new(5));
        assert!(matches!(config.by, By::Header(name) if &*name == "x-key"));
        assert_eq!(config.name, "api");
        assert_eq!(config.scope, Scope::Worker);
        assert_eq!(config.headers, Headers::XRatelimit);
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            ("{}", "missing field `limit`"),
            (r#"{"limit": 0}"#, "field `limit`"),
            (r#"{"limit": 1, "window_ms": 0}"#, "field `window_ms`"),
            (r#"{"limit": 1, "burst": 0}"#, "field `burst`"),
            (r#"{"limit": 1, "by": "path"}"#, "unknown variant `path`"),
            (
                r#"{"limit": 1, "scope": "world"}"#,
                "unknown variant `world`",
            ),
            (r#"{"limit": 1, "per": "all"}"#, "unknown field `per`"),
            (
                r#"{"limit": 1, "headers": "ratelimit", "name": "a\"b"}"#,
                "cannot stand in a `ratelimit` header",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
