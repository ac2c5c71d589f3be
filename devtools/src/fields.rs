//! [`Fields`]: a mapping with a fixed set of keys, as it is read.

use std::path::{Path, PathBuf};

use weir_config::{ConfigError, ConfigErrors, Element, Span, unknown_key};

pub(crate) type Read<T> = Result<T, ConfigErrors>;

/// A mapping that is being read.
pub(crate) struct Fields<'d> {
    pub(crate) at: Element<'d>,
    entries: Vec<(&'d str, Span, Element<'d>)>,
}

impl<'d> Fields<'d> {
    /// Starts to read `element`, which is `name` (with its article) and may have these
    /// keys.
    pub(crate) fn open(element: Element<'d>, name: &str, known: &[&str]) -> Read<Self> {
        let Some(entries) = element.entries() else {
            let message = format!("{name} is a mapping, found {}", element.describe());
            return Err(element.error(message).into());
        };
        let mut read = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if !known.contains(&key.value) {
                let message = format!("unknown key `{}` in {name}", key.value);
                let error = element.error_at(key.span, message);
                return Err(unknown_key(error, key.value, known).into());
            }
            read.push((key.value, key.span, value));
        }
        Ok(Self {
            at: element,
            entries: read,
        })
    }

    /// The value of `key`, also if it is null.
    pub(crate) fn any(&self, key: &str) -> Option<Element<'d>> {
        let entry = self.entries.iter().find(|(known, ..)| *known == key);
        entry.map(|(.., value)| *value)
    }

    /// The value of `key`; an explicit null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<Element<'d>> {
        self.any(key).filter(|value| !value.is_null())
    }

    /// Where the key stands, or else the mapping.
    pub(crate) fn span(&self, key: &str) -> Span {
        let entry = self.entries.iter().find(|(known, ..)| *known == key);
        entry.map_or(self.at.at(), |(_, span, _)| *span)
    }

    /// The keys that are there, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'d str> {
        self.entries.iter().map(|(key, ..)| *key)
    }

    pub(crate) fn text(&self, key: &str) -> Read<Option<String>> {
        self.get(key).map(text).transpose()
    }

    pub(crate) fn bool(&self, key: &str) -> Read<Option<bool>> {
        self.get(key).map(bool).transpose()
    }

    /// An error at `key`.
    pub(crate) fn error(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.at.error_at(self.span(key), message)
    }
}

pub(crate) fn text(element: Element<'_>) -> Read<String> {
    let text = element.text().map(str::to_owned);
    text.ok_or_else(|| expected(element, "a string"))
}

pub(crate) fn bool(element: Element<'_>) -> Read<bool> {
    let value = element.bool();
    value.ok_or_else(|| expected(element, "`true` or `false`"))
}

/// A whole number that fits.
pub(crate) fn integer<T: TryFrom<i64>>(element: Element<'_>, what: &str) -> Read<T> {
    let number = element.integer().and_then(|n| T::try_from(n).ok());
    number.ok_or_else(|| expected(element, what))
}

pub(crate) fn list<'d>(element: Element<'d>) -> Read<Vec<Element<'d>>> {
    let items = element.items();
    items.ok_or_else(|| expected(element, "a list"))
}

pub(crate) fn texts(element: Element<'_>) -> Read<Vec<String>> {
    list(element)?.into_iter().map(text).collect()
}

pub(crate) fn expected(element: Element<'_>, what: &str) -> ConfigErrors {
    let message = format!("expected {what}, found {}", element.describe());
    element.error(message).into()
}

/// What a file holds that stands `beside` the one that names it.
pub(crate) fn file(element: Element<'_>, beside: &Path) -> Read<Vec<u8>> {
    let path = beside.join(text(element)?);
    std::fs::read(&path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        element.error(message).into()
    })
}

/// The folder that a file is in.
pub(crate) fn folder(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}
