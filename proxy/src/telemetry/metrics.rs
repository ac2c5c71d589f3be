//! Metrics: each worker counts in cells of its own that no other thread writes;
//! a scrape adds them up.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};
use weir_abi::{Metric, MetricType, SharedState};

use super::{GuestMetrics, Reports, shared_metrics};
use crate::filter::FilterVmSpec;

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// The owning thread adds: a plain load and store, as nobody else writes.
    fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    fn subtract(&self, n: u64) {
        self.set(self.get().wrapping_sub(n));
    }

    fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's numbers.
#[derive(Debug, Default)]
pub(crate) struct WorkerMetrics {
    worker: usize,
    guests: Arc<GuestMetrics>,
    connections: Counter,
    active_connections: Counter,
    requests: Counter,
    /// By class of the response's status: 1xx to 5xx, and none.
    responses: [Counter; 6],
    upstream_requests: Counter,
    upstream_failures: Counter,
    vms: Mutex<Vec<Arc<VmCounters>>>,
}

/// The numbers of one VM on one worker.
#[derive(Debug, Default)]
pub(crate) struct VmCounters {
    worker: usize,
    guests: Arc<GuestMetrics>,
    vm_id: String,
    /// Names of its plugins.
    plugins: String,
    starts: Counter,
    failures: Counter,
    restarts: Counter,
    memory: Counter,
    crash_loop: Counter,
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
        self.connections.get() << 10 | (self.worker & 0x3ff) as u64
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.add(1);
        self.active_connections.add(1);
    }

    pub(crate) fn connection_closed(&self) {
        self.active_connections.subtract(1);
    }

    pub(crate) fn downstream_request(&self) {
        self.requests.add(1);
    }

    pub(crate) fn downstream_response(&self, code: Option<u16>) {
        let class = usize::from(code.unwrap_or(0) / 100).min(5);
        self.responses[class].add(1);
    }

    pub(crate) fn upstream_request(&self) {
        self.upstream_requests.add(1);
    }

    pub(crate) fn upstream_failure(&self) {
        self.upstream_failures.add(1);
    }

    /// Counters for a VM of this worker.
    pub(crate) fn vm(&self, spec: &FilterVmSpec) -> Arc<VmCounters> {
        let plugins: Vec<&str> = spec.plugins.iter().map(|p| &*p.plugin.name).collect();
        let counters = Arc::new(VmCounters {
            worker: self.worker,
            guests: Arc::clone(&self.guests),
            vm_id: spec.config.vm_id.clone(),
            plugins: plugins.join(","),
            ..VmCounters::default()
        });
        let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
        vms.push(Arc::clone(&counters));
        counters
    }
}

/// A VM's view of its counters.
#[derive(Debug, Default)]
pub(crate) struct VmMetrics {
    counters: Arc<VmCounters>,
    /// What of its failures is logged.
    pub(crate) reports: Reports,
}

impl VmMetrics {
    pub(crate) fn new(counters: Arc<VmCounters>) -> Self {
        Self {
            counters,
            reports: Reports::default(),
        }
    }

    /// Counters that nobody reads, for a VM that is only tried out.
    pub(crate) fn detached() -> Self {
        Self::default()
    }

    /// Number of the worker that it is on.
    pub(crate) fn worker(&self) -> usize {
        self.counters.worker
    }

    pub(crate) fn started(&self) {
        self.counters.starts.add(1);
    }

    pub(crate) fn failed(&self) {
        self.counters.failures.add(1);
    }

    pub(crate) fn restarted(&self) {
        self.counters.restarts.add(1);
    }

    /// Whether the VM fails again and again.
    pub(crate) fn crash_loop(&self, is_one: bool) {
        self.counters.crash_loop.set(is_one.into());
    }

    /// A metric that the VM's guest defines.
    pub(crate) fn define(&self, kind: MetricType, name: &str) -> Rc<dyn Metric> {
        self.counters
            .guests
            .define(self.counters.worker, kind, name)
    }

    pub(crate) fn memory(&self, bytes: usize) {
        self.counters.memory.set(bytes as u64);
    }
}

/// The numbers of all workers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics {
    workers: Vec<Arc<WorkerMetrics>>,
    guests: Arc<GuestMetrics>,
    shared: Arc<SharedState>,
}

impl Metrics {
    pub(crate) fn new(
        workers: Vec<Arc<WorkerMetrics>>,
        guests: Arc<GuestMetrics>,
        shared: Arc<SharedState>,
    ) -> Self {
        Self {
            workers,
            guests,
            shared,
        }
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> &Counter) -> u64 {
        self.workers.iter().map(|w| of(w).get()).sum()
    }

    /// All numbers in Prometheus' text format.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(crate) fn render(&self) -> prometheus::Result<String> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let plain = |name: &str, help: &str, value: u64| {
            counter(name, help, &[]).map(|c| c.with_label_values::<&str>(&[]).inc_by(value))
        };

        plain(
            "envoy_http_downstream_cx_total",
            "Connections from clients",
            self.sum(|w| &w.connections),
        )?;
        gauge(
            "envoy_http_downstream_cx_active",
            "Open connections from clients",
            &[],
        )?
        .with_label_values::<&str>(&[])
        .set(signed(self.sum(|w| &w.active_connections)));
        plain(
            "envoy_http_downstream_rq_total",
            "Requests from clients",
            self.sum(|w| &w.requests),
        )?;
        let responses = counter(
            "envoy_http_downstream_rq_xx",
            "Responses to clients by class of their status",
            &["envoy_response_code_class"],
        )?;
        for class in 1..=5usize {
            responses
                .with_label_values(&[&class.to_string()])
                .inc_by(self.sum(|w| &w.responses[class]));
        }
        plain(
            "envoy_cluster_upstream_rq_total",
            "Requests to endpoints",
            self.sum(|w| &w.upstream_requests),
        )?;
        plain(
            "weir_upstream_rq_failures_total",
            "Requests to endpoints that got no response",
            self.sum(|w| &w.upstream_failures),
        )?;
        self.render_vms(&counter, &gauge)?;
        shared_metrics::render(&self.shared, &counter, &gauge)?;
        let own = TextEncoder::new().encode_to_string(&registry.gather())?;
        Ok(own + &self.guests.render())
    }

    fn render_vms(
        &self,
        counter: &impl Fn(&str, &str, &[&str]) -> prometheus::Result<IntCounterVec>,
        gauge: &impl Fn(&str, &str, &[&str]) -> prometheus::Result<IntGaugeVec>,
    ) -> prometheus::Result<()> {
        let labels = ["vm_id", "plugins"];
        let starts = counter("weir_wasm_vm_starts_total", "VMs started", &labels)?;
        let failures = counter(
            "weir_wasm_vm_failures_total",
            "VMs ended by a failure",
            &labels,
        )?;
        let restarts = counter(
            "weir_wasm_vm_restarts_total",
            "VMs started again after a failure",
            &labels,
        )?;
        let memory = gauge(
            "weir_wasm_vm_memory_bytes",
            "Guest memory, all workers",
            &labels,
        )?;
        let crash_loop = gauge(
            "weir_wasm_vm_crash_loop",
            "Workers on which the VM fails again and again",
            &labels,
        )?;
        let mut bytes: HashMap<[String; 2], u64> = HashMap::new();
        for worker in &self.workers {
            let vms = worker.vms.lock().unwrap_or_else(PoisonError::into_inner);
            for vm in vms.iter() {
                let values = [&*vm.vm_id, &*vm.plugins];
                starts.with_label_values(&values).inc_by(vm.starts.get());
                failures
                    .with_label_values(&values)
                    .inc_by(vm.failures.get());
                restarts
                    .with_label_values(&values)
                    .inc_by(vm.restarts.get());
                crash_loop
                    .with_label_values(&values)
                    .add(signed(vm.crash_loop.get()));
                *bytes.entry(values.map(str::to_owned)).or_default() += vm.memory.get();
            }
        }
        for (values, bytes) in bytes {
            memory.with_label_values(&values).set(signed(bytes));
        }
        Ok(())
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
