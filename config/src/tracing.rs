//! Spans about requests, for a collector.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use crate::defaults::{OTLP_TIMEOUT, SAMPLING, SERVICE_NAME};
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::schema::Shape;
use crate::source::Spanned;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "`tracing`",
    keys: &[
        ("otlp", "{ endpoint: http://127.0.0.1:4318 }"),
        ("sampling", "10%"),
        ("service_name", "edge"),
    ],
    not_yet: &[],
    hints: &[(
        "random_sampling",
        "sampling",
        "write `sampling: 10%`, which counts for all listeners",
    )],
};

pub(crate) static OTLP_BLOCK: Block = Block {
    name: "`otlp`",
    keys: &[
        ("endpoint", "http://127.0.0.1:4318"),
        ("headers", "{ x-tenant: edge }"),
        ("timeout", "10s"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `tracing`: spans about requests, their filters and what endpoints answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// `otlp`: where spans go to. Required.
    pub otlp: Otlp,
    /// `sampling`: which part of the requests that come without a trace context gets
    /// spans, in percent. Default: 100%.
    pub sampling: Sampling,
    /// `service_name`: what spans are of, as `service.name`. Default: `weir`.
    pub service_name: String,
}

/// `otlp`: a collector that speaks OTLP over HTTP, with protobuf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `endpoint`: its URL; without a path, `/v1/traces` is added. Required.
    pub endpoint: Spanned<String>,
    /// `headers`: headers of requests to it. Default: none.
    pub headers: Vec<(Spanned<String>, String)>,
    /// `timeout`: what one request to it may take; more than 0. Default: 10s.
    pub timeout: Duration,
}

/// A part of all requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling(pub u32);

impl Default for Sampling {
    fn default() -> Self {
        Self(SAMPLING)
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            write!(f, "{whole}%")
        } else {
            let fraction = format!("{rest:04}");
            write!(f, "{whole}.{}%", fraction.trim_end_matches('0'))
        }
    }
}

impl FromYaml for Sampling {
    const EXPECTED: &'static str = "a part such as `10%` or `0.1%`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        millionths(text).map_or_else(
            || {
                let problem = Problem::new(node.span, format!("`{text}` is not a part of requests"));
                let help = "write a number from 0 to 100, with up to 4 digits behind its point, and `%`: `10%`";
                problems.push(problem.help(help));
                Self::placeholder()
            },
            Self,
        )
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,4})?%$" }))
    }
}

fn millionths(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 3 || fraction.len() > 4 {
        return None;
    }
    let whole = whole.parse::<u32>().ok()? * 10_000;
    let fraction = format!("{fraction:0<4}").parse::<u32>().ok()?;
    Some(whole + fraction).filter(|part| *part <= SAMPLING)
}

impl FromYaml for Tracing {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            otlp: FromYaml::placeholder(),
            sampling: Sampling::default(),
            service_name: SERVICE_NAME.to_owned(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let otlp: Spanned<Otlp> = fields.required("otlp");
        let name = fields.optional("service_name");
        Self {
            otlp: otlp.value,
            sampling: fields.optional("sampling").unwrap_or_default(),
            service_name: name.unwrap_or_else(|| SERVICE_NAME.to_owned()),
        }
    }
}

impl FromYaml for Otlp {
    const EXPECTED: &'static str = OTLP_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            endpoint: FromYaml::placeholder(),
            headers: Vec::new(),
            timeout: OTLP_TIMEOUT,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = OTLP_BLOCK.open(node, problems);
        let endpoint = fields.required_text("endpoint");
        let timeout = fields.valid::<Duration>("timeout");
        if let Some(timeout) = timeout.filter(|timeout| timeout.is_zero()) {
            let message = "`timeout` must be more than 0";
            fields.problems.push(Problem::new(timeout.span, message));
        }
        let headers: Headers = fields.optional("headers").unwrap_or_default();
        if !endpoint.is_empty() && !is_url(&endpoint) {
            let message = format!("`{}` is not the URL of a collector", endpoint.value);
            let help = "OTLP over HTTP is spoken: `http://127.0.0.1:4318`";
            let problem = Problem::new(endpoint.span, message).help(help);
            fields.problems.push(problem);
        }
        Self {
            endpoint,
            headers: headers.0,
            timeout: timeout.map_or(OTLP_TIMEOUT, |timeout| timeout.value),
        }
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://");
    let rest = rest.or_else(|| text.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let clean = text.bytes().all(|b| b.is_ascii_graphic());
    clean && host.is_some_and(|host| !host.is_empty() && !host.starts_with(':'))
}

/// `headers` as read.
#[derive(Default)]
struct Headers(Vec<(Spanned<String>, String)>);

impl FromYaml for Headers {
    const EXPECTED: &'static str = "a mapping such as `{ x-tenant: edge }`";

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Value::Mapping(entries) = &node.value else {
            return mismatch(node, problems);
        };
        let mut headers = Vec::new();
        for entry in entries {
            let name = Spanned::new(entry.key.text.clone(), entry.key.span);
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || !name.bytes().all(token) {
                let message = format!("`{}` is not the name of a header", name.value);
                problems.push(Problem::new(name.span, message));
            }
            let value = String::read(&entry.value, problems);
            if value.chars().any(char::is_control) {
                let message = "a header's value has no line breaks or control characters";
                problems.push(Problem::new(entry.value.span, message));
            }
            headers.push((name, value));
        }
        Self(headers)
    }

    fn shape() -> Shape {
        let value = json!({ "type": ["string", "number", "boolean"] });
        Shape::Is(json!({ "type": "object", "additionalProperties": value }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_exact_and_are_written_as_they_are_read() {
        for (text, expected) in [
            ("0%", 0),
            ("0.0001%", 1),
            ("0.1%", 1_000),
            ("10%", 100_000),
            ("12.5%", 125_000),
            ("100%", 1_000_000),
        ] {
            assert_eq!(millionths(text), Some(expected), "{text}");
            assert_eq!(Sampling(expected).to_string(), text);
        }
        for text in [
            "", "%", "10", "101%", "100.1%", "-1%", "1e1%", ".5%", "5.%", "0.00001%",
        ] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }
}
