//! The configuration.

use std::num::NonZeroU32;

use filter_http::query;
use serde::Deserialize;

use crate::refusal::Refusal;
use crate::schema::Schema;

/// What requests have to be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Bytes of a path with its query.
    target_bytes_max: Option<NonZeroU32>,
    /// Bytes of a body where no rule says otherwise.
    body_bytes_max: Option<NonZeroU32>,
    #[serde(default)]
    rules: Vec<Rule>,
}

/// What some requests have to be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// Of the path.
    prefix: String,
    /// Any when empty.
    #[serde(default)]
    methods: Vec<String>,
    body_bytes_max: Option<NonZeroU32>,
    /// Media types; any when empty.
    #[serde(default)]
    content_types: Vec<String>,
    pub(crate) schema: Option<Schema>,
}

/// What is known of a request when its headers are there.
pub(crate) struct Head<'h> {
    pub(crate) method: &'h str,
    pub(crate) target: &'h str,
    pub(crate) content_type: &'h str,
    pub(crate) content_length: Option<u64>,
    pub(crate) encoded: bool,
    pub(crate) has_body: bool,
}

impl Config {
    /// The first rule for a request, by its place.
    pub(crate) fn rule_of(&self, head: &Head<'_>) -> Option<usize> {
        let path = query::path(head.target);
        self.rules.iter().position(|rule| {
            let methods = &rule.methods;
            let method = methods.is_empty() || methods.iter().any(|m| m == head.method);
            method && path.starts_with(&rule.prefix)
        })
    }

    pub(crate) fn rule(&self, place: Option<usize>) -> Option<&Rule> {
        self.rules.get(place?)
    }

    /// Bytes that the body of a request of this rule may have.
    pub(crate) fn body_bytes_max(&self, rule: Option<&Rule>) -> usize {
        let own = rule.and_then(|rule| rule.body_bytes_max);
        let max = own.or(self.body_bytes_max).map(NonZeroU32::get);
        max.and_then(|max| usize::try_from(max).ok())
            .unwrap_or(usize::MAX)
    }

    /// Judges what is known before the body is there.
    ///
    /// # Errors
    ///
    /// Why the request is refused.
    pub(crate) fn check_head(&self, head: &Head<'_>) -> Result<(), Refusal> {
        if let Some(max) = self.target_bytes_max {
            let max = usize::try_from(max.get()).unwrap_or(usize::MAX);
            if head.target.len() > max {
                return Err(Refusal::TargetTooLong(max));
            }
        }
        let rule = self.rule(self.rule_of(head));
        let max = self.body_bytes_max(rule);
        let known = head.content_length.map(usize::try_from);
        if known.is_some_and(|length| length.is_err() || length.is_ok_and(|l| l > max)) {
            return Err(Refusal::BodyTooLarge(max));
        }
        let Some(rule) = rule else {
            return Ok(());
        };
        if !head.has_body {
            return match rule.schema {
                Some(_) => Err(Refusal::NoBody),
                None => Ok(()),
            };
        }
        let media_type = head.content_type.split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        if !rule.content_types.is_empty() && !rule.content_types.contains(&media_type) {
            return Err(Refusal::ContentType(rule.content_types.clone()));
        }
        if rule.schema.is_some() && head.encoded {
            return Err(Refusal::Encoded);
        }
        Ok(())
    }
}

impl Rule {
    /// Judges a body.
    ///
    /// # Errors
    ///
    /// Why the request is refused.
    pub(crate) fn check_body(&self, body: &[u8]) -> Result<(), Refusal> {
        let Some(schema) = &self.schema else {
            return Ok(());
        };
        if body.is_empty() {
            return Err(Refusal::NoBody);
        }
        let body = serde_json::from_slice(body);
        let body = body.map_err(|error| Refusal::NoJson(error.to_string()))?;
        schema.check(&body).map_err(Refusal::Schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Config, String> {
        filter_config::parse(Some(json.as_bytes())).map_err(|error| error.to_string())
    }

    const HEAD: Head<'_> = Head {
        method: "POST",
        target: "/orders?x",
        content_type: "Application/JSON; charset=utf-8",
        content_length: Some(10),
        encoded: false,
        has_body: true,
    };

    fn config() -> Config {
        let json = r#"{"target_bytes_max": 20, "body_bytes_max": 100, "rules": [
            {"prefix": "/upload", "body_bytes_max": 1000},
            {"prefix": "/orders", "methods": ["POST"], "content_types": ["application/json"],
             "schema": {"type": "object"}}]}"#;
        read(json).unwrap()
    }

    fn check(change: impl Fn(&mut Head<'static>)) -> Result<(), u32> {
        let mut head = HEAD;
        change(&mut head);
        config()
            .check_head(&head)
            .map_err(|refusal| refusal.status())
    }

    #[test]
    fn documents_agree_with_what_is_read() {
        filter_schema::check_documents(env!("CARGO_MANIFEST_DIR"), |json| {
            filter_config::parse::<Config>(Some(json)).map(drop)
        });
    }

    #[test]
    fn a_head_is_refused_for_what_is_wrong_with_it() {
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(
            check(|head| head.target = "/orders/0123456789abc"),
            Err(414)
        );
        assert_eq!(check(|head| head.content_length = Some(101)), Err(413));
        assert_eq!(check(|head| head.content_type = "text/plain"), Err(415));
        assert_eq!(check(|head| head.encoded = true), Err(415));
        assert_eq!(check(|head| head.has_body = false), Err(400));
        assert_eq!(check(|head| head.method = "GET"), Ok(()));
    }

    #[test]
    fn a_rule_has_limits_of_its_own() {
        let upload = |head: &mut Head<'_>| head.target = "/upload";
        assert_eq!(check(upload), Ok(()));
        let length = |length| {
            move |head: &mut Head<'_>| {
                head.target = "/upload";
                head.content_length = Some(length);
            }
        };
        assert_eq!(check(length(1000)), Ok(()));
        assert_eq!(check(length(1001)), Err(413));
    }

    #[test]
    fn a_body_is_refused_for_what_is_wrong_with_it() {
        let config = config();
        let rule = config.rule(config.rule_of(&HEAD)).unwrap();
        let status = |body: &str| rule.check_body(body.as_bytes()).map_err(|r| r.status());
        assert_eq!(status("{}"), Ok(()));
        assert_eq!(status(""), Err(400));
        assert_eq!(status("{"), Err(400));
        assert_eq!(status("[]"), Err(422));
    }

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (r#"{"body_bytes_max": 0}"#, "field `body_bytes_max`"),
            (r#"{"rules": [{}]}"#, "missing field `prefix`"),
            (
                r#"{"rules": [{"prefix": "/", "schema": {"type": "text"}}]}"#,
                "field `rules[0].schema`",
            ),
            (r#"{"max": 1}"#, "unknown field `max`"),
        ] {
            let message = read(json).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }
}
