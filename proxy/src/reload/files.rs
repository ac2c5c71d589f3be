//! [`Files`]: the files that a configuration is made of, and whether they change.
//!
//! They are looked at again and again, through all links: so it does not matter
//! whether somebody writes into a file, puts another in its place, or moves a link
//! to a folder as Kubernetes does.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use crate::generation::Generation;

/// What tells a version of a file from another: device, inode, size, and when it was
/// last written to. `None` for one that is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

/// The files, and what they were when the configuration was read.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    read: Vec<Stamp>,
}

impl Files {
    /// The files of a generation that was read, one after the other, from `since` on.
    pub(super) fn of(generation: &Generation, since: SystemTime) -> Self {
        let mut files = Self {
            paths: generation.files.clone(),
            read: Vec::new(),
        };
        files.look();
        files.doubt(since);
        files
    }

    /// What was written to after `since` may not be what was read.
    fn doubt(&mut self, since: SystemTime) {
        for (path, read) in self.paths.iter().zip(&mut self.read) {
            let written = std::fs::metadata(path).and_then(|found| found.modified());
            if written.is_ok_and(|written| written > since) {
                *read = None;
            }
        }
    }

    /// Takes what there is for what was read.
    pub(super) fn look(&mut self) {
        self.read = self.stamps();
    }

    /// Looks after the files of this generation from now on.
    pub(super) fn follow(&mut self, generation: &Generation) {
        let known: HashMap<_, _> = self.paths.drain(..).zip(self.read.drain(..)).collect();
        self.paths.clone_from(&generation.files);
        // A change of a file that was known may have come since it was read.
        let read = |path: &PathBuf| known.get(path).copied().unwrap_or_else(|| stamp(path));
        self.read = self.paths.iter().map(read).collect();
    }

    /// Looks after these files as well, which were read from `since` on.
    pub(super) fn follow_also(&mut self, paths: Vec<PathBuf>, since: SystemTime) {
        let new = paths.into_iter().filter(|path| !self.paths.contains(path));
        let mut more = Self {
            paths: new.collect(),
            read: Vec::new(),
        };
        more.look();
        more.doubt(since);
        self.paths.append(&mut more.paths);
        self.read.append(&mut more.read);
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.paths.iter().map(|path| stamp(path)).collect()
    }

    /// Returns when something has changed, and does so no more: several changes
    /// that belong together are one.
    pub(super) async fn changed(&self, interval: Duration) {
        let mut before = self.stamps();
        loop {
            sleep(interval).await;
            let now = self.stamps();
            if now == before && now != self.read {
                return;
            }
            before = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(5);

    fn files(path: &Path) -> Files {
        let mut files = Files {
            paths: vec![path.to_owned()],
            read: Vec::new(),
        };
        files.look();
        files
    }

    async fn notices(files: &Files) -> bool {
        let patience = Duration::from_millis(200);
        tokio::time::timeout(patience, files.changed(INTERVAL))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "1").unwrap();
        let mut files = files(&at("a"));
        assert!(!notices(&files).await);
        std::fs::write(at("a"), "12").unwrap();
        assert!(notices(&files).await);
        files.look();
        std::fs::write(at("b"), "12").unwrap();
        std::fs::rename(at("b"), at("a")).unwrap();
        assert!(notices(&files).await);
        files.look();
        std::fs::remove_file(at("a")).unwrap();
        assert!(notices(&files).await);
    }

    #[tokio::test]
    async fn what_was_written_while_it_was_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let mut files = files(&path);
        files.doubt(written);
        assert!(!notices(&files).await);
        files.doubt(written - Duration::from_millis(1));
        assert!(notices(&files).await);
    }

    #[tokio::test]
    async fn a_link_to_a_folder_that_is_moved_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for version in ["v1", "v2"] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("weir.yaml"), version).unwrap();
        }
        std::os::unix::fs::symlink(at("v1"), at("data")).unwrap();
        let mut files = files(&at("data").join("weir.yaml"));
        assert!(!notices(&files).await);
        std::os::unix::fs::symlink(at("v2"), at("next")).unwrap();
        std::fs::rename(at("next"), at("data")).unwrap();
        assert!(notices(&files).await);
        files.look();
        assert!(!notices(&files).await);
    }
}
