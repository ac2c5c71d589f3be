//! The configuration.

use std::num::{NonZeroU32, NonZeroU64};

use filter_config::HeaderName;
use serde::Deserialize;

/// Only `limit` has no default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Requests that pass in one window.
    pub(crate) limit: NonZeroU32,
    /// Milliseconds of one window.
    #[serde(default = "second")]
    pub(crate) window_ms: NonZeroU64,
    /// Whose requests are counted together.
    #[serde(default)]
    pub(crate) by: By,
    /// Tells counters of filters apart that share a `vm_id`.
    #[serde(default)]
    pub(crate) name: String,
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

fn second() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_all_that_is_needed() {
        let config = read(r#"{"limit": 10}"#).unwrap();
        assert_eq!((config.limit.get(), config.window_ms.get()), (10, 1000));
        assert_eq!(config.by, By::Client);
    }

    #[test]
    fn every_field_can_be_set() {
        let json = r#"{"limit": 1, "window_ms": 60000, "by": {"header": "X-Key"}, "name": "api"}"#;
        let config = read(json).unwrap();
        assert_eq!(config.window_ms.get(), 60_000);
        assert!(matches!(config.by, By::Header(name) if &*name == "x-key"));
        assert_eq!(config.name, "api");
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            ("{}", "missing field `limit`"),
            (r#"{"limit": 0}"#, "field `limit`"),
            (r#"{"limit": 1, "window_ms": 0}"#, "field `window_ms`"),
            (r#"{"limit": 1, "by": "path"}"#, "unknown variant `path`"),
            (r#"{"limit": 1, "per": "all"}"#, "unknown field `per`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
