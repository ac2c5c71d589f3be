//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, SourceCode};
use thiserror::Error;

use crate::report;
use crate::source::{Position, Source, Span};

/// One thing that is wrong, with the place in the file and, where there is
/// one, the next thing to try.
///
/// `Display` is the message alone, as `miette` wants it; [`ConfigError::plain`]
/// and [`ConfigError::fancy`] add the place, the source line and the help.
#[derive(Debug, Clone, Error)]
#[error("{}", self.problem.message)]
pub struct ConfigError {
    file: Arc<Source>,
    problem: Problem,
}

/// A [`ConfigError`] that has not yet been tied to its file.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// A second place that explains the first, such as an earlier definition.
    pub(crate) related: Option<(Span, &'static str)>,
}

impl Problem {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            help: None,
            related: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, span: Span, note: &'static str) -> Self {
        self.related = Some((span, note));
        self
    }
}

impl ConfigError {
    pub(crate) fn new(file: Arc<Source>, problem: Problem) -> Self {
        Self { file, problem }
    }

    /// An error in a file that is read in a way of its own.
    pub fn at(file: &Arc<Source>, span: Span, message: impl Into<String>) -> Self {
        Self::new(Arc::clone(file), Problem::new(span, message))
    }

    /// Adds a hint at what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    /// Says what it is about, if no place in a file does.
    #[must_use]
    pub fn about(mut self, what: impl FnOnce() -> String) -> Self {
        if self.problem.span == Span::NOWHERE {
            self.problem.message = format!("{}: {}", what(), self.problem.message);
        }
        self
    }

    /// The message, without place or hint.
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// The hint, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.problem.help.as_deref()
    }

    /// The bytes that the message is about.
    pub fn span(&self) -> Span {
        self.problem.span
    }

    /// Line and column of the first of these bytes.
    pub fn position(&self) -> Position {
        self.file.position(self.problem.span.start)
    }

    /// The file.
    pub fn file(&self) -> &Source {
        &self.file
    }

    /// A second place that explains the first, and what it is.
    pub fn related_place(&self) -> Option<(Span, &str)> {
        self.problem.related
    }

    /// Without colour or drawing, for logs: `error: FILE:LINE:COLUMN: message`,
    /// the source line with a caret under the text, and `help: …`.
    pub fn plain(&self) -> String {
        report::plain(self)
    }

    /// With drawing and, on request, colour, for a terminal.
    pub fn fancy(&self, colour: bool) -> String {
        report::fancy(self, colour)
    }
}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let help = self.problem.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.file.as_source_code())
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let shown = self.file.first_line(self.problem.span);
        let primary = LabeledSpan::new_primary_with_span(None, shown);
        let related = self.problem.related.map(|(span, note)| {
            let shown = self.file.first_line(span);
            LabeledSpan::new_with_span(Some(note.to_owned()), shown)
        });
        Some(Box::new([Some(primary), related].into_iter().flatten()))
    }
}

/// Everything that is wrong with a configuration, in source order; never empty.
///
/// `Display` is [`ConfigErrors::plain`].
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    omitted: usize,
}

impl ConfigErrors {
    /// `omitted` more were found than are listed.
    pub(crate) fn new(errors: Vec<ConfigError>, omitted: usize) -> Self {
        debug_assert!(!errors.is_empty());
        Self { errors, omitted }
    }

    /// These errors and one more, in source order.
    #[must_use]
    pub fn with(mut self, error: ConfigError) -> Self {
        self.errors.push(error);
        self.errors.sort_by_key(ConfigError::span);
        self
    }

    /// The errors in source order.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }

    /// How many more were found than [`ConfigErrors::iter`] gives.
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// [`ConfigError::plain`] of all, with an empty line between two.
    pub fn plain(&self) -> String {
        report::join(self, ConfigError::plain)
    }

    /// [`ConfigError::fancy`] of all.
    pub fn fancy(&self, colour: bool) -> String {
        report::join(self, |error| error.fancy(colour))
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self::new(vec![error], 0)
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plain().trim_end())
    }
}

impl std::error::Error for ConfigErrors {}
