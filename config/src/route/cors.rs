//! Which pages of other origins may read responses (the Fetch standard's CORS).

use std::time::Duration;

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::route::header_match::{StringMatch, TextMatcher, text_match};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`cors`",
    keys: &[
        ("allow_origin_string_match", "[{ suffix: .shop.example }]"),
        ("allow_methods", "\"GET, POST\""),
        ("allow_headers", "x-token"),
        ("expose_headers", "x-total"),
        ("max_age", "10m"),
        ("allow_credentials", "true"),
    ],
    not_yet: &[],
    hints: &[
        (
            "allow_origin",
            "allow_origin_string_match",
            "write `allow_origin_string_match: [{ exact: https://shop.example }]`",
        ),
        (
            "filter_enabled",
            "",
            "leave it out, or `cors` with it: it holds for all requests",
        ),
    ],
};

pub(crate) static STRING_MATCH_BLOCK: Block = Block {
    name: "a string match",
    keys: &[
        ("exact", "https://shop.example"),
        ("prefix", "https://shop."),
        ("suffix", ".shop.example"),
        ("contains", "shop"),
        ("regex", "'https://[a-z]+[.]shop[.]example'"),
        ("ignore_case", "true"),
    ],
    not_yet: &[],
    hints: &[("safe_regex", "regex", "write `regex: '...'`")],
};

/// `cors`: which pages of other origins may read responses, as Envoy's filter of that
/// name has it. A preflight of one of them is answered at once, before any filter; other
/// responses to them are marked behind the filters. Of a virtual host: of its routes that
/// have none themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// `allow_origin_string_match`: which origins; `{ prefix: '' }` is all. At least one.
    /// Required.
    pub allow_origin: Vec<StringMatch>,
    /// `allow_methods`: what a preflight is told of methods. Default: nothing.
    pub allow_methods: String,
    /// `allow_headers`: what it is told of headers. Default: nothing.
    pub allow_headers: String,
    /// `expose_headers`: which headers of a response pages may read, besides those that
    /// they may anyway. Default: nothing is said.
    pub expose_headers: String,
    /// `max_age`: how long the answer to a preflight may be kept; whole seconds.
    /// Default: nothing is said.
    pub max_age: Option<Duration>,
    /// `allow_credentials`: whether requests may come with cookies and the like.
    /// Default: false.
    pub allow_credentials: bool,
}

impl FromYaml for Cors {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let origins: Spanned<Vec<StringMatch>> = fields.required("allow_origin_string_match");
        let mut text = |key| -> String {
            let text: Spanned<String> = fields.optional(key).unwrap_or_else(Spanned::placeholder);
            crate::route::header_mutation::check_value(&text.value, text.span, fields.problems);
            text.value
        };
        let (allow_methods, allow_headers, expose_headers) = (
            text("allow_methods"),
            text("allow_headers"),
            text("expose_headers"),
        );
        Self {
            allow_origin: origins.value,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age: fields.optional("max_age"),
            allow_credentials: fields.optional("allow_credentials").unwrap_or(false),
        }
    }
}

impl FromYaml for StringMatch {
    const EXPECTED: &'static str = STRING_MATCH_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            matcher: TextMatcher::Exact(String::new()),
            ignore_case: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = STRING_MATCH_BLOCK.open(node, problems);
        let keys = ["exact", "prefix", "suffix", "contains", "regex"];
        let key = fields.one_of(&keys).unwrap_or("exact");
        text_match(&mut fields, key)
    }
}
