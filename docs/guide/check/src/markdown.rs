//! Links, headings and fences of a Markdown text.

use std::collections::BTreeSet;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A link or an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, as it stands there.
    pub target: String,
    /// Where that stands, in bytes.
    pub range: Range<usize>,
    /// The line, from 1.
    pub line: usize,
}

/// A block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// What stands behind the three backticks; `None` for a block that is merely indented.
    pub info: Option<String>,
    /// The code.
    pub body: String,
    /// The line it begins in, from 1.
    pub line: usize,
}

fn events(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter()
}

fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The links of a text, in their order. One whose target does not stand beside it, as
/// `[text](target)`, has an empty range at its end.
#[must_use]
pub fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (event, range) in events(text) {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
            continue;
        };
        let target = dest_url.to_string();
        let beside = text[range.clone()].rfind(&format!("]({target}"));
        let place = match beside {
            Some(at) => {
                let start = range.start + at + 2;
                start..start + target.len()
            }
            None => range.end..range.end,
        };
        links.push(Link {
            line: line(text, range.start),
            range: place,
            target,
        });
    }
    links
}

/// The names by which links find the headings of a text.
#[must_use]
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut heading: Option<String> = None;
    for (event, _) in events(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(part) | Event::Code(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let name = slug(&heading.take().unwrap_or_default());
                let again = (1..).map(|number| format!("{name}-{number}"));
                let mut names = std::iter::once(name.clone()).chain(again);
                let free = names.find(|name| !anchors.contains(name));
                anchors.extend(free);
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        c if c.is_whitespace() => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The blocks of code of a text, in their order.
#[must_use]
pub fn fences(text: &str) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut open: Option<Fence> = None;
    for (event, range) in events(text) {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                open = Some(Fence {
                    info: match kind {
                        CodeBlockKind::Fenced(info) => Some(info.to_string()),
                        CodeBlockKind::Indented => None,
                    },
                    body: String::new(),
                    line: line(text, range.start),
                });
            }
            Event::Text(part) => {
                if let Some(fence) = &mut open {
                    fence.body.push_str(&part);
                }
            }
            Event::End(TagEnd::CodeBlock) => fences.extend(open.take()),
            _ => {}
        }
    }
    fences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_where_they_stand_and_not_in_code() {
        let text = "A [b](c.md#d), `[e](f)`.\n\n| [g](h) |\n|---|\n| ![i](j.png) |\n";
        let found: Vec<_> = links(text)
            .into_iter()
            .map(|link| (text[link.range].to_owned(), link.line))
            .collect();
        let expected = [("c.md#d", 1), ("h", 3), ("j.png", 5)];
        assert_eq!(
            found,
            expected.map(|(target, line)| (target.to_owned(), line))
        );
    }

    #[test]
    fn headings_have_the_names_that_links_use() {
        let text = "# `weir run`, and more\n## A-b_c\n## A-b_c\n";
        let expected = ["weir-run-and-more", "a-b_c", "a-b_c-1"];
        assert_eq!(anchors(text), expected.map(str::to_owned).into());
    }

    #[test]
    fn a_block_without_a_fence_is_a_block_too() {
        let text = "```yaml suite\na: 1\n```\n\n    indented\n";
        let infos: Vec<_> = fences(text).into_iter().map(|f| (f.info, f.line)).collect();
        assert_eq!(infos, [(Some("yaml suite".to_owned()), 1), (None, 5)]);
    }
}
