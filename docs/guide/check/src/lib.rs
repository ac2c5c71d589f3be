//! The authors' guide as the tests and the book see it.
//!
//! A chapter is a Markdown file that the summary names. It may show parts of other files:
//! a snippet of a program between two anchors, or a whole document that has its place
//! elsewhere in the repository. [`Book::text`] is the chapter with all of that in it, and
//! with links that hold in the book: the tests look at the same text that is rendered.

#![forbid(unsafe_code)]

mod book;
mod html;
mod include;
mod markdown;

pub use self::book::Book;
pub use self::html::broken_links;
pub use self::markdown::{Fence, Link, anchors, fences, links};

use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    tidy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."))
}

/// The path without `.` and `..`, as text.
#[must_use]
pub fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if tidy.pop() => {}
            part => tidy.push(part),
        }
    }
    tidy
}
