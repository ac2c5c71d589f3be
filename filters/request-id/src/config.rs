//! The configuration.

use filter_config::HeaderName;
use serde::Deserialize;

/// Every field has a default: `{}` is a complete configuration.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The header that carries the request id.
    pub(crate) header: HeaderName,
    /// What becomes of an id that the client sent.
    pub(crate) incoming: Incoming,
    /// Whether the response carries the id too.
    pub(crate) respond: bool,
    /// What becomes of `traceparent` and `tracestate`.
    pub(crate) traceparent: TraceMode,
    /// The sampled flag of a trace that begins here.
    pub(crate) sampled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            header: HeaderName::from_static("x-request-id"),
            incoming: Incoming::Keep,
            respond: true,
            traceparent: TraceMode::Continue,
            sampled: true,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Incoming {
    /// A usable id is passed on as it came.
    Keep,
    /// Clients are not trusted: every request gets a new id.
    Replace,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TraceMode {
    /// A valid trace goes on under a new parent id, anything else begins one.
    Continue,
    /// A valid trace is passed on untouched, anything else begins one.
    Pass,
    /// Clients are not trusted: every request begins a trace.
    Restart,
    /// Both headers are left alone.
    Off,
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
    fn every_field_can_be_set() {
        let json = r#"{"header": "X-Correlation-Id", "incoming": "replace", "respond": false,
                       "traceparent": "restart", "sampled": false}"#;
        let config = read(json).unwrap();
        assert_eq!(&*config.header, "x-correlation-id");
        assert_eq!(config.incoming, Incoming::Replace);
        assert_eq!(config.traceparent, TraceMode::Restart);
        assert!(!config.respond);
        assert!(!config.sampled);
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (
                r#"{"header": "x id"}"#,
                "field `header`: `x id` is not a header name",
            ),
            (
                r#"{"incoming": "drop"}"#,
                "field `incoming`: unknown variant `drop`",
            ),
            (r#"{"sampled": "yes"}"#, "field `sampled`: invalid type"),
            (r#"{"trace": "off"}"#, "unknown field `trace`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
