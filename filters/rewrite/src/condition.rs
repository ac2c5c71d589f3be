//! Which requests a rule is for.

use filter_config::HeaderName;
use filter_http::query;
use regex_lite::Regex;
use serde::Deserialize;

use crate::host::{Captures, Values};

/// All that is set has to hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Condition {
    /// What the path begins with.
    prefix: Option<String>,
    /// What the path is, as a whole; its groups are captured.
    pub(crate) path: Option<Pattern>,
    methods: Vec<String>,
    headers: Vec<Header>,
}

/// A pattern that a text fits as a whole.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pattern(Regex);

/// A header that has to be there, and fit a pattern if there is one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: HeaderName,
    value: Option<Pattern>,
    #[serde(default)]
    absent: bool,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let whole = Regex::new(&format!("^(?:{text})$"));
        whole
            .map(Self)
            .map_err(|error| format!("`{text}` is no pattern: {error}"))
    }
}

impl Pattern {
    /// Whether a capture of this name or number is in it.
    pub(crate) fn has(&self, capture: &str) -> bool {
        let mut names = self.0.capture_names().enumerate();
        names.any(|(number, name)| name == Some(capture) || number.to_string() == capture)
    }

    fn captures(&self, text: &str) -> Option<Captures> {
        let found = self.0.captures(text)?;
        let mut captures = Captures::new();
        for (number, name) in self.0.capture_names().enumerate() {
            if let Some(part) = found.get(number) {
                let part = part.as_str();
                captures.insert(number.to_string(), part.to_owned());
                if let Some(name) = name {
                    captures.insert(name.to_owned(), part.to_owned());
                }
            }
        }
        Some(captures)
    }
}

impl Condition {
    /// What a request has that the rule is for; none if it is for others.
    pub(crate) fn captures(&self, values: &impl Values) -> Option<Captures> {
        let target = values.path();
        let path = query::path(&target);
        let begins = self.prefix.as_ref().is_none_or(|p| path.starts_with(p));
        let method = values.header(":method").unwrap_or_default();
        let methods = self.methods.is_empty() || self.methods.contains(&method);
        let headers = self.headers.iter().all(|header| header.holds(values));
        if !(begins && methods && headers) {
            return None;
        }
        match &self.path {
            None => Some(Captures::new()),
            Some(pattern) => pattern.captures(path),
        }
    }
}

impl Header {
    fn holds(&self, values: &impl Values) -> bool {
        match (values.header(&self.name), &self.value) {
            (None, _) => self.absent,
            (Some(_), _) if self.absent => false,
            (Some(_), None) => true,
            (Some(value), Some(pattern)) => pattern.0.is_match(&value),
        }
    }
}
