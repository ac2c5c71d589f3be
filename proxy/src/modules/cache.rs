//! Copies of modules that were fetched, in a folder that several processes may share.
//!
//! `blobs` has modules under their digests. `refs` has, for each thing that was
//! fetched, which blob that is; when it was last used is the file's time. Both are
//! written in `tmp` and then moved, so that they are there as a whole or not at all,
//! and what is read is compared with its digest. Who writes has a shared lock. Who
//! tidies up has it alone: all that is in `tmp` then, and every blob without a ref, is
//! of processes that are no more.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

use super::sha256;
use crate::limits::{IMAGE_SIGNATURE_BYTES_MAX, IMAGE_SIGNATURES_MAX};
use crate::signature::image::{Form, ImageSignature};

/// Bytes of a ref: three short texts, and signatures. Twice as much as those may have,
/// for what JSON makes of quotation marks.
const REF_BYTES_MAX: u64 =
    (64 * 1024 + 2 * 2 * IMAGE_SIGNATURES_MAX * IMAGE_SIGNATURE_BYTES_MAX) as u64;

pub(super) struct Cache {
    folder: PathBuf,
    /// Bytes of all blobs.
    size: u64,
    /// How long a ref is kept that nobody uses.
    expiry: Duration,
}

/// A module that was fetched before.
pub(super) struct Copy {
    /// Digest of what the module was in: an image's manifest, or a file.
    pub(super) origin: String,
    pub(super) module: Vec<u8>,
    /// Those of the image, if they were asked for.
    pub(super) signatures: Vec<ImageSignature>,
}

/// What a ref says.
struct Ref {
    path: PathBuf,
    origin: String,
    /// Name of the blob.
    module: String,
    signatures: Vec<ImageSignature>,
    used: SystemTime,
}

impl Cache {
    /// Opens the cache in `folder`, which is made if there is none, and tidies it up.
    pub(super) fn open(folder: &Path, size: u64, expiry: Duration) -> io::Result<Self> {
        let cache = Self {
            folder: folder.join("modules"),
            size,
            expiry,
        };
        for name in ["blobs", "refs", "tmp"] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(cache.folder.join(name))?;
        }
        // Found out now, and not when there is something to write.
        cache.lock()?;
        cache.tidy()?;
        Ok(cache)
    }

    /// The file whose lock is that of the cache.
    fn lock(&self) -> io::Result<Lock> {
        let path = self.folder.join("lock");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(path).map(Lock)
    }

    fn ref_path(&self, source: &str) -> PathBuf {
        self.folder.join("refs").join(sha256(source.as_bytes()))
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest)
    }

    /// The copy of `source`, if there is one and it is as it was written.
    pub(super) fn get(&self, source: &str, limit: usize) -> Option<Copy> {
        let path = self.ref_path(source);
        let found = Ref::read(&path)?;
        if self.is_stale(&found) {
            return None;
        }
        let blob = File::open(self.blob_path(&found.module)).ok()?;
        if blob.metadata().ok()?.len() > limit as u64 {
            return None;
        }
        let module = read(blob, limit as u64)?;
        if sha256(&module) != found.module {
            tracing::warn!(source, "the copy in the cache is damaged");
            return None;
        }
        // In a folder that others own, it grows old.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(Copy {
            origin: found.origin,
            module,
            signatures: found.signatures,
        })
    }

    fn is_stale(&self, found: &Ref) -> bool {
        // What is from the future was used just now.
        let age = SystemTime::now().duration_since(found.used);
        age.is_ok_and(|age| age > self.expiry)
    }

    /// Keeps a copy of what was fetched from `source`.
    pub(super) fn put(&self, source: &str, copy: &Copy) -> io::Result<()> {
        if copy.module.len() as u64 > self.size {
            return Ok(());
        }
        let lock = self.lock()?;
        lock.0.lock_shared()?;
        let digest = sha256(&copy.module);
        self.write(&self.blob_path(&digest), &copy.module)?;
        let signatures = copy.signatures.iter();
        let signatures = signatures.map(|s| match s.form {
            Form::SimpleSigning => json!([s.payload, s.signature]),
            Form::Statement => json!([s.payload, s.signature, STATEMENT]),
        });
        let text = json!({
            "source": source,
            "origin": copy.origin,
            "module": digest,
            "signatures": signatures.collect::<Vec<_>>(),
        });
        self.write(&self.ref_path(source), text.to_string().as_bytes())
    }

    /// Puts a file where it belongs, at once and for good.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let unique = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.as_nanos());
        let name = format!("{process}-{unique}-{number}");
        let temporary = self.folder.join("tmp").join(name);
        step();
        let mut file = File::create_new(&temporary)?;
        step();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        file.write_all(half)?;
        step();
        file.write_all(rest)?;
        step();
        file.sync_all()?;
        step();
        fs::rename(&temporary, path)?;
        step();
        let folder = path.parent().unwrap_or(&self.folder);
        File::open(folder)?.sync_all()?;
        step();
        Ok(())
    }

    /// Removes what others have left behind, what is stale, and what was not used
    /// for the longest time if there is more than may be. Does nothing while somebody
    /// writes.
    pub(super) fn tidy(&self) -> io::Result<()> {
        let lock = self.lock()?;
        if lock.0.try_lock().is_err() {
            return Ok(());
        }
        for path in files(&self.folder.join("tmp"))? {
            fs::remove_file(path)?;
        }
        let mut refs = Vec::new();
        for path in files(&self.folder.join("refs"))? {
            match Ref::read(&path) {
                Some(found) if !self.is_stale(&found) => refs.push(found),
                _ => fs::remove_file(path)?,
            }
        }
        refs.sort_by_key(|found| std::cmp::Reverse(found.used));
        let mut kept = HashSet::new();
        let mut total = 0;
        for found in refs {
            let blob = self.blob_path(&found.module);
            if kept.contains(&blob) {
                continue;
            }
            let size = fs::metadata(&blob).map(|blob| blob.len());
            match size {
                Ok(size) if total + size <= self.size => {
                    total += size;
                    kept.insert(blob);
                }
                _ => fs::remove_file(found.path)?,
            }
        }
        for path in files(&self.folder.join("blobs"))? {
            if !kept.contains(&path) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// A file that may be locked. The end of the process unlocks it, however it comes.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // To close it is not enough: a process that is just being started from this one
        // has it open too. The error would be that it is not locked.
        let _ = self.0.unlock();
    }
}

impl Ref {
    /// `None` if there is none, or none that was written as a whole.
    fn read(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let used = file.metadata().ok()?.modified().ok()?;
        let json: Json = serde_json::from_slice(&read(file, REF_BYTES_MAX)?).ok()?;
        let text = |key| json.get(key).and_then(Json::as_str).map(str::to_owned);
        let module = text("module").filter(|name| is_digest(name))?;
        // It lies under what it is about.
        let name = sha256(text("source")?.as_bytes());
        (path.file_name()? == name.as_str()).then_some(())?;
        Some(Self {
            path: path.to_owned(),
            origin: text("origin")?,
            module,
            signatures: signatures(&json)?,
            used,
        })
    }
}

/// Tells a signature over a statement from one over a simple text.
const STATEMENT: &str = "statement";

fn signatures(json: &Json) -> Option<Vec<ImageSignature>> {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let signatures = json.get("signatures")?.as_array()?.iter();
    let signatures = signatures.map(|signature| {
        let form = match signature.get(2).and_then(Json::as_str) {
            None => Form::SimpleSigning,
            Some(STATEMENT) => Form::Statement,
            Some(_) => return None,
        };
        Some(ImageSignature {
            form,
            payload: text(signature.get(0)?)?,
            signature: text(signature.get(1)?)?,
        })
    });
    signatures.collect()
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn read(file: File, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit), &mut bytes).ok()?;
    Some(bytes)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    entries.map(|entry| entry.map(|e| e.path())).collect()
}

/// Where a process may end between two others.
#[cfg(not(test))]
const fn step() {}

#[cfg(test)]
use tests::step;

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
