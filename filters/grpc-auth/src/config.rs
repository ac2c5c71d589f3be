//! The configuration.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Cluster of the service that is asked.
    pub(crate) cluster: String,
    #[serde(default = "half_a_second")]
    timeout_ms: u32,
    /// Whether a request passes when the service gives no answer.
    #[serde(default)]
    pub(crate) fail_open: bool,
    /// Cluster of the service that requests are reported to.
    pub(crate) audit: Option<String>,
}

fn half_a_second() -> u32 {
    500
}

impl Config {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn a_cluster_is_enough() {
        let config: Config = filter_config::parse(Some(br#"{"cluster": "auth"}"#)).unwrap();
        assert_eq!(config.timeout(), Duration::from_millis(500));
        assert!(!config.fail_open && config.audit.is_none());
    }

    #[test]
    fn refusals_name_the_field() {
        let config = filter_config::parse::<Config>(Some(br#"{"cluster": 7}"#));
        let message = config.unwrap_err().to_string();
        assert!(
            message.starts_with("field `cluster`: invalid type"),
            "{message}"
        );
    }
}
