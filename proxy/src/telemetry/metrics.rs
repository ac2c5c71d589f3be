//! Metrics: each worker counts in cells of its own that no other thread writes;
//! a scrape adds them up.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use weir_abi::SharedState;

use super::cell::Counter;
use super::family as f;
use super::fetch_metrics::fetches;
use super::http_metrics::{ClusterMetrics, ListenerMetrics};
use super::page::Page;
use super::rollout_metrics;
use super::shared_metrics;
use super::vm_metrics::{VmCells, VmMetrics};
use super::{Generations, GuestMetrics};
use crate::cluster::Clusters;
use crate::compile_cache::CompileCache;
use crate::filter::FilterVmSpec;
use crate::rollout::Rollouts;

/// One worker's numbers.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    worker: usize,
    guests: Arc<GuestMetrics>,
    connections: Counter,
    /// Locked when the worker starts and to read, not to count.
    parts: Mutex<Parts>,
}

/// What a worker has numbers of.
#[derive(Debug, Default)]
struct Parts {
    listeners: Vec<Arc<ListenerMetrics>>,
    clusters: Vec<Arc<ClusterMetrics>>,
    vms: Vec<Arc<VmCells>>,
}

impl WorkerMetrics {
    /// The numbers of worker number `worker`; `guests` are those of all.
    pub(crate) fn new(worker: usize, guests: &Arc<GuestMetrics>) -> Arc<Self> {
        Arc::new(Self {
            worker,
            guests: Arc::clone(guests),
            ..Self::default()
        })
    }

    /// Number for a new connection; the worker's own number keeps it unique in
    /// the process.
    pub(crate) fn next_connection_id(&self) -> u64 {
        let id = self.connections.get() << 10 | (self.worker & 0x3ff) as u64;
        self.connections.add(1);
        id
    }

    fn with_parts<R>(&self, with: impl FnOnce(&mut Parts) -> R) -> R {
        with(&mut self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Numbers of a VM of this worker.
    pub(crate) fn vm(&self, spec: &FilterVmSpec) -> VmMetrics {
        let cells = self.with_parts(|parts| {
            let same = parts.vms.iter().find(|cells| cells.is_of(spec));
            same.cloned().unwrap_or_else(|| {
                let cells = VmCells::new(self.worker, &self.guests, spec);
                parts.vms.push(Arc::clone(&cells));
                cells
            })
        });
        VmMetrics::new(cells)
    }

    /// Numbers of a listener of this worker, bound to `address`.
    pub(crate) fn listener(
        &self,
        name: &str,
        address: SocketAddr,
        tcp: bool,
    ) -> Arc<ListenerMetrics> {
        let address = address.to_string();
        self.with_parts(|parts| {
            let mut all = parts.listeners.iter();
            let same = all.find(|metrics| metrics.is_of(name, &address, tcp));
            same.cloned().unwrap_or_else(|| {
                let metrics = ListenerMetrics::new(name, &address, tcp);
                parts.listeners.push(Arc::clone(&metrics));
                metrics
            })
        })
    }

    /// Numbers of a cluster on this worker.
    pub(crate) fn cluster(&self, name: &str) -> Arc<ClusterMetrics> {
        self.with_parts(|parts| {
            let same = parts.clusters.iter().find(|metrics| metrics.is_of(name));
            same.cloned().unwrap_or_else(|| {
                let metrics = ClusterMetrics::new(name);
                parts.clusters.push(Arc::clone(&metrics));
                metrics
            })
        })
    }

    fn show(&self, page: &mut Page) {
        self.with_parts(|parts| {
            parts.listeners.iter().for_each(|l| l.show(page));
            parts.clusters.iter().for_each(|c| c.show(page));
            parts.vms.iter().for_each(|vm| vm.show(page));
        });
    }
}

/// The numbers of all workers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    guests: Arc<GuestMetrics>,
    shared: Arc<SharedState>,
    compile_cache: Arc<CompileCache>,
    pub(crate) generations: Arc<Generations>,
    pub(crate) rollouts: Rollouts,
    pub(crate) clusters: Clusters,
    started: Instant,
}

impl Metrics {
    pub(crate) fn new(
        workers: Vec<Arc<WorkerMetrics>>,
        guests: Arc<GuestMetrics>,
        shared: Arc<SharedState>,
        compile_cache: Arc<CompileCache>,
    ) -> Self {
        Self {
            workers,
            guests,
            shared,
            compile_cache,
            generations: Arc::default(),
            rollouts: Rollouts::default(),
            clusters: Clusters::default(),
            started: Instant::now(),
        }
    }

    /// All numbers in Prometheus' text format; `live` while Weir serves.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn render(&self, live: bool) -> prometheus::Result<String> {
        let mut page = Page::default();
        page.level(&f::SERVER_LIVE, &[], live.into());
        page.level(&f::SERVER_UPTIME, &[], self.started.elapsed().as_secs());
        page.level(&f::SERVER_CONCURRENCY, &[], self.workers.len() as u64);
        page.level(&f::BUILD, &[env!("CARGO_PKG_VERSION")], 1);
        self.generations.show(&mut page);
        let lookups = self.compile_cache.lookups();
        page.count(&f::COMPILE_CACHE, &["hit"], lookups.hits);
        page.count(&f::COMPILE_CACHE, &["miss"], lookups.misses);
        page.count(&f::COMPILE_CACHE, &["damaged"], lookups.damaged);
        fetches().show(&mut page);
        rollout_metrics::show(&self.rollouts, &mut page);
        for worker in &self.workers {
            worker.show(&mut page);
        }
        for cluster in &**self.clusters.load() {
            cluster.show(&mut page);
        }
        shared_metrics::show(&self.shared, &mut page);
        self.guests.show(&mut page);
        page.render()
    }
}
