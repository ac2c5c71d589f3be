//! Waiting for files to change.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// What a file was like when it was looked at: `None` when there is none.
pub(crate) type Stamp = Option<(SystemTime, u64)>;

/// Files that are watched, and what they were like before they were read.
#[derive(Default)]
pub struct Watched(Vec<(PathBuf, Stamp)>);

impl Watched {
    /// Watches a file that is about to be read.
    pub fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), stamp(path)));
    }

    /// Watches a file that was read after `since`: if it was written to since then, it
    /// has changed.
    pub fn add_read(&mut self, path: &Path, since: SystemTime) {
        let read = stamp(path).filter(|(written, _)| *written <= since);
        self.0.push((path.to_owned(), read));
    }

    /// Waits until one of them has changed and is complete: a toolchain that is still
    /// writing it does not count.
    pub fn wait(&self) {
        let changed = || self.0.iter().any(|(path, before)| stamp(path) != *before);
        while !changed() {
            std::thread::sleep(INTERVAL);
        }
        let now = || {
            self.0
                .iter()
                .map(|(path, _)| stamp(path))
                .collect::<Vec<_>>()
        };
        let mut last = now();
        loop {
            std::thread::sleep(INTERVAL);
            let next = now();
            let mut pairs = next.iter().zip(&self.0);
            let is_complete = pairs.all(|(now, (_, before))| now.is_some() || before.is_none());
            if next == last && is_complete {
                return;
            }
            last = next;
        }
    }
}

pub(crate) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
