//! Generations of the configuration: the one that is served, and those that still
//! have streams.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::cell::Counter;
use super::family as f;
use super::page::Page;
use super::tls_metrics::{self, ShownBy};
use crate::generation::Generation;

/// The numbers of one generation on one worker.
#[derive(Debug, Default)]
pub(crate) struct GenerationCells {
    streams: Counter,
    vms: Counter,
    memory: Counter,
    /// It has been replaced, and has no streams any more.
    ended: AtomicBool,
}

impl GenerationCells {
    pub(crate) fn stream_began(&self) {
        self.streams.add(1);
    }

    pub(crate) fn stream_ended(&self) {
        self.streams.subtract(1);
    }

    /// Streams under way.
    pub(crate) fn streams(&self) -> u64 {
        self.streams.get()
    }

    /// How many VMs it has, and how many bytes of guest memory.
    pub(crate) fn publish(&self, vms: usize, memory: usize) {
        self.vms.set(vms as u64);
        self.memory.set(memory as u64);
    }

    /// It has been replaced, and has no streams any more.
    pub(crate) fn end(&self) {
        self.publish(0, 0);
        self.ended.store(true, Ordering::Release);
    }
}

/// One generation, on all workers.
#[derive(Debug)]
struct Known {
    number: u64,
    since: Instant,
    cells: Vec<Arc<GenerationCells>>,
    listeners: usize,
    clusters: usize,
}

/// What became of the reloads.
#[derive(Debug, Default)]
struct Reloads {
    succeeded: u64,
    failed: u64,
    /// Whether the last one did; the start counts as one.
    last_failed: bool,
    /// Seconds since 1970 of the last that succeeded.
    last_success: u64,
}

/// Every generation that is not over, and how reloads went.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    known: Mutex<Vec<Known>>,
    reloads: Mutex<Reloads>,
    /// Of the one that is served.
    certificates: Mutex<Vec<ShownBy>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Generations {
    /// Another one, on so many workers; it counts once it is served.
    pub(crate) fn cells(workers: usize) -> Vec<Arc<GenerationCells>> {
        (0..workers).map(|_| Arc::default()).collect()
    }

    /// It is served from now on.
    pub(crate) fn serve(&self, generation: &Generation, cells: Vec<Arc<GenerationCells>>) {
        let number = generation.number;
        locked(&self.known).push(Known {
            number,
            since: Instant::now(),
            cells,
            listeners: generation.listeners.len(),
            clusters: generation.clusters.len(),
        });
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mut reloads = locked(&self.reloads);
        reloads.last_failed = false;
        reloads.last_success = now.unwrap_or_default().as_secs();
        // The first one is no reload.
        reloads.succeeded += u64::from(number > 1);
    }

    /// These are the certificates that it shows.
    pub(crate) fn show_certificates(&self, certificates: Vec<ShownBy>) {
        *locked(&self.certificates) = certificates;
    }

    /// A reload has failed.
    pub(crate) fn failed(&self) {
        let mut reloads = locked(&self.reloads);
        reloads.last_failed = true;
        reloads.failed += 1;
    }

    /// Those that are not over; the last is the one that is served.
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        let mut known = locked(&self.known);
        let is_over = |k: &Known| k.cells.iter().all(|c| c.ended.load(Ordering::Acquire));
        known.retain(|k| !is_over(k));
        known
    }

    pub(super) fn show(&self, page: &mut Page) {
        let known = self.known();
        let number = known.last().map_or(0, |k| k.number);
        page.level(&f::GENERATION, &[], number);
        page.level(&f::GENERATIONS, &[], known.len() as u64);
        let last = known.last();
        let listeners = last.map_or(0, |k| k.listeners);
        let clusters = last.map_or(0, |k| k.clusters);
        page.level(&f::LISTENERS_ACTIVE, &[], listeners as u64);
        page.level(&f::CLUSTERS_ACTIVE, &[], clusters as u64);
        drop(known);
        let reloads = locked(&self.reloads);
        page.level(&f::RELOAD_SUCCESSFUL, &[], (!reloads.last_failed).into());
        page.level(&f::RELOAD_SUCCESS_TIME, &[], reloads.last_success);
        page.count(&f::RELOADS, &["success"], reloads.succeeded);
        page.count(&f::RELOADS, &["failure"], reloads.failed);
        tls_metrics::show_certificates(&locked(&self.certificates), page);
    }

    /// Number, state, seconds of age, streams, VMs and bytes of guest memory of each.
    pub(crate) fn to_json(&self) -> Json {
        let known = self.known();
        let last = known.len().saturating_sub(1);
        let generation = |(place, k): (usize, &Known)| {
            let sum = |of: fn(&GenerationCells) -> u64| k.cells.iter().map(|c| of(c)).sum::<u64>();
            json!({
                "number": k.number,
                "state": if place == last { "serving" } else { "draining" },
                "age_seconds": k.since.elapsed().as_secs(),
                "streams": sum(GenerationCells::streams),
                "vms": sum(|c| c.vms.get()),
                "memory_bytes": sum(|c| c.memory.get()),
            })
        };
        known.iter().enumerate().map(generation).collect()
    }

    /// A line each: number, age in seconds, streams, VMs, bytes of guest memory.
    pub(crate) fn table(&self) -> String {
        let mut table = "generation  state     age  streams  vms  memory\n".to_owned();
        let known = self.known();
        let last = known.len().saturating_sub(1);
        for (place, k) in known.iter().enumerate() {
            let sum = |of: fn(&GenerationCells) -> u64| k.cells.iter().map(|c| of(c)).sum::<u64>();
            // Writing to a string does not fail.
            let _ = writeln!(
                table,
                "{:<11} {:<9} {:>3}  {:>7}  {:>3}  {}",
                k.number,
                if place == last { "serving" } else { "draining" },
                k.since.elapsed().as_secs(),
                sum(GenerationCells::streams),
                sum(|c| c.vms.get()),
                sum(|c| c.memory.get()),
            );
        }
        table
    }
}
