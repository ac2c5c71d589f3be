//! The chapters, and where links between them and into the repository lead.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{include, links, root, tidy};

/// Where files are shown that are not part of the book.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The guide: what its summary names.
#[derive(Debug)]
pub struct Book {
    source: PathBuf,
    chapters: Vec<Chapter>,
}

#[derive(Debug)]
struct Chapter {
    path: PathBuf,
    /// Documents of the repository that it shows as a whole.
    documents: Vec<PathBuf>,
}

impl Book {
    /// Reads the summary in the folder `source`.
    ///
    /// # Errors
    /// If the summary or a chapter cannot be read.
    pub fn load(source: &Path) -> Result<Self> {
        let source = tidy(source);
        let summary = read(&source.join("SUMMARY.md"))?;
        let mut chapters = Vec::new();
        for link in links(&summary) {
            let path = tidy(&source.join(&link.target));
            let text = read(&path)?;
            let documents = text.lines().filter_map(include::document);
            let documents = documents
                .map(|document| tidy(&source.join(document)))
                .collect();
            chapters.push(Chapter { path, documents });
        }
        Ok(Self { source, chapters })
    }

    /// The folder of the chapters.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The files of the chapters, in their order.
    pub fn chapters(&self) -> impl Iterator<Item = &Path> {
        self.chapters.iter().map(|chapter| &*chapter.path)
    }

    /// The files that the chapters are made of: their own, and the documents that they show.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let chapters = self.chapters.iter();
        chapters.flat_map(|chapter| {
            let documents = chapter.documents.iter();
            std::iter::once(&chapter.path)
                .chain(documents)
                .map(|path| &**path)
        })
    }

    /// What a chapter says, with all that it shows of other files, and with links that
    /// hold in the book.
    ///
    /// # Errors
    /// Names the file and what is not there: what is shown, or what a link leads to.
    pub fn text(&self, chapter: &Path) -> Result<String> {
        let own = read(chapter)?;
        let mut text = String::new();
        // What stands between two documents is the chapter's own.
        let mut part = String::new();
        for line in own.lines() {
            let Some(document) = include::document(line) else {
                part.push_str(line);
                part.push('\n');
                continue;
            };
            text += &self.relinked(&include::expanded(&part, chapter)?, chapter)?;
            part.clear();
            let document = tidy(&self.source.join(document));
            text += &self.relinked(&read(&document)?, &document)?;
        }
        text += &self.relinked(&include::expanded(&part, chapter)?, chapter)?;
        Ok(text)
    }

    /// `text` of the file `from` with its links changed to what they are in the book.
    fn relinked(&self, text: &str, from: &Path) -> Result<String> {
        let mut changed = text.to_owned();
        for link in links(text).into_iter().rev() {
            let target = self
                .in_book(&link.target, from)
                .with_context(|| format!("{}: the link to {}", from.display(), link.target))?;
            changed.replace_range(link.range, &target);
        }
        Ok(changed)
    }

    fn in_book(&self, target: &str, from: &Path) -> Result<String> {
        if target.starts_with('#') || target.contains(':') {
            return Ok(target.to_owned());
        }
        let (file, fragment) = match target.find('#') {
            Some(at) => target.split_at(at),
            None => (target, ""),
        };
        let folder = from.parent().unwrap_or(from);
        let file = tidy(&folder.join(file));
        let mut chapters = self.chapters.iter();
        if let Some(chapter) = chapters.find(|c| c.path == file || c.documents.contains(&file)) {
            let path = chapter.path.strip_prefix(&self.source)?;
            return Ok(format!("{}{fragment}", path.display()));
        }
        let kind = match fs::metadata(&file) {
            Ok(found) if found.is_dir() => "tree",
            Ok(_) => "blob",
            Err(_) => bail!("there is no {}", file.display()),
        };
        let path = file.strip_prefix(root());
        let path = path.context("it leads out of the repository")?;
        Ok(format!(
            "{REPOSITORY}/{kind}/main/{}{fragment}",
            path.display()
        ))
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
