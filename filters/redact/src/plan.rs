//! Chooses the messages to rewrite by their headers.

use crate::config::Config;

/// Headers that describe the bytes of the body and are wrong once it is rewritten.
pub(crate) const BODY_HEADERS: [&str; 6] = [
    "content-length",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "accept-ranges",
];

/// What is to be known of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message<'a> {
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content_encoding: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plan {
    /// No rule concerns it.
    Leave,
    /// It ought to be rewritten, but its content coding hides what is in it.
    Encoded,
    Rewrite,
}

impl Plan {
    pub(crate) fn of(message: &Message<'_>, config: &Config) -> Self {
        let media_type = message.content_type.map(essence);
        if media_type.as_deref().is_some_and(is_grpc) || !config.concerns(media_type.as_deref()) {
            return Self::Leave;
        }
        if is_identity(message.content_encoding) {
            Self::Rewrite
        } else {
            Self::Encoded
        }
    }
}

/// The media type without its parameters, in lower case.
fn essence(content_type: &[u8]) -> String {
    let essence = content_type
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(essence.trim_ascii()).to_ascii_lowercase()
}

/// gRPC's messages carry their length: no byte of them may come or go.
fn is_grpc(media_type: &str) -> bool {
    media_type.starts_with("application/grpc")
}

fn is_identity(content_encoding: Option<&[u8]>) -> bool {
    let codings = content_encoding
        .unwrap_or_default()
        .split(|&byte| byte == b',');
    codings
        .map(<[u8]>::trim_ascii)
        .all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(content_type: Option<&str>, content_encoding: Option<&str>) -> Plan {
        plan_with(
            r#"{"rules": [{"detect": "email"}]}"#,
            content_type,
            content_encoding,
        )
    }

    fn plan_with(json: &str, content_type: Option<&str>, content_encoding: Option<&str>) -> Plan {
        let config = filter_config::parse(Some(json.as_bytes())).unwrap();
        let message = Message {
            content_type: content_type.map(str::as_bytes),
            content_encoding: content_encoding.map(str::as_bytes),
        };
        Plan::of(&message, &config)
    }

    #[test]
    fn text_is_rewritten_by_default() {
        for content_type in [
            "text/plain",
            "Text/HTML; charset=utf-8",
            "text/event-stream",
            "application/json",
            "application/problem+json",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(
                plan(Some(content_type), None),
                Plan::Rewrite,
                "{content_type}"
            );
        }
    }

    #[test]
    fn binary_and_unknown_bodies_are_left_by_default() {
        for content_type in [Some("image/png"), Some("application/octet-stream"), None] {
            assert_eq!(plan(content_type, None), Plan::Leave, "{content_type:?}");
        }
    }

    #[test]
    fn asterisk_concerns_bodies_without_a_type_too_but_never_grpc() {
        let json = r#"{"rules": [{"detect": "email"}], "content_types": ["*"]}"#;
        assert_eq!(plan_with(json, None, None), Plan::Rewrite);
        assert_eq!(
            plan_with(json, Some("application/grpc+proto"), None),
            Plan::Leave
        );
    }

    #[test]
    fn content_coding_hides_a_body() {
        assert_eq!(plan(Some("text/plain"), Some("gzip")), Plan::Encoded);
        assert_eq!(
            plan(Some("text/plain"), Some("identity, br")),
            Plan::Encoded
        );
        assert_eq!(plan(Some("text/plain"), Some("Identity")), Plan::Rewrite);
        assert_eq!(plan(Some("text/plain"), Some("")), Plan::Rewrite);
        assert_eq!(plan(Some("image/png"), Some("gzip")), Plan::Leave);
    }
}
