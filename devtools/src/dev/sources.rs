//! [`Sources`]: the files that a project is made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use crate::watch::{Stamp, stamp};

/// Folders with what is made from sources, and with what others have made.
const OUTPUTS: [&str; 4] = ["target", "node_modules", "build", "dist"];

/// Extensions of what is written where sources are: modules, and what a proxy logs.
const WRITTEN: [&str; 2] = ["wasm", "log"];

/// Files that build tools write beside sources, and that nobody edits.
const LOCKS: [&str; 3] = ["Cargo.lock", "package-lock.json", "go.sum"];

/// Files that are looked at in a project; what is in folders that large is no filter.
const FILES_MAX: usize = 20_000;

/// Bytes of a file that are compared; of a larger one, when it was written and how large
/// it is.
const CONTENT_MAX: u64 = 1 << 20;

/// The files of a project, and what is in them: all but hidden ones, modules, logs, and
/// what is in folders for what is built. One that is written and stays the same is the
/// same, so that a build that makes files where sources are is not made without end.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(BTreeMap<PathBuf, Source>);

#[derive(Debug, Clone)]
struct Source {
    stamp: Stamp,
    /// SHA-256, or something else that tells it from others.
    content: [u8; 32],
}

impl Sources {
    /// Those in `folder`. What is like it was `before` is not read again.
    pub(super) fn of(folder: &Path, before: &Self) -> Self {
        let is_looked_at = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            let is_output = entry.file_type().is_dir() && OUTPUTS.contains(&&*name);
            entry.depth() == 0 || !(is_output || name.starts_with('.'))
        };
        let entries = WalkDir::new(folder).into_iter().filter_entry(is_looked_at);
        let files = entries.filter_map(Result::ok).filter(|entry| {
            let extension = entry.path().extension().and_then(|e| e.to_str());
            let is_written = extension.is_some_and(|e| WRITTEN.contains(&e));
            entry.file_type().is_file() && !is_written
        });
        let sources = files.take(FILES_MAX).map(|entry| {
            let path = entry.into_path();
            let stamp = stamp(&path);
            let known = before.0.get(&path).filter(|known| known.stamp == stamp);
            let content = known.map_or_else(|| content(&path, stamp), |known| known.content);
            (path, Source { stamp, content })
        });
        Self(sources.collect())
    }

    /// Takes over what `found` has of files in which build tools keep the versions that
    /// they have chosen.
    pub(super) fn take_locks(&mut self, found: Self) {
        let is_lock = |path: &Path| {
            path.file_name()
                .is_some_and(|n| LOCKS.iter().any(|l| n == *l))
        };
        let locks = found.0.into_iter().filter(|(path, _)| is_lock(path));
        self.0.extend(locks);
    }

    /// Whether there is the same in both.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let this = self.0.iter().map(|(path, source)| (path, source.content));
        this.eq(other.0.iter().map(|(path, source)| (path, source.content)))
    }
}

/// What tells the content of a file from another.
fn content(path: &Path, stamp: Stamp) -> [u8; 32] {
    let small = stamp.is_some_and(|(_, length)| length <= CONTENT_MAX);
    let bytes = small.then(|| std::fs::read(path).ok()).flatten();
    match bytes {
        Some(bytes) => Sha256::digest(bytes).into(),
        None => Sha256::digest(format!("{stamp:?}")).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_built_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["src", "target/release", "node_modules", "build", ".cache"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        let sources = |before: &Sources| Sources::of(folder.path(), before);
        let before = sources(&Sources::default());
        for output in [
            "target/release/a",
            "node_modules/a",
            "build/a",
            "a.wasm",
            "a.log",
            ".cache/a",
        ] {
            fs::write(at(output), "").unwrap();
        }
        assert!(sources(&before).is_same(&before));
        fs::write(at("src/lib.rs"), "").unwrap();
        let with = sources(&before);
        assert!(!with.is_same(&before));
        fs::write(at("src/lib.rs"), "fn main() {}").unwrap();
        assert!(!sources(&with).is_same(&with));
        fs::remove_file(at("src/lib.rs")).unwrap();
        assert!(sources(&with).is_same(&before));
    }

    #[test]
    fn a_file_that_is_written_and_stays_the_same_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| {
            // As another file: its stamp is another, whatever the clock says.
            let next = folder.path().join(".next");
            fs::write(&next, text).unwrap();
            fs::rename(next, folder.path().join("a.rs")).unwrap();
        };
        write("a");
        let before = Sources::of(folder.path(), &Sources::default());
        write("a");
        assert!(Sources::of(folder.path(), &before).is_same(&before));
        write("bc");
        assert!(!Sources::of(folder.path(), &before).is_same(&before));
    }
}
