//! The parser's complaints in words that help.

use granit_parser::{ErrorKind, ScanError};

use crate::error::Problem;
use crate::limits::MAX_NESTING;
use crate::source::Span;

/// The error as a problem; `bracket` is the innermost one that is open there.
pub(crate) fn problem(text: &str, error: &ScanError, bracket: Option<Span>) -> Problem {
    let span = place(text, error);
    let (message, help) = if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return Problem::new(span, too_deep());
    } else if follows_bracket(text, span) {
        (
            "text behind a closing bracket".to_owned(),
            Some("quote a value that only starts with a bracket, such as `\"[::1]:8080\"`"),
        )
    } else {
        words(error)
    };
    let mut problem = Problem::new(span, format!("YAML syntax: {message}"));
    problem.help = help.map(str::to_owned);
    match bracket.filter(|open| text[open.start..span.start.max(open.start)].contains('\n')) {
        Some(open) => problem
            .related(open, "this bracket is still open")
            .help("close the bracket, or add the comma that is missing in it"),
        None => problem,
    }
}

fn follows_bracket(text: &str, span: Span) -> bool {
    let is_text = |c: char| !c.is_whitespace() && !matches!(c, ']' | '}' | ',' | '#');
    text[span.start..].starts_with(is_text) && text[..span.start].ends_with([']', '}'])
}

pub(super) fn too_deep() -> String {
    format!("more than {MAX_NESTING} lists and mappings inside one another")
}

/// The character at which the parser gave up.
fn place(text: &str, error: &ScanError) -> Span {
    let mark = error.marker();
    let by_count = || text.char_indices().nth(mark.index()).map(|(at, _)| at);
    let at = mark.byte_offset().or_else(by_count).unwrap_or(text.len());
    let at = text.floor_char_boundary(at);
    if is_tab(error.kind()) && text[..at].ends_with('\t') {
        // It is the tab that is wrong, not what stands behind it.
        return Span::new(at - 1, at);
    }
    let here = text[at..].chars().next();
    if here.is_none_or(|c| c.is_whitespace() && c != '\t') {
        // Point at the end of the text before, rather than at nothing.
        let end = text[..at].trim_end().len();
        if !text[end..at].contains('\n') || here.is_none() {
            let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
            return Span::new(end - last, end);
        }
    }
    Span::new(at, at + here.map_or(0, char::len_utf8))
}

fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
    )
}

/// A message, and help if there is any.
fn words(error: &ScanError) -> (String, Option<&'static str>) {
    let (message, help) = match error.kind() {
        kind if is_tab(kind) => ("a tab cannot indent", "indent with spaces"),
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::InvalidFlowScalarIndent => (
            "the indentation does not fit the lines above",
            "the keys of one mapping start in one column, and so do the dashes of one list",
        ),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a `:` cannot stand here",
            "quote a value that contains `: `, and check the indentation",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "a key without `:`",
            "write `key: value`, with a space behind the colon",
        ),
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::UnexpectedEofFlowSequence => {
            ("this `[` is never closed", "add the `]`")
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            ("this `{` is never closed", "add the `}`")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => (
            "expected `,` or `]`",
            "items of a list in brackets are separated by commas",
        ),
        ErrorKind::ExpectedFlowMappingSeparator => (
            "expected `,` or `}`",
            "entries of a mapping in braces are separated by commas",
        ),
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            ("a quote is never closed", "add the closing quote")
        }
        ErrorKind::InvalidQuotedScalarIndent => (
            "the quoted string above goes on here, with too little indentation",
            "add the closing quote",
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "unknown escape in a string",
            "write `\\\\` for a backslash, or use single quotes, in which it is an ordinary character",
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            let message = format!("a value cannot start with `{}`", character.escape_debug());
            return (message, Some("put the value in quotes"));
        }
        ErrorKind::ExpectedDocumentStart => (
            "the document has ended, but text follows",
            "start every key of the file in the first column",
        ),
        _ => return (error.info(), None),
    };
    (message.to_owned(), Some(help))
}
