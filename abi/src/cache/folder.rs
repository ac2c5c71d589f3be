//! [`Folder`]: the files of a cache.
//!
//! | File | |
//! |---|---|
//! | `key` | the key of the MACs |
//! | `lock` | locked by the process that writes |
//! | `*.weir-compiled` | an entry, last used when it was last modified |
//! | `*.weir-tmp` | a file that is being written; without the lock, one that never will be |
//!
//! A file comes into being under its name with all of its content, or not at all:
//! whoever reads needs no lock. The lock goes with its process, however that ends.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::CacheError;
use crate::engine::SealKey;

/// How the names of entries end.
pub(super) const ENTRY: &str = ".weir-compiled";

const TEMPORARY: &str = ".weir-tmp";

const KEY: &str = "key";

const LOCK: &str = "lock";

/// How long to wait for another process that writes. What it does takes
/// milliseconds, unless it was stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long between two looks at the lock.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Who this process runs as, and the files belong to.
    user: u32,
}

/// The right to write; it ends with the file.
struct Lock(#[allow(dead_code, reason = "is held, not read")] File);

impl Folder {
    /// The folder at `path`, with those above it. One that is there must be of this
    /// user alone.
    pub(super) fn open(path: &Path) -> Result<Self, CacheError> {
        let mut folder = Self {
            path: path.to_owned(),
            user: 0,
        };
        folder.make()?;
        let found = fs::metadata(path).map_err(at(path))?;
        if found.mode() & 0o077 != 0 {
            return Err(CacheError::Shared(path.to_owned()));
        }
        let lock = folder.lock()?;
        folder.sweep(&lock)?;
        folder.user = folder.owner_of_new_files(&lock)?;
        if found.uid() != folder.user {
            return Err(CacheError::Shared(path.to_owned()));
        }
        Ok(folder)
    }

    fn owner_of_new_files(&self, lock: &Lock) -> Result<u32, CacheError> {
        let path = self.path.join(format!("user{TEMPORARY}"));
        let made = File::create_new(&path).and_then(|file| file.metadata());
        step();
        let user = made.map_err(at(&path))?.uid();
        self.sweep(lock)?;
        Ok(user)
    }

    fn make(&self) -> Result<(), CacheError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path);
        made.map_err(at(&self.path))
    }

    /// The key that is there, or a new one.
    pub(super) fn key(&self) -> Result<[u8; SealKey::BYTES], CacheError> {
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let lock = self.lock()?;
        // Another process may have been at it.
        if let Some(key) = self.read_key()? {
            return Ok(key);
        }
        let mut key = [0; SealKey::BYTES];
        getrandom::fill(&mut key).map_err(|e| CacheError::Random(e.to_string()))?;
        self.put(&lock, KEY, &key)?;
        Ok(key)
    }

    /// `None` for a key that is missing, cut off, or that others may read: entries
    /// under it count for nothing. Nobody else's is taken, even if the folder was
    /// exchanged since it was looked at.
    fn read_key(&self) -> Result<Option<[u8; SealKey::BYTES]>, CacheError> {
        let path = self.path.join(KEY);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(at(&path)(e)),
        };
        let found = file.metadata().map_err(at(&path))?;
        if found.uid() != self.user {
            return Err(CacheError::Shared(self.path.clone()));
        }
        if found.mode() & 0o077 != 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at(&path))?;
        Ok(bytes.try_into().ok())
    }

    /// What is in an entry, which is used with that.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path.join(name);
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            // An entry that looks older than it is goes too early, which is no harm.
            let _ = file.set_modified(SystemTime::now());
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(&path)(e)),
        }
    }

    /// Puts an entry there, and makes room for it.
    pub(super) fn write(&self, name: &str, bytes: &[u8], bytes_max: u64) -> Result<(), CacheError> {
        let size = bytes.len() as u64;
        if size > bytes_max {
            // It would drive out all others, and go itself.
            return Err(CacheError::TooLarge {
                bytes: size,
                bytes_max,
            });
        }
        // Somebody may have emptied the cache by removing all of it.
        self.make()?;
        let lock = self.lock()?;
        self.sweep(&lock)?;
        self.put(&lock, name, bytes)?;
        self.make_room(&lock, bytes_max)
    }

    /// Drops an entry. Should that fail, it is replaced.
    pub(super) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path.join(name));
    }

    /// Drops what was not used for the longest time, until there are `bytes_max`
    /// bytes.
    pub(super) fn evict(&self, bytes_max: u64) -> Result<(), CacheError> {
        let lock = self.lock()?;
        self.make_room(&lock, bytes_max)
    }

    fn lock(&self) -> Result<Lock, CacheError> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(LOOK);
                }
                Err(e) => return Err(at(&path)(e.into())),
            }
        }
    }

    /// Writes a file beside its place, and moves it there when it is on the disk.
    fn put(&self, _: &Lock, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let temporary = self.path.join(format!("{name}{TEMPORARY}"));
        let place = self.path.join(name);
        let write = || -> io::Result<()> {
            step();
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&temporary)?;
            step();
            let (first, second) = bytes.split_at(bytes.len() / 2);
            file.write_all(first)?;
            step();
            file.write_all(second)?;
            step();
            file.sync_all()?;
            step();
            fs::rename(&temporary, &place)?;
            step();
            File::open(&self.path)?.sync_all()?;
            step();
            Ok(())
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            at(&place)(error)
        })
    }

    /// Removes what processes have left that were killed.
    fn sweep(&self, _: &Lock) -> Result<(), CacheError> {
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let path = entry.map_err(at(&self.path))?.path();
            if path.to_string_lossy().ends_with(TEMPORARY) {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    fn make_room(&self, _: &Lock, bytes_max: u64) -> Result<(), CacheError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.path))? {
            let path = entry.map_err(at(&self.path))?.path();
            if !path.to_string_lossy().ends_with(ENTRY) {
                continue;
            }
            // Who drops a damaged one needs no lock.
            if let Ok(found) = fs::metadata(&path) {
                let used = (found.mtime(), found.mtime_nsec());
                entries.push((used, found.len(), path));
            }
        }
        entries.sort_unstable();
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, freed, path) in entries {
            if bytes <= bytes_max {
                break;
            }
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&path)(e)),
                _ => bytes -= freed,
            }
            step();
        }
        Ok(())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    |source| CacheError::Io { path, source }
}

/// Where a process may be killed.
#[cfg(not(test))]
fn step() {}

#[cfg(test)]
use super::tests::step;
