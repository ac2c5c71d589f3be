//! The configuration.

mod media_range;
mod rule;

use serde::Deserialize;

use crate::limits::MAX_RULES;
use crate::rules::{Replacement, Rule, Rules};
use media_range::MediaRange;
use rule::RuleConfig;

/// Only `rules` is required.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// What to look for; at one place, the first rule that matches wins.
    rules: RuleList,
    /// What stands in place of a match, unless its rule says otherwise.
    #[serde(default = "default_replacement")]
    replacement: String,
    /// Whose bodies are rewritten.
    #[serde(default)]
    pub(crate) directions: Directions,
    /// The media types of bodies to rewrite; one asterisk stands for anything.
    #[serde(default = "default_content_types")]
    content_types: Vec<MediaRange>,
    /// Whether upstreams are asked not to compress responses that are rewritten.
    #[serde(default = "yes")]
    pub(crate) force_identity: bool,
    /// What becomes of a body that ought to be rewritten but is compressed.
    #[serde(default)]
    pub(crate) encoded_bodies: EncodedBodies,
}

impl Config {
    /// Whether bodies of this media type are rewritten.
    pub(crate) fn concerns(&self, media_type: Option<&str>) -> bool {
        self.content_types
            .iter()
            .any(|range| range.includes(media_type))
    }

    /// The rules, taken out of the configuration.
    pub(crate) fn take_rules(&mut self) -> Rules {
        let rules = std::mem::take(&mut self.rules.0)
            .into_iter()
            .map(|rule| Rule {
                pattern: rule.pattern,
                replacement: rule
                    .replacement
                    .unwrap_or_else(|| Replacement::Text(self.replacement.clone())),
            });
        Rules::new(rules.collect())
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EncodedBodies {
    /// It passes as it is.
    #[default]
    Pass,
    /// The client gets 415 for a request, 502 for a response.
    Reject,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    Request,
    Response,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "Vec<Direction>")]
pub(crate) struct Directions {
    pub(crate) request: bool,
    pub(crate) response: bool,
}

impl Default for Directions {
    fn default() -> Self {
        Self {
            request: false,
            response: true,
        }
    }
}

impl TryFrom<Vec<Direction>> for Directions {
    type Error = &'static str;

    fn try_from(directions: Vec<Direction>) -> Result<Self, &'static str> {
        if directions.is_empty() {
            return Err("name `request`, `response` or both");
        }
        Ok(Self {
            request: directions.contains(&Direction::Request),
            response: directions.contains(&Direction::Response),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<RuleConfig>")]
struct RuleList(Vec<RuleConfig>);

impl TryFrom<Vec<RuleConfig>> for RuleList {
    type Error = String;

    fn try_from(rules: Vec<RuleConfig>) -> Result<Self, String> {
        match rules.len() {
            0 => Err("at least one rule is required".to_owned()),
            1..=MAX_RULES => Ok(Self(rules)),
            count => Err(format!("{count} rules, at most {MAX_RULES} are allowed")),
        }
    }
}

fn default_content_types() -> Vec<MediaRange> {
    let types = [
        "text/*",
        "application/json",
        "application/*+json",
        "application/x-ndjson",
        "application/xml",
        "application/*+xml",
        "application/javascript",
        "application/x-www-form-urlencoded",
    ];
    types
        .into_iter()
        .filter_map(|range| range.to_owned().try_into().ok())
        .collect()
}

fn default_replacement() -> String {
    "[redacted]".to_owned()
}

const fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(json: &str) -> String {
        filter_config::parse::<Config>(Some(json.as_bytes()))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn every_field_can_be_set() {
        let json = r#"{
            "rules": [
                {"detect": "credit_card", "keep_last": 4}, {"detect": "email"},
                {"detect": "ipv4"}, {"detect": "bearer_token"},
                {"literal": "S3cret", "ignore_case": true, "replacement": ""},
                {"regex": "key-[0-9]{8}"}
            ],
            "replacement": "***", "directions": ["request", "response"],
            "content_types": ["*"], "force_identity": false, "encoded_bodies": "reject"
        }"#;
        let mut config: Config = filter_config::parse(Some(json.as_bytes())).unwrap();
        assert_eq!(
            config.directions,
            Directions {
                request: true,
                response: true
            }
        );
        assert_eq!(config.encoded_bodies, EncodedBodies::Reject);
        assert!(!config.force_identity);
        assert!(config.concerns(None));
        let replacements: Vec<_> = config
            .take_rules()
            .iter(u64::MAX)
            .map(|rule| rule.replacement.clone())
            .collect();
        let text = |text: &str| Replacement::Text(text.to_owned());
        let mask = Replacement::Mask { keep_last: 4 };
        let stars = text("***");
        assert_eq!(
            replacements,
            [
                mask,
                stars.clone(),
                stars.clone(),
                stars.clone(),
                text(""),
                stars
            ]
        );
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            ("{}", "missing field `rules`"),
            (r#"{"rules": []}"#, "field `rules`: at least one rule"),
            (
                r#"{"rules": [{"detect": "ssn"}]}"#,
                "field `rules[0].detect`: unknown variant `ssn`",
            ),
            (
                r#"{"rules": [{"literal": "a"}], "hold": 1}"#,
                "unknown field `hold`",
            ),
            (
                r#"{"rules": [{"literal": "a"}], "directions": []}"#,
                "field `directions`: name",
            ),
            (
                r#"{"rules": [{"literal": "a"}], "content_types": ["text/*", "json"]}"#,
                "field `content_types[1]`: `json` is not a media type",
            ),
            (
                r#"{"rules": [{"literal": "a"}], "content_types": ["*/*"]}"#,
                "more than one asterisk",
            ),
            (
                r#"{"rules": [{"literal": "a"}], "encoded_bodies": "drop"}"#,
                "field `encoded_bodies`",
            ),
        ] {
            let message = refusal(json);
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn too_many_rules_are_refused() {
        let rules = [r#"{"literal": "a"}"#; MAX_RULES + 1].join(",");
        let message = refusal(&format!(r#"{{"rules": [{rules}]}}"#));
        assert!(message.contains("65 rules, at most 64"), "{message}");
    }
}
