//! How a body has changed, as far as a person wants to see it.

use similar::{ChangeTag, TextDiff};

use crate::limits::{TAP_DIFF_LINES, TAP_LINE_CHARS};
use crate::tap::{BodyChange, Excerpt};

/// Lines around a change that are shown.
const CONTEXT: usize = 1;

/// A line of a difference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Same(String),
    Removed(String),
    Added(String),
    /// So many lines of the difference are not shown.
    More(usize),
    /// Nothing is known of what comes behind what was kept.
    Cut,
}

/// The lines that differ, and some around them; none where a body is not text.
pub(super) fn lines(change: &BodyChange) -> Vec<Line> {
    let (Some(before), Some(after)) = (text(&change.before), text(&change.after)) else {
        return Vec::new();
    };
    let diff = TextDiff::from_lines(before, after);
    let groups = diff.grouped_ops(CONTEXT);
    let changes = groups.iter().flatten().flat_map(|op| diff.iter_changes(op));
    let mut lines: Vec<_> = changes
        .map(|change| {
            let line = shown(change.value().trim_end_matches(['\n', '\r']));
            match change.tag() {
                ChangeTag::Equal => Line::Same(line),
                ChangeTag::Delete => Line::Removed(line),
                ChangeTag::Insert => Line::Added(line),
            }
        })
        .collect();
    if lines.len() > TAP_DIFF_LINES {
        let more = lines.len() - TAP_DIFF_LINES;
        lines.truncate(TAP_DIFF_LINES);
        lines.push(Line::More(more));
    }
    let is_cut = |excerpt: &Excerpt| excerpt.beginning.len() < excerpt.length;
    if is_cut(&change.before) || is_cut(&change.after) {
        lines.push(Line::Cut);
    }
    lines
}

/// The beginning of a body, if it is text.
pub(super) fn text(excerpt: &Excerpt) -> Option<&str> {
    let text = match std::str::from_utf8(&excerpt.beginning) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            let whole = &excerpt.beginning[..error.valid_up_to()];
            std::str::from_utf8(whole).ok()?
        }
        Err(_) => return None,
    };
    let is_text = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(is_text).then_some(text)
}

/// A text as it may stand in a line: nothing in it moves a cursor, and it has an end.
pub(super) fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(TAP_LINE_CHARS).map(clean).collect();
    if text.chars().nth(TAP_LINE_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(beginning: &[u8], length: usize) -> Excerpt {
        Excerpt {
            beginning: beginning.to_vec(),
            length,
        }
    }

    fn change(before: &str, after: &str) -> BodyChange {
        let whole = |text: &str| excerpt(text.as_bytes(), text.len());
        BodyChange {
            before: whole(before),
            after: whole(after),
        }
    }

    fn text_of(lines: &[Line]) -> String {
        let lines = lines.iter().map(|line| match line {
            Line::Same(line) => format!(" {line}"),
            Line::Removed(line) => format!("-{line}"),
            Line::Added(line) => format!("+{line}"),
            Line::More(count) => format!("more {count}"),
            Line::Cut => "cut".to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_that_differ_stand_with_those_around_them() {
        let found = lines(&change("a\nb\nc\nd\ne\n", "a\nb\nC\nd\ne\n"));
        assert_eq!(text_of(&found), " b\n-c\n+C\n d");
        assert_eq!(text_of(&lines(&change("", "new"))), "+new");
    }

    #[test]
    fn a_difference_has_an_end() {
        let many: String = (0..100).map(|n| format!("{n}\n")).collect();
        let found = lines(&change("", &many));
        assert_eq!(found.len(), TAP_DIFF_LINES + 1);
        assert_eq!(found.last(), Some(&Line::More(100 - TAP_DIFF_LINES)));
        let long = "x".repeat(10 * TAP_LINE_CHARS);
        let found = lines(&change("", &long));
        assert_eq!(found, [Line::Added("x".repeat(TAP_LINE_CHARS) + "…")]);
        let cut = BodyChange {
            before: excerpt(b"a", 1),
            after: excerpt(b"b", 5000),
        };
        assert_eq!(lines(&cut).last(), Some(&Line::Cut));
    }

    #[test]
    fn what_is_not_text_is_not_shown() {
        assert_eq!(lines(&change("a", "\u{1b}[2J")), []);
        assert_eq!(text(&excerpt(&[0xff, 0xfe], 2)), None);
        assert_eq!(text(&excerpt(&"aé".as_bytes()[..2], 3)), Some("a"));
        assert_eq!(shown("a\x1b[2J"), "a\u{fffd}[2J");
    }
}
