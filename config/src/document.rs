//! [`Document`]: any YAML file, read as the configuration is, with the same errors.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use crate::any;
use crate::config;
use crate::error::{ConfigError, ConfigErrors, Problem};
use crate::problems::Problems;
use crate::read::{self, FromYaml};
use crate::source::{Source, Span, Spanned};
use crate::yaml::{self, Meaning, Node, Value};

/// A YAML file whose values know where they stand.
#[derive(Debug, Clone)]
pub struct Document {
    source: Arc<Source>,
    root: Node,
}

impl Document {
    /// Reads `text`; `name` is what messages call the file, usually its path.
    ///
    /// # Errors
    /// What is wrong with the YAML itself, a file without a value included.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let source = config::source(name, text)?;
        let mut problems = Problems::default();
        let root = yaml::compose(source.text(), &mut problems);
        problems.into_result(&source)?;
        match root {
            Some(root) => Ok(Self { source, root }),
            None => {
                let problem = Problem::new(Span::default(), "the file is empty");
                Err(ConfigError::new(source, problem).into())
            }
        }
    }

    /// The text that it was read from.
    #[must_use]
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The value of the file as a whole.
    #[must_use]
    pub fn root(&self) -> Element<'_> {
        Element {
            source: &self.source,
            node: &self.root,
        }
    }
}

/// A value of a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Element<'d> {
    source: &'d Arc<Source>,
    node: &'d Node,
}

impl<'d> Element<'d> {
    /// Where to point when the value as a whole is meant: its key if it is a mapping
    /// or list, or else the value.
    #[must_use]
    pub fn at(self) -> Span {
        self.node.at
    }

    /// What it is, to complete "expected …, found …".
    #[must_use]
    pub fn describe(self) -> String {
        self.node.describe()
    }

    /// Whether it is null, be it for a key without a value.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.node.is_null()
    }

    /// The text of a scalar that is not null, as it is written.
    #[must_use]
    pub fn text(self) -> Option<&'d str> {
        self.node.text()
    }

    /// The truth value that it is.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.node.scalar()? {
            (_, Meaning::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// The whole number that it is.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        match self.node.scalar()? {
            (scalar, Meaning::Integer) => scalar.text.parse().ok(),
            _ => None,
        }
    }

    /// The number that it is, whole or not.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self.node.scalar()? {
            (scalar, Meaning::Integer | Meaning::Float) => scalar.text.parse().ok(),
            _ => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn items(self) -> Option<Vec<Self>> {
        let Value::Sequence(items) = &self.node.value else {
            return None;
        };
        let source = self.source;
        Some(items.iter().map(|node| Self { source, node }).collect())
    }

    /// The keys of a mapping and their values, in the order of the file.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(Spanned<&'d str>, Self)>> {
        let Value::Mapping(entries) = &self.node.value else {
            return None;
        };
        let source = self.source;
        let entry = |entry: &'d yaml::Entry| {
            let key = Spanned::new(entry.key.text.as_str(), entry.key.span);
            let node = &entry.value;
            (key, Self { source, node })
        };
        Some(entries.iter().map(entry).collect())
    }

    /// The duration that it is, such as `10ms`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn duration(self) -> Result<Duration, ConfigErrors> {
        self.read(Duration::read)
    }

    /// The same value as JSON, keys in order.
    ///
    /// # Errors
    /// A number that JSON cannot hold.
    pub fn json(self) -> Result<Json, ConfigErrors> {
        self.read(any::json)
    }

    /// The bytes that a filter gets of it as its configuration: of a string the string,
    /// else compact JSON, unless it has an `@type`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn configuration(self) -> Result<Vec<u8>, ConfigErrors> {
        self.read(any::read)
    }

    /// The bytes that it is in base64.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn base64(self) -> Result<Vec<u8>, ConfigErrors> {
        self.read(|node, problems| any::Base64::read(node, problems).0)
    }

    fn read<T>(self, read: impl FnOnce(&Node, &mut Problems) -> T) -> Result<T, ConfigErrors> {
        let mut problems = Problems::default();
        let value = read(self.node, &mut problems);
        problems.into_result(self.source)?;
        Ok(value)
    }

    /// An error at this place.
    pub fn error(self, message: impl Into<String>) -> ConfigError {
        self.error_at(self.node.span, message)
    }

    /// An error at another place of the file.
    pub fn error_at(self, span: Span, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.source, span, message)
    }
}

/// An error about `key`, which is none of `known`, with what may have been meant.
#[must_use]
pub fn unknown_key(error: ConfigError, key: &str, known: &[&str]) -> ConfigError {
    let help = match read::nearest(key, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known keys are {}", read::list(known.iter().copied())),
    };
    error.with_help(help)
}
