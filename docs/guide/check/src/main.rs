//! What `mdbook` calls for the guide, and what is called after it.
//!
//! `weir-guide preprocess` is a preprocessor: it reads context and book, as JSON, and
//! writes the book with each chapter's text as [`Book::text`] has it. `weir-guide check
//! FOLDER` looks for links in the pages there that lead nowhere.

#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_guide::{Book, broken_links, root};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["preprocess"] => preprocess(),
        ["preprocess", "supports", _] => Ok(()),
        ["check", folder] => check(Path::new(folder)),
        _ => {
            eprintln!("usage: weir-guide preprocess | weir-guide check FOLDER");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn preprocess() -> Result<()> {
    let input: Value = serde_json::from_reader(io::stdin().lock())?;
    let Value::Array(mut parts) = input else {
        bail!("expected context and book");
    };
    let mut pages = parts.pop().context("expected context and book")?;
    let book = Book::load(&root().join("docs/guide/src"))?;
    fill(&mut pages, &book)?;
    serde_json::to_writer(io::stdout().lock(), &pages)?;
    Ok(())
}

/// Puts the texts into all chapters below `value`.
fn fill(value: &mut Value, book: &Book) -> Result<()> {
    match value {
        Value::Array(values) => values.iter_mut().try_for_each(|value| fill(value, book)),
        Value::Object(fields) => {
            if let Some(Value::Object(chapter)) = fields.get_mut("Chapter")
                && let Some(path) = chapter.get("path").and_then(Value::as_str)
            {
                let text = book.text(&book.source().join(path))?;
                chapter.insert("content".to_owned(), text.into());
            }
            fields.values_mut().try_for_each(|value| fill(value, book))
        }
        _ => Ok(()),
    }
}

fn check(folder: &Path) -> Result<()> {
    let broken = broken_links(folder)?;
    if broken.is_empty() {
        return Ok(());
    }
    bail!("links that lead nowhere:\n  {}", broken.join("\n  "))
}
