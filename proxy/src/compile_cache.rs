//! [`CompileCache`]: the compiled modules of earlier starts, as configured.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_abi::{CompileOptions, LoadError, Module, ModuleCache, Outcome};
use weir_config::Config;

/// The cache that the configuration names, if it names one. Outlives generations.
#[derive(Debug, Default)]
pub(crate) struct CompileCache {
    open: Mutex<Option<Open>>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
}

#[derive(Debug)]
struct Open {
    configured: weir_config::CompileCache,
    cache: Arc<ModuleCache>,
}

/// How often a module was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lookups {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) damaged: u64,
}

impl CompileCache {
    /// What `config` names, relative to `folder`; `None` also if it cannot be used,
    /// with a line in the log: modules can be compiled without it.
    pub(crate) fn of(&self, config: &Config, folder: &Path) -> Option<Arc<ModuleCache>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let configured = config.compile_cache.as_ref();
        if let Some(same) = open.as_ref().filter(|o| Some(&o.configured) == configured) {
            return Some(Arc::clone(&same.cache));
        }
        *open = None;
        let configured = configured?;
        let path = folder.join(&configured.path.value);
        match ModuleCache::open(&path, configured.max_size.bytes()) {
            Ok(cache) => {
                let cache = Arc::new(cache);
                *open = Some(Open {
                    configured: configured.clone(),
                    cache: Arc::clone(&cache),
                });
                Some(cache)
            }
            Err(error) => {
                tracing::warn!("there is no compile cache, every module is compiled: {error}");
                None
            }
        }
    }

    /// Compiles a module, or takes what `cache` has of it.
    pub(crate) fn compile(
        &self,
        cache: &ModuleCache,
        name: &str,
        wasm: &[u8],
        options: CompileOptions,
    ) -> Result<Module, LoadError> {
        let (module, lookup) = cache.compile_for(wasm, options)?;
        let count = match lookup.outcome {
            Outcome::Hit => &self.hits,
            Outcome::Miss => &self.misses,
            Outcome::Damaged(reason) => {
                tracing::warn!("{name} is compiled again, its entry is dropped: {reason}");
                &self.damaged
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(error) = lookup.not_kept {
            tracing::warn!("{name} is not kept for the next start: {error}");
        }
        Ok(module)
    }

    pub(crate) fn lookups(&self) -> Lookups {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Lookups {
            hits: of(&self.hits),
            misses: of(&self.misses),
            damaged: of(&self.damaged),
        }
    }
}
