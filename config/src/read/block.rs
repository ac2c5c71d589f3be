//! A mapping with a fixed set of keys.

use std::time::Duration;

use crate::blocks;
use crate::error::Problem;
use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{ByteSize, FromYaml, list, nearest};
use crate::schema::{Event, Shape};
use crate::source::{Span, Spanned};
use crate::yaml::{Entry, Node, Value};

/// The keys of a kind of mapping, for its reader and for its messages.
#[derive(Debug)]
pub(crate) struct Block {
    /// What the mapping describes, with its article: "a listener".
    pub(crate) name: &'static str,
    /// Every key, each with an example of its value.
    pub(crate) keys: &'static [(&'static str, &'static str)],
    /// Keys that have a meaning which Weir does not serve yet.
    pub(crate) not_yet: &'static [(&'static str, NotYet)],
    /// Keys that people bring from elsewhere: the key, the one that they then
    /// leave out (or an empty string), and the help.
    pub(crate) hints: &'static [(&'static str, &'static str, &'static str)],
}

/// A mapping that is being read as a [`Block`].
pub(crate) struct Fields<'n, 'p> {
    block: &'static Block,
    at: Span,
    entries: &'n [Entry],
    /// Keys that the help on an unknown key has named; they are as good as there.
    suggested: Vec<&'static str>,
    /// Whether the value is a mapping at all; if not, no key is missed.
    is_mapping: bool,
    pub(crate) problems: &'p mut Problems,
}

impl Block {
    /// Starts to read `node`, noting the keys that do not belong there.
    pub(crate) fn open<'n, 'p>(
        &'static self,
        node: &'n Node,
        problems: &'p mut Problems,
    ) -> Fields<'n, 'p> {
        problems.record(|| Event::Open(self));
        let mut fields = Fields {
            block: self,
            at: node.at,
            entries: &[],
            suggested: Vec::new(),
            is_mapping: false,
            problems,
        };
        if let Value::Mapping(entries) = &node.value {
            fields.entries = entries;
            fields.is_mapping = true;
            for entry in entries {
                fields.check_key(entry);
            }
        } else if !matches!(node.value, Value::Broken) {
            let message = format!("{} is a mapping, found {}", self.name, node.describe());
            let help = format!("its keys are {}", list(self.key_names()));
            let problem = Problem::new(node.span, message);
            fields.problems.push(problem.help(help));
        }
        fields
    }

    pub(crate) fn key_names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|(key, _)| *key)
    }
}

impl<'n> Fields<'n, '_> {
    fn check_key(&mut self, entry: &Entry) {
        let (key, span) = (entry.key.text.as_str(), entry.key.span);
        if self.block.key_names().any(|known| known == key) {
            return;
        }
        let not_yet = self.block.not_yet.iter();
        if let Some((_, feature)) = not_yet.clone().find(|(known, _)| *known == key) {
            self.problems.push(feature.problem(span));
            return;
        }
        let message = format!("unknown key `{key}` in {}", self.block.name);
        let problem = Problem::new(span, message);
        let hint = self.block.hints.iter().find(|(known, _, _)| *known == key);
        let problem = if let Some((_, instead, help)) = hint {
            self.suggested.push(instead);
            problem.help(*help)
        } else if let Some(meant) = nearest(key, self.block.key_names()) {
            self.suggested.push(meant);
            problem.help(format!("did you mean `{meant}`?"))
        } else {
            problem.help(self.elsewhere(key))
        };
        self.problems.push(problem);
    }

    /// The blocks that do have `key`, or else the keys that this block has.
    fn elsewhere(&self, key: &str) -> String {
        let has = |block: &&&Block| block.key_names().any(|known| known == key);
        let owners: Vec<_> = blocks::ALL.iter().filter(has).map(|b| b.name).collect();
        let known = list(self.block.key_names());
        if owners.is_empty() {
            format!("known keys are {known}")
        } else {
            let owners = owners.join(" or ");
            format!("`{key}` belongs in {owners}; known keys here are {known}")
        }
    }

    /// Where to point when the block as a whole is meant.
    pub(crate) fn at(&self) -> Span {
        self.at
    }

    /// Where the key stands, or else the block.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.entry(key).map_or(self.at, |entry| entry.key.span)
    }

    /// The value of `key`; an explicit null counts as absent.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entry(key)?;
        (!entry.value.is_null()).then_some(&entry.value)
    }

    /// Whether an unknown key was taken for `key`.
    pub(crate) fn misspelt(&self, key: &str) -> bool {
        self.suggested.contains(&key)
    }

    /// The value of a key that may be absent.
    pub(crate) fn optional<T: FromYaml>(&mut self, key: &str) -> Option<T> {
        self.note_shape(key, T::shape);
        let node = self.node(key)?;
        Some(T::read(node, self.problems))
    }

    /// Notes what the value of `key` looks like, for the schema.
    pub(crate) fn note_shape(&mut self, key: &str, shape: fn() -> Shape) {
        let event = || Event::Key(self.block, key.to_owned(), shape);
        self.problems.record(event);
    }

    /// The value of a key that may be absent, if nothing is wrong with it.
    pub(crate) fn valid<T: FromYaml>(&mut self, key: &str) -> Option<Spanned<T>> {
        let before = self.problems.total();
        let value = self.optional(key);
        value.filter(|_| self.problems.total() == before)
    }

    /// A time limit: `default` if absent, none if it is 0.
    pub(crate) fn limit(&mut self, key: &str, default: Option<Duration>) -> Option<Duration> {
        match self.optional::<Duration>(key) {
            Some(limit) => (!limit.is_zero()).then_some(limit),
            None => default,
        }
    }

    /// A number of bytes; `default` if absent.
    pub(crate) fn bytes(&mut self, key: &str, default: usize) -> usize {
        let size = self.optional::<ByteSize>(key);
        size.map_or(default, |size| {
            usize::try_from(size.0).unwrap_or(usize::MAX)
        })
    }

    /// Which of `keys` are there; notes a problem if more than one is.
    pub(crate) fn one_of(&mut self, keys: &[&'static str]) -> Option<&'static str> {
        self.problems
            .record(|| Event::OneOf(self.block, keys.to_vec()));
        let mut given = keys.iter().filter(|key| self.node(key).is_some());
        let first = given.next()?;
        if let Some(second) = given.next() {
            let message = format!("`{first}` and `{second}` cannot both be set");
            let problem = Problem::new(self.key_span(second), message)
                .related(self.key_span(first), "the other one stands here");
            self.problems.push(problem);
        }
        Some(first)
    }

    /// The value of a key that has to be there. The span of a placeholder is
    /// that of the block.
    pub(crate) fn required<T: FromYaml>(&mut self, key: &str) -> Spanned<T> {
        self.require(key);
        let value = self.optional(key);
        value.unwrap_or_else(|| Spanned::new(T::placeholder(), self.at))
    }

    /// [`Fields::required`], for a string that must not be empty.
    pub(crate) fn required_text(&mut self, key: &str) -> Spanned<String> {
        let text: Spanned<String> = self.required(key);
        let found_empty =
            |node: &Node| matches!(&node.value, Value::Scalar(s) if s.text.is_empty());
        if self.node(key).is_some_and(found_empty) {
            let message = format!("`{key}` of {} must not be empty", self.block.name);
            self.problems.push(Problem::new(text.span, message));
        }
        text
    }

    /// Notes that `key` is missing or has no value, if that is so.
    pub(crate) fn require(&mut self, key: &str) {
        let block = self.block;
        self.problems
            .record(|| Event::Require(block, key.to_owned()));
        let name = self.block.name;
        let problem = match self.entry(key) {
            Some(entry) if entry.value.is_null() => {
                Problem::new(entry.key.span, format!("`{key}` of {name} has no value"))
            }
            None if self.is_mapping && !self.misspelt(key) => {
                Problem::new(self.at, format!("{name} needs the key `{key}`"))
            }
            _ => return,
        };
        let example = self.block.keys.iter().find(|(known, _)| *known == key);
        let example = example.map_or("...", |(_, example)| example);
        let help = format!("for example `{key}: {example}`");
        self.problems.push(problem.help(help));
    }

    fn entry(&self, key: &str) -> Option<&'n Entry> {
        debug_assert!(self.block.key_names().any(|known| known == key), "{key}");
        self.entries.iter().find(|entry| entry.key.text == key)
    }
}
