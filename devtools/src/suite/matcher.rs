//! [`Matcher`]: what a value is expected to be.

use std::path::Path;

use regex::bytes::Regex;
use serde_json::Value as Json;
use weir_config::{Element, Span};

use crate::fields::{self, Fields, Read};
use crate::show;

/// What a value is expected to be.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    rule: Rule,
    pub(crate) span: Span,
}

#[derive(Debug, Clone)]
enum Rule {
    /// There is no value.
    Absent,
    /// There is one.
    Present,
    Is(Vec<u8>),
    Contains(Vec<u8>),
    StartsWith(Vec<u8>),
    EndsWith(Vec<u8>),
    /// The whole value.
    Regex(Regex),
    Json(Json),
    OneOf(Vec<Matcher>),
    All(Vec<Matcher>),
    Not(Box<Matcher>),
}

const KEYS: [&str; 11] = [
    "is",
    "not",
    "contains",
    "starts_with",
    "ends_with",
    "matches",
    "json",
    "one_of",
    "file",
    "base64",
    "present",
];

impl Matcher {
    /// Reads `element`: a scalar stands for itself, null for no value. Files stand
    /// beside the suite.
    pub(crate) fn read(element: Element<'_>, folder: &Path) -> Read<Self> {
        let rule = Self::rule(element, folder)?;
        let span = element.at();
        Ok(Self { rule, span })
    }

    /// Accepts any value.
    pub(crate) fn present(span: Span) -> Self {
        let rule = Rule::Present;
        Self { rule, span }
    }

    fn rule(element: Element<'_>, folder: &Path) -> Read<Rule> {
        if element.is_null() {
            return Ok(Rule::Absent);
        }
        if let Some(text) = element.text() {
            return Ok(Rule::Is(text.as_bytes().to_vec()));
        }
        let fields = Fields::open(element, "a matcher", &KEYS)?;
        let mut rules = Vec::new();
        for key in fields.keys() {
            let Some(value) = fields.any(key) else {
                continue;
            };
            let text = || fields::text(value).map(String::into_bytes);
            let rule = match key {
                "is" => Rule::Is(text()?),
                "contains" => Rule::Contains(text()?),
                "starts_with" => Rule::StartsWith(text()?),
                "ends_with" => Rule::EndsWith(text()?),
                "matches" => Rule::Regex(
                    regex(&fields::text(value)?)
                        .map_err(|error| weir_config::ConfigErrors::from(value.error(error)))?,
                ),
                "json" => Rule::Json(value.json()?),
                "file" => Rule::Is(fields::file(value, folder)?),
                "base64" => Rule::Is(value.base64()?),
                "not" => Rule::Not(Box::new(Self::read(value, folder)?)),
                "present" if fields::bool(value)? => Rule::Present,
                "present" => Rule::Absent,
                _ => {
                    let items = fields::list(value)?.into_iter();
                    let items = items.map(|item| Self::read(item, folder));
                    Rule::OneOf(items.collect::<Read<_>>()?)
                }
            };
            let span = value.at();
            rules.push(Self { rule, span });
        }
        match <[Self; 1]>::try_from(rules) {
            Ok([one]) => Ok(one.rule),
            Err(rules) if rules.is_empty() => Err(fields::expected(element, "a matcher")),
            Err(rules) => Ok(Rule::All(rules)),
        }
    }

    /// Whether `value` is as expected.
    pub(crate) fn accepts(&self, value: Option<&[u8]>) -> bool {
        let is = |test: &dyn Fn(&[u8]) -> bool| value.is_some_and(test);
        match &self.rule {
            Rule::Absent => value.is_none(),
            Rule::Present => value.is_some(),
            Rule::Is(expected) => is(&|value| value == expected),
            Rule::Contains(part) => is(&|value| contains(value, part)),
            Rule::StartsWith(start) => is(&|value| value.starts_with(start)),
            Rule::EndsWith(end) => is(&|value| value.ends_with(end)),
            Rule::Regex(regex) => is(&|value| regex.is_match(value)),
            Rule::Json(expected) => {
                is(&|value| serde_json::from_slice::<Json>(value).is_ok_and(|v| v == *expected))
            }
            Rule::OneOf(any) => any.iter().any(|matcher| matcher.accepts(value)),
            Rule::All(all) => all.iter().all(|matcher| matcher.accepts(value)),
            Rule::Not(matcher) => !matcher.accepts(value),
        }
    }

    /// The matcher that must not accept, if this is the opposite of one.
    pub(crate) fn negated(&self) -> Option<&Self> {
        match &self.rule {
            Rule::Not(matcher) => Some(matcher),
            _ => None,
        }
    }

    /// What is expected, for a person.
    pub(crate) fn describe(&self) -> String {
        let join = |all: &[Self], word: &str| {
            let all: Vec<_> = all.iter().map(Self::describe).collect();
            all.join(word)
        };
        let quoted = |bytes: &[u8]| show::value(Some(bytes));
        match &self.rule {
            Rule::Absent => "nothing".to_owned(),
            Rule::Present => "a value".to_owned(),
            Rule::Is(expected) => quoted(expected),
            Rule::Contains(part) => format!("what contains {}", quoted(part)),
            Rule::StartsWith(start) => format!("what starts with {}", quoted(start)),
            Rule::EndsWith(end) => format!("what ends with {}", quoted(end)),
            Rule::Regex(regex) => format!("what matches `{}`", original(regex)),
            Rule::Json(json) => format!("JSON equal to `{json}`"),
            Rule::OneOf(any) => join(any, " or "),
            Rule::All(all) => join(all, " and "),
            Rule::Not(matcher) => format!("not {}", matcher.describe()),
        }
    }
}

/// A regular expression that has to match a whole value; a dot matches every
/// character but the end of a line.
pub(crate) fn regex(text: &str) -> Result<Regex, String> {
    let wrong = |error| format!("this is not a regular expression: {error}");
    // By itself: brackets that are put around it must not close others.
    Regex::new(text).map_err(wrong)?;
    Regex::new(&format!("{WHOLE}{text}{END}")).map_err(wrong)
}

const WHOLE: &str = r"\A(?:";
const END: &str = r")\z";

/// What was written of a regular expression.
pub(crate) fn original(regex: &Regex) -> &str {
    let whole = regex.as_str();
    let inner = whole.strip_prefix(WHOLE).and_then(|w| w.strip_suffix(END));
    inner.unwrap_or(whole)
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|window| window == part)
}
