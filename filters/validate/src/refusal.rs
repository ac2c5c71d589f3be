//! Why a request is refused, as a problem (RFC 9457).

use serde_json::json;

use crate::schema::Wrong;

/// One reason.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    TargetTooLong(usize),
    BodyTooLarge(usize),
    ContentType(Vec<String>),
    Encoded,
    NoBody,
    NoJson(String),
    Schema(Vec<Wrong>),
}

impl Refusal {
    pub(crate) fn status(&self) -> u32 {
        match self {
            Self::NoBody | Self::NoJson(_) => 400,
            Self::BodyTooLarge(_) => 413,
            Self::TargetTooLong(_) => 414,
            Self::ContentType(_) | Self::Encoded => 415,
            Self::Schema(_) => 422,
        }
    }

    /// The body of the answer, `application/problem+json`.
    pub(crate) fn problem(&self) -> String {
        let (title, detail) = match self {
            Self::TargetTooLong(max) => (
                "the request's target is too long",
                format!("it may have {max} bytes"),
            ),
            Self::BodyTooLarge(max) => (
                "the request's body is too large",
                format!("it may have {max} bytes"),
            ),
            Self::ContentType(types) => (
                "the request's content type is not accepted here",
                format!("expected {}", types.join(" or ")),
            ),
            Self::Encoded => (
                "the request's content encoding is not accepted here",
                "expected a body that is not compressed".to_owned(),
            ),
            Self::NoBody => (
                "the request has no body",
                "expected a JSON document".to_owned(),
            ),
            Self::NoJson(reason) => ("the request's body is no JSON", reason.clone()),
            Self::Schema(_) => (
                "the request's body does not fit the schema",
                "see `errors`".to_owned(),
            ),
        };
        let mut problem = json!({ "title": title, "status": self.status(), "detail": detail });
        if let Self::Schema(errors) = self {
            problem["errors"] = json!(errors);
        }
        problem.to_string()
    }
}
