//! The configuration.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::provider::{KeySource, Provider};

/// Who issues tokens, and what has to have one.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(crate) struct Config {
    pub(crate) providers: BTreeMap<String, Provider>,
    pub(crate) rules: Vec<Rule>,
}

/// What requests of some paths need.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Of the path.
    pub(crate) prefix: String,
    /// A token of one of them; nothing when there are none.
    #[serde(default)]
    pub(crate) providers: Vec<String>,
    /// Whether a request without any token passes.
    #[serde(default)]
    pub(crate) allow_missing: bool,
    /// Whether also one with a wrong token passes.
    #[serde(default)]
    pub(crate) allow_missing_or_failed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    providers: BTreeMap<String, Provider>,
    rules: Option<Vec<Rule>>,
}

impl TryFrom<Fields> for Config {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let providers = fields.providers;
        if providers.is_empty() {
            return Err("`providers` names no issuer of tokens".to_owned());
        }
        let rules = fields.rules.unwrap_or_else(|| {
            let everything = Rule {
                prefix: String::new(),
                providers: providers.keys().cloned().collect(),
                allow_missing: false,
                allow_missing_or_failed: false,
            };
            vec![everything]
        });
        for rule in &rules {
            if let Some(name) = rule.providers.iter().find(|n| !providers.contains_key(*n)) {
                let Rule { prefix, .. } = rule;
                return Err(format!("the rule for `{prefix}`: no provider `{name}`"));
            }
        }
        Ok(Self { providers, rules })
    }
}

impl Config {
    /// The first rule for a path, which has no query.
    pub(crate) fn rule(&self, path: &str) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| path.starts_with(&rule.prefix))
    }

    /// The rule for requests without a path.
    pub(crate) fn rule_without_path(&self) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.prefix.is_empty())
    }

    /// The providers whose keys are to be fetched now.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&String, &Provider)> {
        self.providers
            .iter()
            .filter(|(_, provider)| match &provider.keys {
                KeySource::Inline(_) => false,
                KeySource::Remote(_, cache) => cache.borrow().is_wanted(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn read(json: &str) -> Result<Config, String> {
        let json = json.replace("KEY", KEY);
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn without_rules_every_path_needs_a_token() {
        let config = read(r#"{"providers": {"a": {"jwks": KEY}}}"#).unwrap();
        assert_eq!(config.rule("/x").unwrap().providers, ["a"]);
        assert_eq!(config.rule_without_path().unwrap().providers, ["a"]);
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let config = read(
            r#"{"providers": {"a": {"jwks": KEY}},
                "rules": [{"prefix": "/open"}, {"prefix": "/api", "providers": ["a"]}]}"#,
        );
        let config = config.unwrap();
        assert!(config.rule("/open/x").unwrap().providers.is_empty());
        assert_eq!(config.rule("/api").unwrap().providers, ["a"]);
        assert!(config.rule("/").is_none());
    }

    #[test]
    fn refusals_name_what_is_wrong() {
        for (json, words) in [
            ("{}", "missing field `providers`"),
            (r#"{"providers": {}}"#, "names no issuer"),
            (
                r#"{"providers": {"a": {}}}"#,
                "either `jwks` or `remote_jwks`",
            ),
            (
                r#"{"providers": {"a": {"jwks": {"keys": []}}}}"#,
                "no key that can verify",
            ),
            (
                r#"{"providers": {"a": {"jwks": KEY, "from": []}}}"#,
                "names no place",
            ),
            (
                r#"{"providers": {"a": {"jwks": KEY}}, "rules": [{"prefix": "/", "providers": ["b"]}]}"#,
                "the rule for `/`: no provider `b`",
            ),
            (
                r#"{"providers": {"a": {"remote_jwks": {"url": "id", "cluster": "c"}}}}"#,
                "expected a URL",
            ),
            (
                r#"{"providers": {"a": {"jwks": KEY, "audience": "b"}}}"#,
                "unknown field `audience`",
            ),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
