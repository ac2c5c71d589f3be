//! Links between built pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::tidy;

/// What a page offers and asks for.
struct Page {
    ids: BTreeSet<String>,
    links: Vec<String>,
}

/// The links of all pages below `folder` that lead to no file or to no place in a page, a
/// line each. Links to other servers are not followed.
///
/// # Errors
/// If there are no pages, or one cannot be read.
pub fn broken_links(folder: &Path) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    collect(&tidy(folder), &mut pages)?;
    ensure!(
        !pages.is_empty(),
        "there are no pages in {}",
        folder.display()
    );
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            if !leads_somewhere(link, path, &pages) {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    Ok(broken)
}

fn collect(folder: &Path, pages: &mut BTreeMap<PathBuf, Page>) -> Result<()> {
    let entries = fs::read_dir(folder);
    for entry in entries.with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, pages)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            let text = fs::read_to_string(&path)?;
            pages.insert(path, Page::of(&text)?);
        }
    }
    Ok(())
}

impl Page {
    fn of(text: &str) -> Result<Self> {
        // In text, the quotes are escaped.
        let attribute = Regex::new(r#"\s(id|href|src)="([^"]*)""#)?;
        let (mut ids, mut links) = (BTreeSet::new(), Vec::new());
        for found in attribute.captures_iter(text) {
            let value = found[2].replace("&amp;", "&");
            match &found[1] {
                "id" => drop(ids.insert(value)),
                _ => links.push(value),
            }
        }
        Ok(Self { ids, links })
    }
}

fn leads_somewhere(link: &str, from: &Path, pages: &BTreeMap<PathBuf, Page>) -> bool {
    if link.contains(':') {
        return true;
    }
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let file = file.split('?').next().unwrap_or_default();
    let target = match file {
        "" => from.to_owned(),
        file => tidy(&from.parent().unwrap_or(from).join(file)),
    };
    match pages.get(&target) {
        Some(page) => fragment.is_empty() || page.ids.contains(fragment),
        None => target.exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_no_page_and_to_no_place_in_one_are_broken() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let page = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        page(
            "a.html",
            r##"<h1 id="top"><a href="#top">A</a> <a href="#none">N</a>"##,
        )?;
        page(
            "b.html",
            r#"<a class="x" href="a.html#top">A</a> <a href="a.html#no">B</a>
            <img src="c.png"> <a href="https://example.com/none">E</a>"#,
        )?;
        let broken = broken_links(folder.path())?;
        let links: Vec<_> = broken
            .iter()
            .filter_map(|line| line.split(": ").nth(1))
            .collect();
        assert_eq!(links, ["#none", "a.html#no", "c.png"]);
        Ok(())
    }
}
