//! Fields that are no messages: numbers, durations, words.

use std::time::Duration;

use super::message::Message;
use crate::error::Problem;
use crate::limits::MAX_DURATION;
use crate::metadata::{JsonObject, Metadata, Struct};
use crate::read::{FromYaml, list, nearest};
use crate::source::Spanned;
use crate::yaml::{Meaning, Node, Value};

impl<'n> Message<'n, '_> {
    /// A string.
    pub(super) fn text(&self, name: &'static str) -> Option<Spanned<String>> {
        let node = self.node(name)?;
        if let Some(text) = node.text() {
            return Some(Spanned::new(text.to_owned(), node.at));
        }
        self.mismatch(node, &self.path_of(name), "a string");
        None
    }

    /// A string that must not be empty.
    pub(super) fn required_text(&self, name: &'static str) -> Spanned<String> {
        if self.node(name).is_none() {
            self.missing(name);
        }
        let text = self.text(name);
        if text.as_ref().is_some_and(|text| text.is_empty()) {
            let message = format!("{} is empty", self.path_of(name));
            self.reader
                .problem(Problem::new(self.span_of(name), message));
        }
        text.unwrap_or_else(|| Spanned::new(String::new(), self.at()))
    }

    /// A string; an empty one counts as absent.
    pub(super) fn nonempty(&self, name: &'static str) -> Option<String> {
        let text = self.text(name)?;
        (!text.is_empty()).then_some(text.value)
    }

    /// A list of strings.
    pub(super) fn texts(&self, name: &'static str) -> Vec<Spanned<String>> {
        let mut texts = Vec::new();
        for (node, path) in self.items(name) {
            match node.text() {
                Some(text) => texts.push(Spanned::new(text.to_owned(), node.at)),
                None => self.mismatch(node, &path, "a string"),
            }
        }
        texts
    }

    /// A truth value, wrapped in a message or not.
    pub(super) fn flag(&self, name: &'static str) -> Option<bool> {
        let node = unwrapped(self.node(name)?);
        match node.scalar() {
            Some((_, Meaning::Bool(value))) => Some(value),
            // Envoy's YAML is of the older kind.
            Some((scalar, Meaning::Text)) if matches!(&*scalar.text, "yes" | "on") => Some(true),
            Some((scalar, Meaning::Text)) if matches!(&*scalar.text, "no" | "off") => Some(false),
            _ => {
                self.mismatch(node, &self.path_of(name), "`true` or `false`");
                None
            }
        }
    }

    /// A whole number from `range`, as a number or in quotes, wrapped or not.
    pub(super) fn number<T: TryFrom<i64>>(&self, name: &'static str) -> Option<Spanned<T>> {
        let node = unwrapped(self.node(name)?);
        let number = node.text().and_then(whole);
        let fits = number.and_then(|number| T::try_from(number).ok());
        if fits.is_none() {
            self.mismatch(node, &self.path_of(name), "a whole number");
        }
        fits.map(|number| Spanned::new(number, node.at))
    }

    /// A duration: `1.5s`, or seconds and nanoseconds.
    pub(super) fn duration(&self, name: &'static str) -> Option<Spanned<Duration>> {
        let node = self.node(name)?;
        let duration = if let Value::Mapping(_) = node.value {
            let parts = self.message(name)?;
            let seconds = parts.number::<u32>("seconds").map_or(0, |n| n.value);
            let nanos = parts.number::<u32>("nanos").map_or(0, |n| n.value);
            Some(Duration::from_secs(seconds.into()) + Duration::from_nanos(nanos.into()))
        } else {
            node.text().and_then(seconds)
        };
        let duration = duration.filter(|duration| *duration <= MAX_DURATION);
        if duration.is_none() {
            let expected = "a duration in seconds such as `1.5s`";
            self.mismatch(node, &self.path_of(name), expected);
        }
        duration.map(|duration| Spanned::new(duration, node.at))
    }

    /// A time limit: `default` if absent, none if it is 0.
    pub(super) fn limit(&self, name: &'static str, default: Option<Duration>) -> Option<Duration> {
        match self.duration(name) {
            Some(limit) => (!limit.is_zero()).then_some(limit.value),
            None => default,
        }
    }

    /// One of an enum's values, by name or number; what is outside of `words`
    /// is refused.
    pub(super) fn word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&'static str, i64, T)],
    ) -> Option<T> {
        let node = self.node(name)?;
        let path = self.path_of(name);
        let Some(text) = node.text() else {
            self.mismatch(node, &path, "the name of a value");
            return None;
        };
        let number = text.parse::<i64>().ok();
        let found = words
            .iter()
            .find(|(word, value, _)| *word == text || Some(*value) == number);
        if let Some((_, _, value)) = found {
            return Some(*value);
        }
        let names = words.iter().map(|(word, ..)| *word);
        let help = match nearest(text, names.clone()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("supported: {}", list(names)),
        };
        let what = format!("{path}: {text}");
        self.reader.outside(node.span, &what, Some(help));
        None
    }

    /// A field of which Weir has one value only, which is what Envoy has by
    /// default, or what is named here.
    pub(super) fn only(&self, name: &'static str, value: bool) {
        if self.flag(name).is_some_and(|given| given != value) {
            let what = format!("{}: {}", self.path_of(name), !value);
            self.reader.outside(self.span_of(name), &what, None);
        }
    }

    /// A field that is a `google.protobuf.Struct`.
    pub(super) fn object(&self, name: &'static str) -> Struct {
        let Some(node) = self.node(name) else {
            return Struct::new();
        };
        let path = self.path_of(name);
        let read = |problems: &mut _| JsonObject::read(node, problems).0;
        self.reader.native(&path, read)
    }

    /// A field that is Envoy's `core.v3.Metadata`.
    pub(super) fn metadata(&self, name: &'static str) -> Metadata {
        let Some(metadata) = self.message(name) else {
            return Metadata::default();
        };
        let Some(node) = metadata.node("filter_metadata") else {
            return Metadata::default();
        };
        let path = metadata.path_of("filter_metadata");
        let read = |problems: &mut _| Metadata::read(node, problems);
        self.reader.native(&path, read)
    }
}

/// The `value` of a wrapper such as `UInt32Value`, which JSON has without it.
fn unwrapped(node: &Node) -> &Node {
    match &node.value {
        Value::Mapping(entries) if entries.len() == 1 && entries[0].key.text == "value" => {
            &entries[0].value
        }
        _ => node,
    }
}

/// A whole number; JSON may give it a fraction of 0.
fn whole(text: &str) -> Option<i64> {
    let text = match text.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
        _ => text,
    };
    text.parse().ok()
}

/// `1.5s`: protobuf's JSON form of a duration that is not negative.
fn seconds(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanos = format!("{fraction:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_with_up_to_nine_digits() {
        assert_eq!(seconds("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(seconds("0s"), Some(Duration::ZERO));
        assert_eq!(seconds("0.000000001s"), Some(Duration::from_nanos(1)));
        for wrong in ["1", "1m", "1.5", "-1s", ".5s", "s", "1ms", "0.0000000001s"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
