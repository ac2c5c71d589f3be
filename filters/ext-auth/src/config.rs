//! The configuration.

use std::time::Duration;

use filter_config::HeaderName;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// All of them are asked at once, and all have to agree.
    pub(crate) services: Services,
    /// Where a token is fetched before they are asked.
    pub(crate) token: Option<Service>,
    /// Headers of the request that the services see.
    #[serde(default = "authorization")]
    pub(crate) send: Vec<HeaderName>,
    /// Headers of a service's answer that the request is sent on with.
    #[serde(default)]
    pub(crate) take: Vec<HeaderName>,
    /// Whether a request passes when a service gives no answer.
    #[serde(default)]
    pub(crate) fail_open: bool,
}

fn authorization() -> Vec<HeaderName> {
    vec![HeaderName::from_static("authorization")]
}

/// At least one service.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<Service>")]
pub(crate) struct Services(Vec<Service>);

impl TryFrom<Vec<Service>> for Services {
    type Error = &'static str;

    fn try_from(services: Vec<Service>) -> Result<Self, &'static str> {
        if services.is_empty() {
            return Err("there is no service to ask");
        }
        Ok(Self(services))
    }
}

impl Services {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Service> {
        self.0.iter()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// Name of the cluster.
    pub(crate) cluster: String,
    #[serde(default = "root")]
    pub(crate) path: String,
    /// The name of the cluster where it is absent.
    authority: Option<String>,
    #[serde(default = "half_a_second")]
    timeout_ms: u32,
}

fn root() -> String {
    "/".to_owned()
}

fn half_a_second() -> u32 {
    500
}

impl Service {
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_deref().unwrap_or(&self.cluster)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
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
    fn one_service_is_enough() {
        let config = read(r#"{"services": [{"cluster": "auth"}]}"#).unwrap();
        let service = config.services.iter().next().unwrap();
        assert_eq!((service.path.as_str(), service.authority()), ("/", "auth"));
        assert_eq!(service.timeout(), Duration::from_millis(500));
        assert!(!config.fail_open);
        assert_eq!(&*config.send[0], "authorization");
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            ("{}", "missing field `services`"),
            (
                r#"{"services": []}"#,
                "field `services`: there is no service to ask",
            ),
            (
                r#"{"services": [{"cluster": "a", "port": 1}]}"#,
                "unknown field `port`",
            ),
            (
                r#"{"services": [{"cluster": "a"}], "take": ["x y"]}"#,
                "field `take[0]`: `x y` is not a header name",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
