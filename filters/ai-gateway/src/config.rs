//! The configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroU64};

use filter_config::{HeaderName, HeaderValue};
use filter_http::Source;
use serde::Deserialize;

/// Whose models there are, and what clients may spend.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    pub(crate) providers: Vec<Provider>,
    pub(crate) provider_header: HeaderName,
    pub(crate) budget: Option<Budget>,
    /// Whether streams are asked to tell their usage.
    pub(crate) ask_for_usage: bool,
    pub(crate) request_bytes_max: usize,
}

/// Who answers for some models.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// The value of the header that routes go by.
    pub(crate) name: Name,
    /// Models, each a name or the beginning of one and an asterisk.
    models: Vec<String>,
    /// Names under which the provider has models.
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    pub(crate) authority: Option<HeaderValue>,
    /// What is put before paths.
    #[serde(default)]
    pub(crate) path_prefix: String,
    /// Headers to set, such as the provider's key.
    #[serde(default)]
    pub(crate) headers: BTreeMap<HeaderName, HeaderValue>,
}

/// A name that metrics and headers can carry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(pub(crate) String);

/// Tokens that each client may spend in a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    pub(crate) tokens: NonZeroU64,
    pub(crate) window_s: NonZeroU64,
    /// Where it stands who the client is.
    pub(crate) by: Vec<Source>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    providers: Vec<Provider>,
    #[serde(default = "provider_header")]
    provider_header: HeaderName,
    budget: Option<Budget>,
    #[serde(default = "yes")]
    ask_for_usage: bool,
    #[serde(default = "megabyte")]
    request_bytes_max: NonZeroU32,
}

fn provider_header() -> HeaderName {
    HeaderName::from_static("x-ai-provider")
}

fn yes() -> bool {
    true
}

fn megabyte() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add((1 << 20) - 1)
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        match !name.is_empty() && name.chars().all(word) {
            true => Ok(Self(name)),
            false => Err(format!("`{name}`: a name has letters, digits, - and _")),
        }
    }
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let mut names = BTreeSet::new();
        for provider in &fields.providers {
            if !names.insert(&provider.name) {
                return Err(format!("the provider `{}` is there twice", provider.name.0));
            }
            if !provider.path_prefix.is_empty() && !provider.path_prefix.starts_with('/') {
                return Err(format!(
                    "`{}`: a `path_prefix` begins with /",
                    provider.name.0
                ));
            }
        }
        if fields.budget.as_ref().is_some_and(|b| b.by.is_empty()) {
            return Err("`by` of the `budget` says nowhere who the client is".to_owned());
        }
        Ok(Self {
            providers: fields.providers,
            provider_header: fields.provider_header,
            budget: fields.budget,
            ask_for_usage: fields.ask_for_usage,
            request_bytes_max: usize::try_from(fields.request_bytes_max.get())
                .unwrap_or(usize::MAX),
        })
    }
}

impl Config {
    /// The first provider that has a model, by its place.
    pub(crate) fn provider_of(&self, model: &str) -> Option<usize> {
        let has = |provider: &Provider| {
            provider
                .models
                .iter()
                .any(|own| match own.strip_suffix('*') {
                    Some(beginning) => model.starts_with(beginning),
                    None => model == own,
                })
        };
        self.providers.iter().position(has)
    }
}

impl Provider {
    /// The provider's own name of a model, if it is another.
    pub(crate) fn alias(&self, model: &str) -> Option<&str> {
        self.aliases.get(model).map(String::as_str)
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
    fn the_first_provider_that_has_a_model_is_asked() {
        let config = read(
            r#"{"providers": [{"name": "a", "models": ["gpt-4o", "o*"], "aliases": {"o1": "o1-x"}},
                {"name": "b", "models": ["*"]}]}"#,
        );
        let config = config.unwrap();
        for (model, place) in [("gpt-4o", 0), ("gpt-4o-mini", 1), ("o3", 0), ("", 1)] {
            assert_eq!(config.provider_of(model), Some(place), "{model}");
        }
        assert_eq!(config.providers[0].alias("o1"), Some("o1-x"));
        assert_eq!(config.providers[0].alias("o3"), None);
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "missing field `providers`"),
            (
                r#"{"providers": [{"name": "a b", "models": []}]}"#,
                "a name has letters",
            ),
            (
                r#"{"providers": [{"name": "a", "models": []}, {"name": "a", "models": []}]}"#,
                "`a` is there twice",
            ),
            (
                r#"{"providers": [{"name": "a", "models": [], "path_prefix": "v1"}]}"#,
                "begins with /",
            ),
            (
                r#"{"providers": [], "budget": {"tokens": 0, "window_s": 1, "by": []}}"#,
                "field `budget.tokens`",
            ),
            (
                r#"{"providers": [], "budget": {"tokens": 1, "window_s": 1, "by": []}}"#,
                "says nowhere",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
