//! Where a value stands in the configuration file.

use std::fmt;
use std::ops::Deref;

use miette::{NamedSource, SourceCode, SourceSpan};

/// A range of bytes in the source text, end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl Span {
    /// Of what stands in no file.
    pub const NOWHERE: Self = Self::new(usize::MAX, usize::MAX);

    /// The range `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

impl From<Span> for SourceSpan {
    fn from(span: Span) -> Self {
        (span.start, span.end.saturating_sub(span.start)).into()
    }
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// The text of a configuration and the name under which messages speak of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(NamedSource<String>);

impl Source {
    /// A source called `name`, usually the path of the file.
    pub fn new(name: &str, text: &str) -> Self {
        Self(NamedSource::new(name, text.to_owned()))
    }

    /// The name that messages show.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        self.0.inner()
    }

    /// The position of a byte; offsets past the end count as the end.
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text()[..self.boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The line around a byte, without its line break.
    pub(crate) fn line(&self, offset: usize) -> Span {
        let at = self.boundary(offset);
        let text = self.text();
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |len| at + len);
        let line = text[start..end].trim_end_matches('\r');
        Span::new(start, start + line.len())
    }

    /// The part of `span` that lies on its first line, so that no label covers
    /// half of the file. Always on character boundaries.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let line = self.line(span.start);
        let start = self.boundary(span.start).min(line.end);
        let end = self.boundary(span.end).clamp(start, line.end);
        let shown = self.text()[start..end].trim_end();
        Span::new(start, start + shown.len())
    }

    fn boundary(&self, offset: usize) -> usize {
        self.text().floor_char_boundary(offset)
    }

    pub(crate) fn as_source_code(&self) -> &dyn SourceCode {
        &self.0
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name()).finish()
    }
}

/// A value together with the place it was read from.
///
/// Dereferences to the value. Two are equal when their values are: moving a
/// block within the file does not change the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands. Of a mapping or list that belongs to a key this is the
    /// key; of a value that is absent it is the block that lacks it.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// `value`, read from `span`.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<T: fmt::Display> fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let source = Source::new("weir.yaml", "a: 1\r\nß: 22\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(10), Position { line: 2, column: 4 });
        assert_eq!(source.position(99), Position { line: 3, column: 1 });
    }

    #[test]
    fn a_long_span_is_cut_at_the_end_of_its_first_line() {
        let source = Source::new("weir.yaml", "a:  \r\n  b: 1\n");
        assert_eq!(source.first_line(Span::new(0, 12)), Span::new(0, 2));
    }

    #[test]
    fn equality_ignores_the_place() {
        let here = Spanned::new("edge", Span::new(0, 4));
        let there = Spanned::new("edge", Span::new(9, 13));
        assert_eq!(here, there);
    }
}
