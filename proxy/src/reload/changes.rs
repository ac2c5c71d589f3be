//! [`Changes`]: what serving one generation after another changes.
//!
//! It is told from the generations themselves: what a reload keeps is one and the same
//! in both.

mod compare;

use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::generation::Generation;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vm,
    Listener,
    FilterChain,
    Route,
    Cluster,
    Setting,
}

/// Every kind, with its word, and that for several.
const KINDS: [(Kind, &str, &str); 6] = [
    (Kind::Vm, "VM", "vms"),
    (Kind::Listener, "listener", "listeners"),
    (Kind::FilterChain, "filter chain", "filter_chains"),
    (Kind::Route, "route", "routes"),
    (Kind::Cluster, "cluster", "clusters"),
    (Kind::Setting, "setting", "settings"),
];

/// What becomes of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Added,
    Changed,
    /// A listener that goes to another address.
    Moved,
    Removed,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Moved => "moved",
            Self::Removed => "removed",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Kept => ' ',
            Self::Added => '+',
            Self::Changed | Self::Moved => '~',
            Self::Removed => '-',
        }
    }
}

/// One thing, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    kind: Kind,
    name: String,
    fate: Fate,
    details: Vec<String>,
    /// Whether connections that are open stay; of listeners and filter chains that there
    /// were.
    keeps_connections: Option<bool>,
}

impl Change {
    fn new(kind: Kind, name: impl Into<String>, fate: Fate) -> Self {
        Self {
            kind,
            name: name.into(),
            fate,
            details: Vec::new(),
            keeps_connections: None,
        }
    }

    /// Of something that there was, and is: kept, if nothing is different.
    fn of_pair(kind: Kind, name: impl Into<String>, details: Vec<String>) -> Self {
        let fate = if details.is_empty() {
            Fate::Kept
        } else {
            Fate::Changed
        };
        Self {
            details,
            ..Self::new(kind, name, fate)
        }
    }

    fn details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    fn to_json(&self) -> Json {
        let mut json = json!({ "name": self.name, "change": self.fate.word() });
        if let Json::Object(members) = &mut json {
            if !self.details.is_empty() {
                members.insert("details".to_owned(), json!(self.details));
            }
            if let Some(kept) = self.keeps_connections {
                let word = if kept { "kept" } else { "drained" };
                members.insert("connections".to_owned(), word.into());
            }
        }
        json
    }
}

/// As a line: `~ listener edge: connections drained; http`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        let kind = kind.map_or("", |(_, word, _)| word);
        write!(f, "{} {kind} {}", self.fate.sign(), self.name)?;
        let connections = match self.keeps_connections {
            Some(true) => Some("connections kept"),
            Some(false) => Some("connections drained"),
            None => None,
        };
        let details = self.details.iter().map(String::as_str);
        let details: Vec<_> = connections.into_iter().chain(details).collect();
        if !details.is_empty() {
            write!(f, ": {}", details.join("; "))?;
        }
        Ok(())
    }
}

/// What serving one generation after another changes, and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    number: u64,
    listeners: usize,
    all: Vec<Change>,
}

impl Changes {
    /// What serving `now` after `before` changes.
    pub(crate) fn between(before: &Generation, now: &Generation) -> Self {
        Self {
            number: now.number,
            listeners: now.listeners.len(),
            all: compare::generations(before, now),
        }
    }

    /// Whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.iter().all(|change| change.fate == Fate::Kept)
    }

    /// In a line.
    pub(crate) fn summary(&self) -> String {
        let vms = |is_new: bool| {
            let vms = self.all.iter().filter(|change| change.kind == Kind::Vm);
            vms.filter(|change| match change.fate {
                Fate::Kept => !is_new,
                Fate::Added | Fate::Changed | Fate::Moved => is_new,
                Fate::Removed => false,
            })
            .count()
        };
        format!(
            "generation {}, {} listeners, {} VMs kept, {} new",
            self.number,
            self.listeners,
            vms(false),
            vms(true),
        )
    }

    /// By kind, what is kept included.
    pub(crate) fn to_json(&self) -> Json {
        let of_kind = |kind: Kind| self.all.iter().filter(move |change| change.kind == kind);
        let kinds = KINDS.iter().map(|(kind, _, words)| {
            let list = of_kind(*kind).map(Change::to_json).collect();
            ((*words).to_owned(), Json::Array(list))
        });
        let mut json: Map<_, _> = kinds.collect();
        json.insert("changed".to_owned(), (!self.is_empty()).into());
        Json::Object(json)
    }
}

/// A line for each change.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in self.all.iter().filter(|change| change.fate != Fate::Kept) {
            writeln!(f, "{change}")?;
        }
        Ok(())
    }
}
