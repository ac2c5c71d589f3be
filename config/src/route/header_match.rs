//! What headers must be like.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::check_regex;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a header match",
    keys: &[
        ("name", "x-canary"),
        ("present", "true"),
        ("exact", "yes"),
        ("prefix", "v"),
        ("suffix", ".example"),
        ("contains", "canary"),
        ("regex", "'v[0-9]+'"),
        ("range", "{ start: 1, end: 10 }"),
        ("ignore_case", "true"),
        ("invert", "true"),
        ("treat_missing_as_empty", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static RANGE_BLOCK: Block = Block {
    name: "`range`",
    keys: &[("start", "1"), ("end", "10")],
    not_yet: &[],
    hints: &[],
};

const MATCHERS: [&str; 7] = [
    "present", "exact", "prefix", "suffix", "contains", "regex", "range",
];

/// Keys that [`text_match`] reads.
pub(crate) const TEXT_MATCHERS: [&str; 5] = ["exact", "prefix", "suffix", "contains", "regex"];

/// `headers[]`: what one header must be like; without any of `present`,
/// `exact`, …, it must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// `name`: in any case; pseudo-headers such as `:method` too. Required.
    pub name: Spanned<String>,
    /// `present`, `exact`, `prefix`, `suffix`, `contains`, `regex` or `range`.
    pub matcher: HeaderMatcher,
    /// `invert`: takes what would not match. Default: false.
    pub invert: bool,
    /// `treat_missing_as_empty`: whether a header that is not there is taken
    /// as an empty one; or else it matches nothing, inverted or not. Default:
    /// false.
    pub treat_missing_as_empty: bool,
}

/// What a header's value must be like; of several values
/// of one name, one must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderMatcher {
    /// `present`: whether it must be there, or not.
    Present(bool),
    /// A text.
    Text(StringMatch),
    /// `range`: a whole number, from `start` up to, but not including, `end`.
    Range {
        /// The first number that matches.
        start: i64,
        /// The first that does not match any more.
        end: i64,
    },
}

/// What a text must be like: Envoy's `StringMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringMatch {
    /// `exact`, `prefix`, `suffix`, `contains` or `regex`.
    pub matcher: TextMatcher,
    /// `ignore_case`: without meaning for `regex`. Default: false.
    pub ignore_case: bool,
}

/// See [`StringMatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatcher {
    /// `exact`: the whole value.
    Exact(String),
    /// `prefix`: its beginning.
    Prefix(String),
    /// `suffix`: its end.
    Suffix(String),
    /// `contains`: any part of it.
    Contains(String),
    /// `regex`: a regular expression for the whole value.
    Regex(String),
}

impl FromYaml for HeaderMatch {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: Spanned::placeholder(),
            matcher: HeaderMatcher::Present(true),
            invert: false,
            treat_missing_as_empty: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            name: fields.required_text("name"),
            matcher: matcher(&mut fields),
            invert: fields.optional("invert").unwrap_or(false),
            treat_missing_as_empty: fields.optional("treat_missing_as_empty").unwrap_or(false),
        }
    }
}

fn matcher(fields: &mut Fields<'_, '_>) -> HeaderMatcher {
    let key = fields.one_of(&MATCHERS).unwrap_or("present");
    match key {
        "present" => HeaderMatcher::Present(fields.optional("present").unwrap_or(true)),
        "range" => {
            let range = fields
                .optional("range")
                .unwrap_or(Range { start: 0, end: 0 });
            HeaderMatcher::Range {
                start: range.start,
                end: range.end,
            }
        }
        _ => HeaderMatcher::Text(text_match(fields, key)),
    }
}

/// What stands under `key`, one of [`TEXT_MATCHERS`], and `ignore_case`.
pub(crate) fn text_match(fields: &mut Fields<'_, '_>, key: &str) -> StringMatch {
    let text: Spanned<String> = fields.required(key);
    let matcher = match key {
        "exact" => TextMatcher::Exact(text.value),
        "prefix" => TextMatcher::Prefix(text.value),
        "suffix" => TextMatcher::Suffix(text.value),
        "contains" => TextMatcher::Contains(text.value),
        _ => {
            check_regex(&text.value, text.span, fields.problems);
            TextMatcher::Regex(text.value)
        }
    };
    StringMatch {
        matcher,
        ignore_case: fields.optional("ignore_case").unwrap_or(false),
    }
}

pub(crate) struct Range {
    /// `start`: the first number that matches. Required.
    pub(crate) start: i64,
    /// `end`: the first that does not match any more. Required.
    pub(crate) end: i64,
}

impl FromYaml for Range {
    const EXPECTED: &'static str = RANGE_BLOCK.name;

    fn placeholder() -> Self {
        Self { start: 0, end: 0 }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = RANGE_BLOCK.open(node, problems);
        let range = Self {
            start: fields.required("start").value,
            end: fields.required("end").value,
        };
        if range.start >= range.end {
            let problem = Problem::new(fields.at(), "no number is in this range");
            let help = "`end` is the first number that does not match any more";
            fields.problems.push(problem.help(help));
        }
        range
    }
}
