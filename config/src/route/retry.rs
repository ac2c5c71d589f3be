//! When a request is sent once more.

use std::fmt;
use std::time::Duration;

use crate::defaults::{RETRIES, RETRY_BASE_INTERVAL, RETRY_MAX_INTERVAL_FACTOR};
use crate::error::Problem;
use crate::failure::Backoff;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, FromYaml, list, nearest};
use crate::route::check_status;
use crate::route::header_match::HeaderMatch;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "the retry policy of a route",
    keys: &[
        ("retry_on", "\"5xx,reset\""),
        ("num_retries", "2"),
        ("per_try_timeout", "1s"),
        ("per_try_idle_timeout", "500ms"),
        ("retriable_status_codes", "[429]"),
        ("retriable_headers", "[{ name: x-retry, present: true }]"),
        (
            "retriable_request_headers",
            "[{ name: ':method', exact: GET }]",
        ),
        (
            "retry_back_off",
            "{ base_interval: 25ms, max_interval: 250ms }",
        ),
        ("buffer_limit", "64KiB"),
    ],
    not_yet: &[],
    hints: &[
        (
            "retry_host_predicate",
            "",
            "a retry goes to an endpoint that has not been tried, where there is one",
        ),
        (
            "per_request_buffer_limit_bytes",
            "buffer_limit",
            "it is called `buffer_limit` here",
        ),
    ],
};

/// `retry_policy`: when a request is sent once more, as Envoy's. Of a virtual host:
/// of its routes that have none themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// `retry_on`: after what, with commas between. Required.
    pub retry_on: RetryOn,
    /// `num_retries`: attempts after the first. Default: 1.
    pub num_retries: u32,
    /// `per_try_timeout`: for one attempt, from a complete request and a connection to
    /// the end of the response; 0 is without end. No effect if it is not below the
    /// route's `timeout`. Default: 0.
    pub per_try_timeout: Duration,
    /// `per_try_idle_timeout`: how long nothing may move between Weir and the endpoint
    /// in one attempt; 0 is without end. Default: 0.
    pub per_try_idle_timeout: Duration,
    /// `retriable_status_codes`: for `retriable-status-codes`. Default: none.
    pub retriable_status_codes: Vec<u16>,
    /// `retriable_headers`: for `retriable-headers`, of which a response has to match
    /// one. Default: none.
    pub retriable_headers: Vec<HeaderMatch>,
    /// `retriable_request_headers`: of which a request has to match one to be sent
    /// again. Default: none, and every request may be.
    pub retriable_request_headers: Vec<HeaderMatch>,
    /// `retry_back_off`: before each attempt there is a pause of any length up to a
    /// limit, which doubles with each. Default: 25ms, then up to ten times that.
    pub retry_back_off: Backoff,
    /// `buffer_limit`: bytes of a request's body that are kept to be sent again; what
    /// is longer is sent once. Default: the route's `buffer_limit`, or the listener's.
    pub buffer_limit: Option<usize>,
}

impl RetryPolicy {
    /// After this, and otherwise as by default.
    pub(crate) fn on(retry_on: RetryOn) -> Self {
        Self {
            retry_on,
            num_retries: RETRIES,
            per_try_timeout: Duration::ZERO,
            per_try_idle_timeout: Duration::ZERO,
            retriable_status_codes: Vec::new(),
            retriable_headers: Vec::new(),
            retriable_request_headers: Vec::new(),
            retry_back_off: Self::BACK_OFF,
            buffer_limit: None,
        }
    }

    /// `retry_back_off` by default.
    pub const BACK_OFF: Backoff = Backoff {
        base_interval: RETRY_BASE_INTERVAL,
        max_interval: RETRY_BASE_INTERVAL.saturating_mul(RETRY_MAX_INTERVAL_FACTOR),
    };
}

/// What a request is sent again after: a set of Envoy's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(u32);

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $bit:literal $word:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$name, $word)),*];
        }
    };
}

conditions! {
    /// A status of 500 or more, or no response.
    SERVER_ERROR = 0 "5xx";
    /// 502, 503, 504, or no response.
    GATEWAY_ERROR = 1 "gateway-error";
    /// No response.
    RESET = 2 "reset";
    /// No response, and nothing of the request has been sent.
    RESET_BEFORE_REQUEST = 3 "reset-before-request";
    /// No connection.
    CONNECT_FAILURE = 4 "connect-failure";
    /// A response with `x-envoy-ratelimited`, which no other condition holds for.
    ENVOY_RATE_LIMITED = 5 "envoy-ratelimited";
    /// 409.
    RETRIABLE_4XX = 6 "retriable-4xx";
    /// A stream that the endpoint has refused.
    REFUSED_STREAM = 7 "refused-stream";
    /// One of `retriable_status_codes`.
    RETRIABLE_STATUS_CODES = 8 "retriable-status-codes";
    /// One of `retriable_headers`.
    RETRIABLE_HEADERS = 9 "retriable-headers";
    /// gRPC status 1 in the headers of the response.
    CANCELLED = 10 "cancelled";
    /// gRPC status 4.
    DEADLINE_EXCEEDED = 11 "deadline-exceeded";
    /// gRPC status 13.
    INTERNAL = 12 "internal";
    /// gRPC status 8.
    RESOURCE_EXHAUSTED = 13 "resource-exhausted";
    /// gRPC status 14.
    UNAVAILABLE = 14 "unavailable";
}

impl RetryOn {
    /// The conditions in a list with commas, and the words that are none.
    pub fn parse(text: &str) -> (Self, Vec<&str>) {
        let mut on = Self::default();
        let mut unknown = Vec::new();
        for word in text.split(',').map(str::trim).filter(|w| !w.is_empty()) {
            match Self::WORDS.iter().find(|(_, known)| *known == word) {
                Some((condition, _)) => on = on.with(*condition),
                None => unknown.push(word),
            }
        }
        (on, unknown)
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has any of `other`.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::WORDS.iter().filter(|(on, _)| self.has(*on));
        let words: Vec<_> = words.map(|(_, word)| *word).collect();
        f.write_str(&words.join(","))
    }
}

/// Reads `retry_on`, and notes words that are no conditions.
pub(crate) fn read_retry_on(text: &str, span: Span, problems: &mut Problems) -> RetryOn {
    let (on, unknown) = RetryOn::parse(text);
    let words = || RetryOn::WORDS.iter().map(|(_, word)| *word);
    for word in unknown {
        let help = match nearest(word, words()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", list(words())),
        };
        let message = format!("`{word}` is nothing to retry on");
        problems.push(Problem::new(span, message).help(help));
    }
    on
}

impl FromYaml for RetryPolicy {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::on(RetryOn::default())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let on: Spanned<String> = fields.required("retry_on");
        let other = Self::on(read_retry_on(&on.value, on.span, fields.problems));
        let codes: Vec<Spanned<u16>> = fields
            .optional("retriable_status_codes")
            .unwrap_or_default();
        for code in &codes {
            check_status(code.value, code.span, fields.problems);
        }
        Self {
            num_retries: fields.optional("num_retries").unwrap_or(other.num_retries),
            per_try_timeout: fields.optional("per_try_timeout").unwrap_or_default(),
            per_try_idle_timeout: fields.optional("per_try_idle_timeout").unwrap_or_default(),
            retriable_status_codes: codes.into_iter().map(|code| code.value).collect(),
            retriable_headers: fields.optional("retriable_headers").unwrap_or_default(),
            retriable_request_headers: fields
                .optional("retriable_request_headers")
                .unwrap_or_default(),
            retry_back_off: fields
                .optional("retry_back_off")
                .unwrap_or(other.retry_back_off),
            buffer_limit: fields
                .optional::<ByteSize>("buffer_limit")
                .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
            retry_on: other.retry_on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_words_with_commas() {
        let (on, unknown) = RetryOn::parse("5xx, reset,,unavailable, 6xx");
        assert_eq!(on.to_string(), "5xx,reset,unavailable");
        assert_eq!(unknown, ["6xx"]);
        assert!(on.has(RetryOn::RESET) && !on.has(RetryOn::CANCELLED));
    }
}
