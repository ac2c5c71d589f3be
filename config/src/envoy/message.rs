//! A protobuf message in its JSON form.

use std::cell::RefCell;

use super::reader::Reader;
use crate::error::Problem;
use crate::read::{nearest, snake_case};
use crate::source::Span;
use crate::yaml::{Entry, Node, Value};

/// Fields that are maps, not messages, among those that are not read.
const MAPS: [&str; 3] = [
    "typed_per_filter_config",
    "typed_extension_protocol_options",
    "typed_filter_metadata",
];

/// A mapping that is being read as a message. Fields may be named in snake
/// case or in lower camel case, as protobuf's JSON form has it.
///
/// When it goes, it notes every field that was not asked for: what a reader
/// does not know, it cannot forget.
pub(super) struct Message<'n, 'r> {
    pub(super) reader: &'r Reader,
    path: String,
    at: Span,
    entries: &'n [Entry],
    /// Whether the value is a mapping at all; if not, no field is missed.
    is_mapping: bool,
    /// Names of the fields that were asked for.
    known: RefCell<Vec<&'static str>>,
}

impl<'n, 'r> Message<'n, 'r> {
    /// Starts to read `node`, which is at `path`.
    pub(super) fn open(reader: &'r Reader, node: &'n Node, path: String) -> Self {
        let entries = match &node.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::Broken => &[],
            Value::Scalar(_) | Value::Sequence(_) => {
                let what = if path.is_empty() {
                    "the bootstrap"
                } else {
                    &path
                };
                let message = format!("{what}: expected a mapping, found {}", node.describe());
                reader.problem(Problem::new(node.span, message));
                &[]
            }
        };
        Self {
            reader,
            path,
            at: node.at,
            entries,
            is_mapping: matches!(node.value, Value::Mapping(_)),
            known: RefCell::default(),
        }
    }

    /// Where to point when the message as a whole is meant.
    pub(super) fn at(&self) -> Span {
        self.at
    }

    /// The path of the message.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a field.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The value of a field; null counts as absent.
    pub(super) fn node(&self, name: &'static str) -> Option<&'n Node> {
        let entry = self.entry(name)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// Where a field's name stands, or else the message.
    pub(super) fn span_of(&self, name: &'static str) -> Span {
        self.entry(name).map_or(self.at, |entry| entry.key.span)
    }

    fn entry(&self, name: &'static str) -> Option<&'n Entry> {
        self.known.borrow_mut().push(name);
        let mut found = self.entries.iter().filter(|entry| names(entry, name));
        let first = found.next()?;
        if let Some(second) = found.next() {
            let path = self.path_of(name);
            let message = format!("{path} is there twice");
            let problem = Problem::new(second.key.span, message);
            let problem = problem.related(first.key.span, "it stands here already");
            self.reader.problem(problem);
        }
        Some(first)
    }

    /// A field that is a message.
    pub(super) fn message(&self, name: &'static str) -> Option<Message<'n, 'r>> {
        let node = self.node(name)?;
        Some(Self::open(self.reader, node, self.path_of(name)))
    }

    /// The items of a field that is a list, with their paths.
    pub(super) fn items(&self, name: &'static str) -> Vec<(&'n Node, String)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let path = self.path_of(name);
        let Value::Sequence(items) = &node.value else {
            self.mismatch(node, &path, "a list");
            return Vec::new();
        };
        let item = |(index, item)| (item, format!("{path}[{index}]"));
        items.iter().enumerate().map(item).collect()
    }

    /// The messages of a field that is a list of them.
    pub(super) fn messages(&self, name: &'static str) -> Vec<Message<'n, 'r>> {
        let items = self.items(name).into_iter();
        let open = |(node, path)| Self::open(self.reader, node, path);
        items.map(open).collect()
    }

    /// Notes that `node` is of the wrong kind.
    pub(super) fn mismatch(&self, node: &Node, path: &str, expected: &str) {
        if !matches!(node.value, Value::Broken) {
            let message = format!("{path}: expected {expected}, found {}", node.describe());
            self.reader.problem(Problem::new(node.span, message));
        }
    }

    /// Notes that a field is missing.
    pub(super) fn missing(&self, name: &str) {
        if !self.is_mapping {
            return;
        }
        let message = format!("{} is missing", self.path_of(name));
        self.reader.problem(Problem::new(self.at, message));
    }

    /// Notes that a field is outside of what Weir does, if it is there.
    pub(super) fn refuse(&self, name: &'static str, help: &str) {
        if self.node(name).is_some() {
            let path = self.path_of(name);
            let help = (!help.is_empty()).then(|| help.to_owned());
            self.reader.outside(self.span_of(name), &path, help);
        }
    }

    /// Passes over a field that says nothing to Weir; the documentation lists
    /// them.
    pub(super) fn inert(&self, name: &'static str) {
        self.known.borrow_mut().push(name);
    }

    /// Passes over everything that is left: the message was refused as a whole.
    pub(super) fn close(mut self) {
        self.entries = &[];
    }

    /// Fields that are set and that nobody has asked for so far.
    fn unknown(&self) -> impl Iterator<Item = &'n Entry> {
        let known = self.known.borrow();
        let unknown =
            |entry: &&Entry| !is_unset(entry) && !known.iter().any(|name| names(entry, name));
        self.entries
            .iter()
            .filter(unknown)
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// Whether fields are set that nobody has asked for.
    pub(super) fn has_unknown(&self) -> bool {
        self.unknown().next().is_some()
    }

    /// Which of several fields is there; notes a problem if more than one is.
    pub(super) fn one_of(&self, names: &[&'static str]) -> Option<&'static str> {
        let mut given = names.iter().filter(|name| self.node(name).is_some());
        let first = given.next()?;
        if let Some(second) = given.next() {
            let path = self.path_of(second);
            let message = format!("{path} cannot be set beside `{first}`");
            let problem = Problem::new(self.span_of(second), message);
            let problem = problem.related(self.span_of(first), "the other one stands here");
            self.reader.problem(problem);
        }
        Some(first)
    }
}

impl Drop for Message<'_, '_> {
    fn drop(&mut self) {
        for entry in self.unknown() {
            let known = self.known.borrow();
            let key = entry.key.text.as_str();
            let meant = nearest(key, known.iter().copied());
            let meant = meant.map(|meant| format!("did you mean `{meant}`?"));
            let path = self.path_of(&snake_case(key));
            self.reader.outside(entry.key.span, &path, meant);
        }
    }
}

/// Whether a field that is not read counts as absent, as it does in protobuf: a
/// null, a list of nothing, a map of nothing. An empty message is there:
/// `grpc: {}` is a condition.
fn is_unset(entry: &Entry) -> bool {
    match &entry.value.value {
        Value::Mapping(entries) => {
            entries.is_empty() && MAPS.contains(&snake_case(&entry.key.text).as_str())
        }
        _ => entry.value.is_null() || entry.value.is_empty_list(),
    }
}

/// Whether an entry is the field `name`.
fn names(entry: &Entry, name: &str) -> bool {
    let key = entry.key.text.as_str();
    key == name || (key.contains(|c: char| c.is_ascii_uppercase()) && key == camel_case(name))
}

/// `connect_timeout` as `connectTimeout`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        out.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(chars.as_str());
    }
    out
}
