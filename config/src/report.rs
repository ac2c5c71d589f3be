//! Errors as text: plain for logs and golden files, drawn for terminals.

use std::fmt::Write;

use miette::{GraphicalReportHandler, GraphicalTheme};

use crate::error::{ConfigError, ConfigErrors};
use crate::limits::MAX_SHOWN_LINE;
use crate::source::{Source, Span};

pub(crate) fn plain(error: &ConfigError) -> String {
    let source = error.file();
    let is_somewhere = |span| span != Span::NOWHERE;
    let mut out = if is_somewhere(error.span()) {
        let place = place(source, error.span());
        let mut out = format!("error: {place}: {}\n", error.message());
        excerpt(&mut out, source, error.span());
        out
    } else {
        format!("error: {}\n", error.message())
    };
    if let Some((span, note)) = error
        .related_place()
        .filter(|(span, _)| is_somewhere(*span))
    {
        out.push_str(&format!("note: {}: {note}\n", self::place(source, span)));
    }
    if let Some(help) = error.hint() {
        out.push_str(&format!("help: {help}\n"));
    }
    out
}

fn place(source: &Source, span: Span) -> String {
    let at = source.position(span.start);
    format!("{}:{}:{}", source.name(), at.line, at.column)
}

/// The source line, and carets under the part of it that `span` covers.
fn excerpt(out: &mut String, source: &Source, span: Span) {
    let line = source.line(span.start);
    let shown = source.first_line(span);
    if line.start == line.end {
        return;
    }
    let text = source.text();
    let number = source.position(span.start).line.to_string();
    let indent = " ".repeat(number.len());

    let (before, cut_before) = keep_end(&text[line.start..shown.start], MAX_SHOWN_LINE / 2);
    let room = MAX_SHOWN_LINE - before.chars().count();
    let (rest, cut_after) = keep_start(&text[shown.start..line.end], room);
    let (lead, trail) = (dots(cut_before), dots(cut_after));

    // A tab stays a tab, so that the carets stand right whatever its width.
    let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
    let padding: String = lead.chars().chain(before.chars()).map(blank).collect();
    let covered = text[shown.start..shown.end].chars().count();
    let carets = "^".repeat(covered.clamp(1, rest.chars().count().max(1)));

    out.push_str(&format!("  {number} | {lead}{before}{rest}{trail}\n"));
    out.push_str(&format!("  {indent} | {padding}{carets}\n"));
}

fn dots(cut: bool) -> &'static str {
    if cut { "..." } else { "" }
}

fn keep_start(text: &str, chars: usize) -> (&str, bool) {
    match text.char_indices().nth(chars) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}

fn keep_end(text: &str, chars: usize) -> (&str, bool) {
    match text.char_indices().rev().nth(chars) {
        Some((last_cut, c)) => (&text[last_cut + c.len_utf8()..], true),
        None => (text, false),
    }
}

pub(crate) fn fancy(error: &ConfigError, colour: bool) -> String {
    if error.span() == Span::NOWHERE {
        return plain(error);
    }
    let theme = if colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let mut out = String::new();
    let drawn = GraphicalReportHandler::new_themed(theme)
        .with_links(false)
        .render_report(&mut out, error);
    // Inline code makes lines of megabytes, which the drawing would show whole.
    if drawn.is_err() || out.lines().any(|line| line.len() > 4 * MAX_SHOWN_LINE) {
        return plain(error);
    }
    out
}

pub(crate) fn join(errors: &ConfigErrors, one: impl Fn(&ConfigError) -> String) -> String {
    let mut out = errors.iter().map(one).collect::<Vec<_>>().join("\n");
    if errors.omitted() > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n{} more errors are not shown", errors.omitted());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Problem;

    fn error(text: &str, span: Span) -> ConfigError {
        let problem = Problem::new(span, "no such thing").help("try another");
        ConfigError::new(Arc::new(Source::new("weir.yaml", text)), problem)
    }

    #[test]
    fn carets_stand_under_the_text_behind_tabs() {
        let report = plain(&error("a:\n\tb: cd\n", Span::new(7, 9)));
        assert_eq!(
            report,
            "error: weir.yaml:2:5: no such thing\n  2 | \tb: cd\n    | \t   ^^\nhelp: try another\n"
        );
    }

    #[test]
    fn what_stands_in_no_file_has_no_place() {
        let report = plain(&error("a: b\n", Span::NOWHERE));
        assert_eq!(report, "error: no such thing\nhelp: try another\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_text() {
        let long = "x".repeat(10_000);
        let text = format!("{long}bad{long}");
        let error = error(&text, Span::new(10_000, 10_003));
        let report = plain(&error);
        assert!(report.lines().all(|line| line.len() < 2 * MAX_SHOWN_LINE));
        assert!(report.contains("xbadx"));
        assert_eq!(fancy(&error, false), report);
    }

    #[test]
    fn fancy_names_the_place_and_the_help() {
        let report = fancy(&error("a: b\n", Span::new(3, 4)), false);
        assert!(report.contains("weir.yaml:1:4"), "{report}");
        assert!(report.contains("try another"), "{report}");
        assert!(!report.contains('\u{1b}'), "{report}");
    }

    #[test]
    fn colour_is_used_on_request() {
        let report = fancy(&error("a: b\n", Span::new(3, 4)), true);
        assert!(report.contains('\u{1b}'), "{report}");
    }
}
