//! Numbers of modules that are fetched. They belong to the process: modules are
//! fetched before there are workers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family as f;
use super::page::Page;

/// A number that several threads count.
#[derive(Debug)]
pub(crate) struct Count(AtomicU64);

impl Count {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of modules on servers.
#[derive(Debug)]
pub(crate) struct Fetches {
    /// A copy was there, and the server was not asked.
    pub(crate) hits: Count,
    /// The server had to be asked.
    pub(crate) misses: Count,
    pub(crate) successes: Count,
    pub(crate) failures: Count,
}

static FETCHES: Fetches = Fetches {
    hits: Count::new(),
    misses: Count::new(),
    successes: Count::new(),
    failures: Count::new(),
};

/// Those of this process.
pub(crate) fn fetches() -> &'static Fetches {
    &FETCHES
}

impl Fetches {
    pub(super) fn show(&self, page: &mut Page) {
        page.count(&f::REMOTE_CACHE_HITS, &[], self.hits.get());
        page.count(&f::REMOTE_CACHE_MISSES, &[], self.misses.get());
        page.count(&f::REMOTE_FETCH_SUCCESSES, &[], self.successes.get());
        page.count(&f::REMOTE_FETCH_FAILURES, &[], self.failures.get());
        page.count(&f::MODULE_CACHE, &["hit"], self.hits.get());
        page.count(&f::MODULE_CACHE, &["miss"], self.misses.get());
        page.count(&f::MODULE_FETCHES, &["success"], self.successes.get());
        page.count(&f::MODULE_FETCHES, &["failure"], self.failures.get());
    }
}
