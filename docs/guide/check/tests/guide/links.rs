//! Links of the guide, and of the documents beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use weir_guide::{anchors, links, root, tidy};

use crate::{book, chapters};

/// Where documents are that people read.
const FOLDERS: [&str; 8] = [
    "",
    "docs",
    "docs/guide/src",
    "abi",
    "conformance",
    "conformance/guests",
    "deploy",
    "filters",
];

fn markdown_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let files = fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
}

fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for folder in FOLDERS {
        documents.extend(markdown_in(&root().join(folder)));
    }
    for filter in fs::read_dir(root().join("filters")).unwrap() {
        let readme = filter.unwrap().path().join("README.md");
        documents.extend(readme.exists().then_some(readme));
    }
    documents
}

#[test]
fn links_of_all_documents_lead_to_files_and_headings_that_there_are() {
    // Of a chapter that shows another document, the headings of both.
    let mut headings: BTreeMap<PathBuf, _> = BTreeMap::new();
    for (path, text) in chapters() {
        headings.insert(path, anchors(&text));
    }
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let own = headings.get(&document).cloned();
        let own = own.unwrap_or_else(|| anchors(&text));
        headings.insert(document.clone(), own);
        for link in links(&text) {
            let place = format!("{}:{}: {}", document.display(), link.line, link.target);
            if link.range.is_empty() {
                broken.push(format!("{place}: the target has to stand beside the text"));
                continue;
            }
            if link.target.contains(':') {
                continue;
            }
            let (file, fragment) = link.target.split_once('#').unwrap_or((&link.target, ""));
            let folder = document.parent().unwrap();
            let target = match file {
                "" => document.clone(),
                file => tidy(&folder.join(file)),
            };
            if !target.exists() {
                broken.push(format!("{place}: there is no such file"));
            } else if !fragment.is_empty() {
                let found = headings
                    .entry(target.clone())
                    .or_insert_with(|| anchors(&fs::read_to_string(&target).unwrap_or_default()));
                if !found.contains(fragment) {
                    broken.push(format!("{place}: there is no such heading"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn links_to_other_servers_are_well_formed() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text).iter().filter(|link| link.target.contains(':')) {
            let place = format!("{}:{}: {}", document.display(), link.line, link.target);
            let rest = link.target.strip_prefix("https://");
            let host = rest.unwrap_or_else(|| panic!("{place}: not https"));
            let host = host.split(['/', '#', '?']).next().unwrap();
            let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
            assert!(host.contains('.') && host.chars().all(fits), "{place}");
            assert!(!link.target.contains(char::is_whitespace), "{place}");
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

#[test]
fn every_file_of_the_guide_is_a_chapter() {
    let book = book();
    let known: Vec<&Path> = book.chapters().collect();
    for path in markdown_in(book.source()) {
        let is_summary = path.ends_with("SUMMARY.md");
        assert!(is_summary || known.contains(&&*path), "{}", path.display());
    }
}
