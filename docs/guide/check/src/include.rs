//! Parts of other files in a chapter: `{{#include FILE}}` and `{{#include FILE:ANCHOR}}`,
//! alone in a line.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What a line includes, as it names it.
fn included(line: &str) -> Option<&str> {
    let line = line.trim().strip_prefix("{{#include ")?;
    line.strip_suffix("}}").map(str::trim)
}

/// The document that a line shows as a whole.
pub(crate) fn document(line: &str) -> Option<&str> {
    included(line).filter(|file| file.ends_with(".md"))
}

/// `text` of the file `chapter` with all that it includes, but for documents. A part
/// stands as far to the left as it can.
pub(crate) fn expanded(text: &str, chapter: &Path) -> Result<String> {
    let mut out = String::new();
    for line in text.lines() {
        match included(line) {
            Some(name) => {
                let shown = part(name, chapter)
                    .with_context(|| format!("{} includes {name}", chapter.display()))?;
                out.push_str(shown.trim_end_matches('\n'));
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    Ok(out)
}

fn part(name: &str, chapter: &Path) -> Result<String> {
    let (file, anchor) = match name.split_once(':') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (name, None),
    };
    let path = chapter.parent().unwrap_or(chapter).join(file);
    let text = fs::read_to_string(&path).context("it cannot be read")?;
    let marks = |line: &&str| !line.contains("ANCHOR: ") && !line.contains("ANCHOR_END: ");
    let Some(anchor) = anchor else {
        return Ok(text
            .lines()
            .filter(marks)
            .map(|line| format!("{line}\n"))
            .collect());
    };
    let is = |kind: &str| {
        let mark = format!("{kind}: {anchor}");
        text.lines()
            .position(|line| line.trim_end().ends_with(&mark))
    };
    let start = is("ANCHOR").context("the anchor is not there")?;
    let end = is("ANCHOR_END").context("the anchor has no end")?;
    ensure!(start < end, "the anchor ends before it begins");
    let lines = || text.lines().take(end).skip(start + 1).filter(marks);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let filled = lines().filter(|line| !line.trim().is_empty());
    let least = filled.map(indent).min().unwrap_or(0);
    Ok(lines()
        .map(|line| format!("{}\n", line.get(least..).unwrap_or_default()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_stands_between_its_anchors_moved_to_the_left() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let code = "fn a() {\n    // ANCHOR: x\n    b();\n    // ANCHOR: y\n\n        c();\n    \
                    // ANCHOR_END: y\n    // ANCHOR_END: x\n}\n";
        fs::write(folder.path().join("code.rs"), code)?;
        let chapter = folder.path().join("chapter.md");
        let text = "Look:\n\n{{#include code.rs:x}}\n\nand\n{{#include code.rs:y}}\n";
        let shown = expanded(text, &chapter)?;
        let missing = expanded("{{#include code.rs:z}}", &chapter);
        assert_eq!(shown, "Look:\n\nb();\n\n    c();\n\nand\n\nc();\n");
        assert!(missing.is_err());
        Ok(())
    }
}
