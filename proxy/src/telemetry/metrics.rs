//! Metrics: each worker counts in cells of its own that no other thread writes;
//! a scrape adds them up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use weir_abi::SharedState;
use weir_config::Address;

use super::cell::Counter;
use super::discovery_metrics::{self, ControlPlane};
use super::family as f;
use super::fetch_metrics::fetches;
use super::figures::{ClusterFigures, ListenerFigures, PluginFigures, VmFigures};
use super::http_metrics::{ClusterMetrics, ListenerMetrics};
use super::istio_metrics::IstioCells;
use super::memory;
use super::page::Page;
use super::rbac_metrics::{RbacCells, RbacScope};
use super::rollout_metrics;
use super::shared_metrics;
use super::span_metrics::spans;
use super::stats::{self, StatsQuery};
use super::vm_metrics::{VmCells, VmMetrics};
use super::{Generations, GuestMetrics};
use crate::cluster::Clusters;
use crate::compile_cache::CompileCache;
use crate::filter::FilterVmSpec;
use crate::health::State;
use crate::rollout::Rollouts;

/// One worker's numbers.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    worker: usize,
    guests: Arc<GuestMetrics>,
    connections: Counter,
    istio: Arc<IstioCells>,
    /// Locked when the worker starts and to read, not to count.
    parts: Mutex<Parts>,
}

/// What a worker has numbers of.
#[derive(Debug, Default)]
struct Parts {
    listeners: Vec<Arc<ListenerMetrics>>,
    clusters: Vec<Arc<ClusterMetrics>>,
    rbac: Vec<Arc<RbacCells>>,
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

    /// Where this worker counts for Istio.
    pub(crate) fn istio(&self) -> Arc<IstioCells> {
        Arc::clone(&self.istio)
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
        address: &Address,
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

    /// Numbers of policies on this worker.
    pub(crate) fn rbac(&self, scope: &RbacScope) -> Arc<RbacCells> {
        self.with_parts(|parts| {
            let same = parts.rbac.iter().find(|cells| cells.is_of(scope));
            same.cloned().unwrap_or_else(|| {
                let cells = RbacCells::new(scope);
                parts.rbac.push(Arc::clone(&cells));
                cells
            })
        })
    }

    fn show(&self, page: &mut Page) {
        self.istio.show(page);
        self.with_parts(|parts| {
            parts.listeners.iter().for_each(|l| l.show(page));
            parts.clusters.iter().for_each(|c| c.show(page));
            parts.rbac.iter().for_each(|rbac| rbac.show(page));
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
    pub(crate) control_plane: ControlPlane,
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
            control_plane: ControlPlane::default(),
            started: Instant::now(),
        }
    }

    /// How long the process has been there.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// How many workers there are.
    pub(crate) fn concurrency(&self) -> usize {
        self.workers.len()
    }

    /// What the VMs of `spec` come to.
    pub(crate) fn vm(&self, spec: &FilterVmSpec) -> VmFigures {
        let mut sum = VmFigures::default();
        self.each_vm(spec, |vm| vm.add_to(&mut sum));
        sum
    }

    /// What the plugin of that name comes to in the VMs of `spec`.
    pub(crate) fn plugin(&self, spec: &FilterVmSpec, name: &str) -> PluginFigures {
        let mut sum = PluginFigures::default();
        self.each_vm(spec, |vm| vm.add_plugin_to(name, &mut sum));
        sum
    }

    fn each_vm(&self, spec: &FilterVmSpec, mut each: impl FnMut(&VmCells)) {
        for worker in &self.workers {
            worker.with_parts(|parts| {
                let vms = parts.vms.iter().filter(|vm| vm.is_of(spec));
                vms.for_each(|vm| each(vm));
            });
        }
    }

    /// What a listener comes to, if a worker has it by now.
    pub(crate) fn listener(
        &self,
        name: &str,
        address: &Address,
        tcp: bool,
    ) -> Option<ListenerFigures> {
        let address = address.to_string();
        let of_worker = |worker: &Arc<WorkerMetrics>| {
            worker.with_parts(|parts| {
                let mut all = parts.listeners.iter();
                all.find(|l| l.is_of(name, &address, tcp)).cloned()
            })
        };
        let all = self.workers.iter().filter_map(of_worker);
        all.fold(None, |sum, listener| Some(listener.add_to(sum)))
    }

    /// What a cluster comes to, if a worker has it by now.
    pub(crate) fn cluster(&self, name: &str) -> Option<ClusterFigures> {
        let of_worker = |worker: &Arc<WorkerMetrics>| {
            worker.with_parts(|parts| parts.clusters.iter().find(|c| c.is_of(name)).cloned())
        };
        let all = self.workers.iter().filter_map(of_worker);
        all.fold(None, |sum, cluster| Some(cluster.add_to(sum)))
    }

    /// All numbers in Prometheus' text format.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn render(&self, state: State, query: &StatsQuery) -> prometheus::Result<String> {
        let mut page = self.page(state);
        page.retain(|stat| query.wants(stat));
        page.render()
    }

    /// All numbers as Envoy tells them, a line each.
    pub(crate) fn stats(&self, state: State, query: &StatsQuery) -> String {
        stats::text(&self.page(state), query)
    }

    /// The same as JSON.
    pub(crate) fn stats_json(&self, state: State, query: &StatsQuery) -> Json {
        stats::json(&self.page(state), query)
    }

    fn page(&self, state: State) -> Page {
        let mut page = Page::default();
        page.level(&f::SERVER_LIVE, &[], (state == State::Live).into());
        page.level(&f::SERVER_STATE, &[], state as u64);
        let started = state != State::Initializing;
        page.level(&f::WORKERS_STARTED, &[], started.into());
        page.level(&f::SERVER_CX, &[], 0);
        page.level(&f::SERVER_UPTIME, &[], self.started.elapsed().as_secs());
        page.level(&f::SERVER_CONCURRENCY, &[], self.workers.len() as u64);
        memory::show(&mut page);
        page.level(&f::BUILD, &[env!("CARGO_PKG_VERSION")], 1);
        self.generations.show(&mut page);
        let lookups = self.compile_cache.lookups();
        page.count(&f::COMPILE_CACHE, &["hit"], lookups.hits);
        page.count(&f::COMPILE_CACHE, &["miss"], lookups.misses);
        page.count(&f::COMPILE_CACHE, &["damaged"], lookups.damaged);
        fetches().show(&mut page);
        rollout_metrics::show(&self.rollouts, &mut page);
        spans().show(&mut page);
        if let Some(counters) = self.control_plane.get() {
            discovery_metrics::show(counters, &mut page);
        }
        for worker in &self.workers {
            worker.show(&mut page);
        }
        for cluster in &**self.clusters.load() {
            cluster.show(&mut page);
        }
        shared_metrics::show(&self.shared, &mut page);
        self.guests.show(&mut page);
        page
    }
}
