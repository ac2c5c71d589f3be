//! One rule of the configuration.

use serde::Deserialize;

use crate::limits::MAX_LITERAL_BYTES;
use crate::pattern::{Detector, Literal, Pattern, Regex};
use crate::rules::Replacement;

#[derive(Debug, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct RuleConfig {
    pub(super) pattern: Pattern,
    /// None leaves it to the configuration's own `replacement`.
    pub(super) replacement: Option<Replacement>,
}

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    /// The name of a detector.
    detect: Option<Detector>,
    /// A fixed string.
    literal: Option<String>,
    /// A regular expression with a bounded match.
    regex: Option<String>,
    /// Whether the case of a literal's ASCII letters does not matter.
    ignore_case: Option<bool>,
    /// What stands in place of a match.
    replacement: Option<String>,
    /// Masks a match but for its last characters.
    keep_last: Option<usize>,
}

impl TryFrom<Fields> for RuleConfig {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let ignore_case = fields.ignore_case;
        let pattern = match (fields.detect, fields.literal, fields.regex) {
            (Some(detector), None, None) => Pattern::Detector(detector),
            (None, Some(text), None) => literal(&text, ignore_case == Some(true))?,
            (None, None, Some(pattern)) => regex(&pattern)?,
            _ => return Err("a rule has one of `detect`, `literal` and `regex`".to_owned()),
        };
        if ignore_case.is_some() && !matches!(pattern, Pattern::Literal(_)) {
            return Err("`ignore_case` belongs to a `literal`; a regex takes `(?i)`".to_owned());
        }
        let replacement = match (fields.replacement, fields.keep_last) {
            (None, None) => None,
            (Some(text), None) => Some(Replacement::Text(text)),
            (None, Some(keep_last)) => Some(mask(keep_last, &pattern)?),
            (Some(_), Some(_)) => {
                return Err("`replacement` and `keep_last` exclude each other".to_owned());
            }
        };
        Ok(Self {
            pattern,
            replacement,
        })
    }
}

fn literal(text: &str, ignore_case: bool) -> Result<Pattern, String> {
    match text.len() {
        1..=MAX_LITERAL_BYTES => Ok(Pattern::Literal(Literal::new(text, ignore_case))),
        length => Err(format!(
            "`literal` has {length} bytes, it must have 1 to {MAX_LITERAL_BYTES}"
        )),
    }
}

fn regex(pattern: &str) -> Result<Pattern, String> {
    match Regex::new(pattern) {
        Ok(regex) => Ok(Pattern::Regex(Box::new(regex))),
        Err(reason) => Err(format!("`regex` `{pattern}`: {reason}")),
    }
}

/// A token's beginning is passed on before its end is known: its last characters
/// cannot be kept.
fn mask(keep_last: usize, pattern: &Pattern) -> Result<Replacement, String> {
    match pattern {
        Pattern::Detector(Detector::BearerToken) => {
            Err("`keep_last` is not possible for `bearer_token`".to_owned())
        }
        Pattern::Detector(_) | Pattern::Literal(_) | Pattern::Regex(_) => {
            Ok(Replacement::Mask { keep_last })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_give_the_reason() {
        for (json, words) in [
            ("{}", "one of `detect`, `literal` and `regex`"),
            (
                r#"{"detect": "email", "literal": "a"}"#,
                "one of `detect`, `literal` and `regex`",
            ),
            (r#"{"literal": ""}"#, "`literal` has 0 bytes"),
            (
                r#"{"regex": "a+"}"#,
                "`regex` `a+`: its matches can be of any length",
            ),
            (
                r#"{"regex": "a", "ignore_case": true}"#,
                "`ignore_case` belongs to a `literal`",
            ),
            (
                r#"{"literal": "a", "replacement": "", "keep_last": 1}"#,
                "exclude each other",
            ),
            (
                r#"{"detect": "bearer_token", "keep_last": 4}"#,
                "`keep_last` is not possible",
            ),
            (r#"{"detect": "ssn"}"#, "unknown variant `ssn`"),
        ] {
            let refusal = filter_config::parse::<RuleConfig>(Some(json.as_bytes())).unwrap_err();
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }
}
