//! The configuration.

use serde::Deserialize;

use crate::rule::Rule;

/// The first rule for a response counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) rules: Vec<Rule>,
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
    fn refusals_name_what_is_wrong() {
        for (rule, words) in [
            (
                r#"{"statuses": ["6xx"]}"#,
                "expected a status such as 404, or a class",
            ),
            (
                r#"{"cache_control": "a\nb"}"#,
                "not allowed in a header value",
            ),
            (r#"{"etag": "strong"}"#, "unknown variant `strong`"),
            (r#"{"max_age": 1}"#, "unknown field `max_age`"),
        ] {
            let json = format!(r#"{{"rules": [{rule}]}}"#);
            let error = filter_config::parse::<Config>(Some(json.as_bytes())).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(words) && message.contains("rules[0]"),
                "{message}"
            );
        }
    }
}
