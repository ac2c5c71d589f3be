//! [`ModuleCache`]: compiled modules on disk.

mod folder;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use self::folder::Folder;
use crate::engine::{CompileOptions, CompiledModule, Identity, SealKey};
use crate::module::{LoadError, Module, check_size};

/// Why there is no cache, or why it does not keep a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Who else can write there could have the process run anything.
    #[error(
        "{path} belongs to another user, or others may enter it: it must be a folder of mode 0700 \
         of the user that this process runs as",
        path = .0.display()
    )]
    Shared(PathBuf),
    /// The system gives no random bytes for a key.
    #[error("there are no random bytes: {0}")]
    Random(String),
    /// One module is larger than all together may be.
    #[error("it takes {bytes} bytes, and the cache has {bytes_max}")]
    TooLarge {
        /// Bytes that it takes.
        bytes: u64,
        /// Bytes of all entries, at most.
        bytes_max: u64,
    },
    /// The engine cannot write the module.
    #[error("the engine cannot write the module: {0}")]
    Engine(String),
}

/// What a cache has had of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it: nothing was compiled.
    Hit,
    /// Nothing.
    Miss,
    /// Something that cannot be read, or is not what was written there, with the
    /// reason. It was dropped.
    Damaged(String),
}

/// What [`ModuleCache::compile_for`] has met with, for logs and metrics.
#[derive(Debug)]
pub struct Lookup {
    /// What there was.
    pub outcome: Outcome,
    /// Why the module is not kept for the next time, if it is not.
    pub not_kept: Option<CacheError>,
}

/// A folder of compiled modules, so that a module is compiled once and not at every
/// start.
///
/// What is in there runs as it is. So each entry carries a MAC (HMAC-SHA256), which
/// is verified over the very bytes that are loaded, and whose key lies beside them,
/// readable for nobody else; and the folder has to be of this user alone.
///
/// An entry belongs to one binary, engine, kind of deadline and CPU: after an
/// upgrade, modules are compiled again. Any number of threads and processes, also of
/// different versions, may use one folder at once, and may be killed at any time.
/// Above its size the folder loses what was not used for the longest time.
pub struct ModuleCache {
    folder: Folder,
    key: SealKey,
    bytes_max: u64,
}

impl ModuleCache {
    /// The cache in `folder`, which is made if need be, for up to `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CacheError`]: it cannot be read or written, or is not of this user alone.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        let folder = Folder::open(folder)?;
        let key = SealKey::new(folder.key()?);
        let cache = Self {
            folder,
            key,
            bytes_max,
        };
        cache.folder.evict(bytes_max)?;
        Ok(cache)
    }

    /// [`Module::compile_for`], from the cache if it is there.
    ///
    /// # Errors
    /// As [`Module::compile`]. What is wrong with the cache is no error: the module
    /// is compiled then, and [`Lookup`] tells it.
    pub fn compile_for(
        &self,
        wasm: &[u8],
        options: impl Into<CompileOptions>,
    ) -> Result<(Module, Lookup), LoadError> {
        check_size(wasm)?;
        let options = options.into();
        let deadline = options.deadline;
        let digest: [u8; 32] = Sha256::digest(wasm).into();
        let identity = Identity::new(&digest, deadline);
        let name = file_name(&identity);
        let outcome = match self.folder.read(&name) {
            Ok(Some(bytes)) => match CompiledModule::open(bytes, identity, &self.key, deadline) {
                Ok(compiled) => {
                    let module = Module::of(compiled, wasm, digest, deadline)?;
                    let lookup = Lookup {
                        outcome: Outcome::Hit,
                        not_kept: None,
                    };
                    return Ok((module, lookup));
                }
                Err(error) => {
                    self.folder.remove(&name);
                    Outcome::Damaged(error.to_string())
                }
            },
            Ok(None) => Outcome::Miss,
            Err(error) => {
                self.folder.remove(&name);
                Outcome::Damaged(error.to_string())
            }
        };
        let compiled = CompiledModule::compile(wasm, options).map_err(LoadError::Compile)?;
        let module = Module::of(compiled, wasm, digest, deadline)?;
        let sealed = module.compiled.seal(identity, &self.key);
        let kept = sealed
            .map_err(CacheError::Engine)
            .and_then(|bytes| self.folder.write(&name, &bytes, self.bytes_max));
        let lookup = Lookup {
            outcome,
            not_kept: kept.err(),
        };
        Ok((module, lookup))
    }
}

impl std::fmt::Debug for ModuleCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleCache")
            .field("folder", &self.folder)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

fn file_name(identity: &Identity) -> String {
    let mut name = String::with_capacity(64 + folder::ENTRY.len());
    for byte in identity.bytes() {
        // A string takes everything.
        let _ = write!(name, "{byte:02x}");
    }
    name.push_str(folder::ENTRY);
    name
}
