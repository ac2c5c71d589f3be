//! What a filter's VM on one worker comes to: starts, failures, memory,
//! callouts.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use weir_abi::{DefineError, Failure, Limit, Meter, Metric, MetricType, Origin, Reason};

use super::cell::Counter;
use super::failures::FailureRecord;
use super::family as f;
use super::figures::{PluginFigures, VmFigures};
use super::page::Page;
use super::plugin_metrics::{PluginCells, PluginMeter};
use super::{GuestMetrics, Reports, tags};
use crate::filter::{FilterVmSpec, Worn};
use crate::limits::LIMIT_WARNING_INTERVAL;
use crate::rollout::Version;

/// What a filter asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalloutKind {
    Http,
    GrpcCall,
    GrpcStream,
    Dns,
}

const KINDS: [&str; 4] = ["http", "grpc_call", "grpc_stream", "dns"];

/// How a callout ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CalloutOutcome {
    /// The endpoint has answered, whatever it said.
    Answered,
    /// It cannot be reached, or its answer is no whole one.
    Failed,
    /// Its time was over.
    TimedOut,
    /// The filter or its VM let go of it.
    Cancelled,
    /// It was not made.
    Refused,
}

/// As in [`Worn`].
const RECYCLE_REASONS: [&str; 2] = ["memory", "streams"];

const OUTCOMES: [&str; 5] = ["answered", "failed", "timed_out", "cancelled", "refused"];

/// The numbers of one VM on one worker.
#[derive(Debug, Default)]
pub(super) struct VmCells {
    worker: usize,
    guests: Arc<GuestMetrics>,
    vm_id: String,
    version: Version,
    /// Names of its plugins.
    plugin_names: String,
    /// How Envoy's names begin for what becomes of each plugin's VM.
    envoy_names: BTreeSet<String>,
    starts: Counter,
    active: Counter,
    restarts: Counter,
    restart_failures: Counter,
    restart_backoffs: Counter,
    memory: Counter,
    crash_loop: Counter,
    recycles: [Counter; RECYCLE_REASONS.len()],
    callouts: [[Counter; OUTCOMES.len()]; KINDS.len()],
    active_callouts: [Counter; KINDS.len()],
    /// By name. Locked to start a plugin and to read, not to count.
    plugins: Mutex<Vec<Arc<PluginCells>>>,
}

impl VmCells {
    pub(super) fn new(worker: usize, guests: &Arc<GuestMetrics>, spec: &FilterVmSpec) -> Arc<Self> {
        Arc::new(Self {
            worker,
            guests: Arc::clone(guests),
            vm_id: spec.config.vm_id.clone(),
            version: spec.version,
            plugin_names: spec.plugin_names(),
            envoy_names: spec
                .plugins
                .iter()
                .map(|p| envoy_name(&p.plugin.name))
                .collect(),
            ..Self::default()
        })
    }

    /// Whether these are the numbers of such a VM, whichever generation it is of.
    pub(super) fn is_of(&self, spec: &FilterVmSpec) -> bool {
        self.vm_id == spec.config.vm_id
            && self.version == spec.version
            && self.plugin_names == spec.plugin_names()
    }

    fn plugin(&self, name: &str) -> Arc<PluginCells> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cells) = plugins.iter().find(|p| p.is_of(name)) {
            return Arc::clone(cells);
        }
        let cells = PluginCells::new(&self.vm_id, name, self.version);
        plugins.push(Arc::clone(&cells));
        cells
    }

    /// Adds this worker's numbers to `sum`.
    pub(super) fn add_to(&self, sum: &mut VmFigures) {
        sum.vms += self.active.get();
        sum.memory.push(self.memory.get());
        sum.restarts += self.restarts.get();
        sum.crash_loops += self.crash_loop.get();
        sum.recycles += self.recycles.iter().map(Counter::get).sum::<u64>();
        sum.callouts_active += self.active_callouts.iter().map(Counter::get).sum::<u64>();
    }

    /// Adds this worker's numbers of the plugin of that name to `sum`.
    pub(super) fn add_plugin_to(&self, name: &str, sum: &mut PluginFigures) {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let plugin = plugins.iter().find(|p| p.is_of(name));
        plugin.iter().for_each(|plugin| plugin.add_to(sum));
    }

    pub(super) fn show(&self, page: &mut Page) {
        page.count(&f::RUNTIME_CREATED, &[], self.starts.get());
        page.level(&f::RUNTIME_ACTIVE, &[], self.active.get());
        let vm = [&*self.vm_id, &*self.plugin_names, self.version.label()];
        page.count(&f::VM_STARTS, &vm, self.starts.get());
        page.level(&f::VM_ACTIVE, &vm, self.active.get());
        page.level(&f::VM_MEMORY, &vm, self.memory.get());
        page.count(&f::VM_RESTARTS, &vm, self.restarts.get());
        page.count(&f::VM_RESTART_FAILURES, &vm, self.restart_failures.get());
        page.count(&f::VM_RESTART_BACKOFFS, &vm, self.restart_backoffs.get());
        for name in &self.envoy_names {
            for (what, help, count) in [
                ("success", f::VM_RESTARTS.help, &self.restarts),
                (
                    "failure",
                    f::VM_RESTART_FAILURES.help,
                    &self.restart_failures,
                ),
                (
                    "backoff",
                    f::VM_RESTART_BACKOFFS.help,
                    &self.restart_backoffs,
                ),
            ] {
                page.count_for_plugin(format!("{name}_{what}"), help, count.get());
            }
        }
        page.level(&f::VM_CRASH_LOOP, &vm, self.crash_loop.get());
        for (reason, recycles) in RECYCLE_REASONS.iter().zip(&self.recycles) {
            page.count(
                &f::VM_RECYCLES,
                &[vm[0], vm[1], vm[2], reason],
                recycles.get(),
            );
        }
        for ((kind, counts), active) in KINDS.iter().zip(&self.callouts).zip(&self.active_callouts)
        {
            let active = active.get();
            let ended: u64 = counts.iter().map(Counter::get).sum();
            // Most filters make none.
            if active + ended == 0 {
                continue;
            }
            page.level(&f::CALLOUTS_ACTIVE, &[vm[0], vm[1], vm[2], kind], active);
            for (outcome, count) in OUTCOMES.iter().zip(counts) {
                let labels = [vm[0], vm[1], vm[2], kind, outcome];
                page.count(&f::CALLOUTS, &labels, count.get());
            }
        }
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        for plugin in plugins.iter() {
            plugin.show(page);
        }
    }
}

/// As in Envoy's page for Prometheus, where a plugin's name is no label.
fn envoy_name(plugin: &str) -> String {
    tags::clean(&format!("envoy_wasm_{plugin}_vm_reload"), |_| false)
}

/// A VM's view of its numbers.
#[derive(Debug, Default)]
pub(crate) struct VmMetrics {
    cells: Arc<VmCells>,
    /// What of its failures is logged.
    pub(crate) reports: Reports,
    /// When the log last told of each limit that was reached.
    told: [Cell<Option<Instant>>; Limit::ALL.len()],
    /// What it adds to the levels in `cells`, which several VMs may share.
    memory: Cell<u64>,
    crash_loop: Cell<u64>,
}

/// Has `level` go from what `part` was to what it is now.
fn level(level: &Counter, part: &Cell<u64>, now: u64) {
    let before = part.replace(now);
    level.set(level.get().wrapping_sub(before).wrapping_add(now));
}

impl Drop for VmMetrics {
    fn drop(&mut self) {
        self.memory(0);
        self.crash_loop(false);
    }
}

impl VmMetrics {
    pub(super) fn new(cells: Arc<VmCells>) -> Self {
        Self {
            cells,
            reports: Reports::default(),
            told: Default::default(),
            memory: Cell::default(),
            crash_loop: Cell::default(),
        }
    }

    /// Keeps a failure to be shown.
    pub(crate) fn keep(&self, origin: Origin<'_>, failure: &Failure, request_id: Option<&str>) {
        let record = FailureRecord::new(self.worker(), origin, failure, request_id);
        self.cells.plugin(origin.plugin).last_failures.keep(record);
    }

    /// Number of the worker that it is on.
    pub(crate) fn worker(&self) -> usize {
        self.cells.worker
    }

    /// Numbers that nobody reads, for a VM that is only tried out.
    pub(crate) fn detached() -> Self {
        Self::default()
    }

    /// A VM has started, and takes calls as long as the guard lives.
    pub(crate) fn started(&self) -> RunningVm {
        self.cells.starts.add(1);
        self.cells.active.add(1);
        RunningVm(Arc::clone(&self.cells))
    }

    /// Whether the VM fails again and again.
    pub(crate) fn crash_loop(&self, is_one: bool) {
        level(&self.cells.crash_loop, &self.crash_loop, is_one.into());
    }

    /// Another VM has taken the place of one that was worn.
    pub(crate) fn recycled(&self, worn: Worn) {
        self.cells.recycles[worn as usize].add(1);
    }

    /// A callback of `plugin` has ended the VM.
    pub(crate) fn failed(&self, plugin: &str, reason: Reason) {
        self.cells.plugin(plugin).failed(reason);
    }

    /// `plugin` wanted more of something than it may have. Whether it is time to
    /// tell of it.
    pub(crate) fn limit_reached(&self, plugin: &str, limit: Limit) -> bool {
        self.cells.plugin(plugin).limit_reached(limit);
        let (now, told) = (Instant::now(), &self.told[limit as usize]);
        let long_ago = |last| now.saturating_duration_since(last) >= LIMIT_WARNING_INTERVAL;
        let due = told.get().is_none_or(long_ago);
        if due {
            told.set(Some(now));
        }
        due
    }

    /// The VM has started again, or not.
    pub(crate) fn restarted(&self, started: bool) {
        let VmCells {
            restarts,
            restart_failures,
            ..
        } = &*self.cells;
        (if started { restarts } else { restart_failures }).add(1);
    }

    /// It was too early to start again.
    pub(crate) fn backed_off(&self) {
        self.cells.restart_backoffs.add(1);
    }

    /// A metric that the VM's guest defines.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn define(
        &self,
        kind: MetricType,
        name: &str,
    ) -> Result<Rc<dyn Metric>, DefineError> {
        self.cells
            .guests
            .define(self.cells.worker, self.cells.version, kind, name)
    }

    /// What counts for `plugin`.
    pub(crate) fn meter(&self, plugin: &str) -> Rc<dyn Meter> {
        Rc::new(PluginMeter::new(self.cells.plugin(plugin)))
    }

    pub(crate) fn memory(&self, bytes: usize) {
        level(&self.cells.memory, &self.memory, bytes as u64);
    }

    /// Counts a callout that is under way as long as the record lives.
    pub(crate) fn callout(self: &Rc<Self>, kind: CalloutKind) -> CalloutRecord {
        self.cells.active_callouts[kind as usize].add(1);
        CalloutRecord {
            metrics: Rc::clone(self),
            kind,
            outcome: CalloutOutcome::Cancelled,
        }
    }

    /// A callout was not made.
    pub(crate) fn callout_refused(&self, kind: CalloutKind) {
        self.cells.callouts[kind as usize][CalloutOutcome::Refused as usize].add(1);
    }
}

/// A VM that takes calls.
#[derive(Debug)]
pub(crate) struct RunningVm(Arc<VmCells>);

impl Drop for RunningVm {
    fn drop(&mut self) {
        self.0.active.subtract(1);
    }
}

/// A callout under way; cancelled, if nothing else is said.
#[derive(Debug)]
pub(crate) struct CalloutRecord {
    metrics: Rc<VmMetrics>,
    kind: CalloutKind,
    outcome: CalloutOutcome,
}

impl CalloutRecord {
    /// It is over.
    pub(crate) fn end(mut self, outcome: CalloutOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for CalloutRecord {
    fn drop(&mut self) {
        let cells = &self.metrics.cells;
        cells.active_callouts[self.kind as usize].subtract(1);
        cells.callouts[self.kind as usize][self.outcome as usize].add(1);
    }
}
