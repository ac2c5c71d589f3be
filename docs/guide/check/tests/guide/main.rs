//! What the guide says is so: every snippet is compiled, checked or run, every link leads
//! somewhere, every table has all that there is.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod callbacks;
mod console;
mod examples;
mod hostcalls;
mod links;
mod snippets;

use std::fs;
use std::path::{Path, PathBuf};

use weir_guide::{Book, root};

fn book() -> Book {
    Book::load(&root().join("docs/guide/src")).unwrap()
}

/// Chapters whose commands need more than a folder, such as a registry, and the test that
/// follows them.
const FOLLOWED_ELSEWHERE: [(&str, &str); 2] = [
    ("dev.md", "proxy/tests/dev.rs"),
    ("publishing.md", "proxy/tests/publishing.rs"),
];

/// The test that follows a chapter, if it is none of those here.
fn followed_by(chapter: &Path) -> Option<&'static str> {
    let name = chapter.file_name().unwrap();
    let mut tests = FOLLOWED_ELSEWHERE.iter();
    tests.find_map(|(chapter, test)| (name == *chapter).then_some(*test))
}

/// The chapters with what they say.
fn chapters() -> Vec<(PathBuf, String)> {
    let book = book();
    let text = |path: &Path| (path.to_owned(), book.text(path).unwrap());
    book.chapters().map(text).collect()
}

/// A document of the repository.
fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The module of a filter, or of an example of the guide.
fn module(name: &str) -> PathBuf {
    let example = format!("guide/{name}");
    let is_example = root().join(format!("docs/guide/examples/{name}.tests.yaml"));
    weir_conformance::filter(if is_example.exists() { &example } else { name })
}

/// The cells of the rows of a table whose first cell is code.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    // A bar in code is no end of a cell.
    let cells = |row: &str| -> Vec<String> {
        let row = row.replace("\\|", "\u{1}");
        let cells = row.trim().trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().replace('\u{1}', "|"))
            .collect()
    };
    rows.map(cells).collect()
}

/// The code in a cell.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}
