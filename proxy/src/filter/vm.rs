//! [`FilterVm`]: the VM of one or more plugins on one worker. When it fails,
//! another takes its place as the plugin's policy says; one that has grown too
//! large, or served long enough, is replaced too, and ends with its streams. With
//! isolation of streams, each gets a VM of its own instead.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use weir_abi::{ContextId, Vm};
use weir_config::FailurePolicy;

use super::Admission;
use super::pool::{Pool, Returned};
use super::recovery::Recovery;
use super::spec::{Cause, FilterVmSpec, Live, StartError};
use crate::limits::{POOL_LOOKS, RECYCLE_DRAIN};
use crate::telemetry::VmMetrics;
use crate::worker::Latest;

/// The VM of one or more plugins on one worker.
pub(crate) struct FilterVm {
    spec: Arc<FilterVmSpec>,
    worker: Option<Rc<Latest>>,
    /// Streams go here; one that has failed stays until it is replaced.
    live: RefCell<Option<Live>>,
    /// Started and configured, to take the place of `live` at once.
    spare: RefCell<Option<Live>>,
    /// VMs that have been replaced, and end with their streams.
    retired: RefCell<Vec<(Live, Instant)>>,
    /// With isolation of streams, they go here; `live` ticks.
    pool: Pool,
    /// The failure of `live` is in the books.
    counted: Cell<bool>,
    /// Why the last one is not there any more.
    cause: Cell<Cause>,
    started: Cell<Instant>,
    recovery: RefCell<Recovery>,
    metrics: Rc<VmMetrics>,
}

impl FilterVm {
    /// Starts a VM on this worker, to take its place with [`FilterVm::promote`].
    pub(crate) fn start(
        spec: Arc<FilterVmSpec>,
        metrics: Rc<VmMetrics>,
        worker: Option<Rc<Latest>>,
    ) -> Result<Self, StartError> {
        let live = match spec.start(&metrics, worker.clone()) {
            Ok(live) => Some(live),
            Err(error) => {
                spec.go_on_without(error)?;
                metrics.restarted(false);
                None
            }
        };
        let shortest = |a, b| if a < b { a } else { b };
        let intervals = spec.plugins.iter();
        let intervals = intervals.map(|p| (p.reload_interval, p.reload_interval_max));
        let (base, max) = intervals.reduce(shortest).unwrap_or_default();
        let mut recovery = Recovery::new(base, max);
        if live.is_none() {
            recovery.failed(true, Instant::now());
        }
        Ok(Self {
            spec,
            worker,
            counted: Cell::new(live.is_none()),
            cause: Cell::new(Cause::Configure),
            live: RefCell::new(live),
            spare: RefCell::default(),
            retired: RefCell::default(),
            pool: Pool::default(),
            started: Cell::new(Instant::now()),
            recovery: RefCell::new(recovery),
            metrics,
        })
    }

    /// Streams come from now on: what the VM has asked for begins. Has no effect a
    /// second time.
    pub(crate) fn promote(&self) {
        self.spec.config.shared.set_limits(self.spec.shared_limits);
        self.live.borrow().iter().for_each(Live::promote);
    }

    /// Name of one of its plugins.
    pub(super) fn plugin_name(&self, plugin: usize) -> &str {
        &self.spec.plugins[plugin].plugin.name
    }

    /// Whether it is made from `spec`.
    pub(crate) fn is_of(&self, spec: &Arc<FilterVmSpec>) -> bool {
        Arc::ptr_eq(&self.spec, spec)
    }

    pub(super) fn admit(self: &Rc<Self>, plugin: usize) -> Admission {
        if self.spec.is_isolated() {
            return self.lend(plugin);
        }
        if let Some((vm, root)) = self.in_live(plugin) {
            return Admission::Run(vm, root);
        }
        let now = Instant::now();
        self.count_failure(now);
        let spec = &self.spec.plugins[plugin];
        let restart = match spec.policy_after(self.cause.get()) {
            Some(FailurePolicy::Open) => return Admission::PassBy,
            Some(FailurePolicy::Closed) => false,
            Some(FailurePolicy::Reload) => {
                let passed = now.saturating_duration_since(self.started.get());
                let due = passed >= spec.reload_interval;
                if !due {
                    self.metrics.backed_off();
                }
                due
            }
            // Weir's own way: the failed request bears it, the next one does not.
            None => {
                let due = self.recovery.borrow().may_start(now);
                if !due {
                    self.metrics.backed_off();
                }
                due
            }
        };
        if restart {
            self.restart(now);
        }
        self.in_live(plugin)
            .map_or(Admission::Refuse, |(vm, root)| Admission::Run(vm, root))
    }

    /// A VM that the stream has to itself. Another one's failure is none of its
    /// business, unless they all fail.
    fn lend(&self, plugin: usize) -> Admission {
        let now = Instant::now();
        self.take_back(POOL_LOOKS, now);
        if !self.recovery.borrow().may_start(now) {
            self.metrics.backed_off();
            return self.refusal(plugin);
        }
        let live = match self.pool.take() {
            Some(live) => Ok(live),
            None => self.spec.start(&self.metrics, self.worker.clone()),
        };
        match live {
            Ok(live) => {
                // One that cannot be kept serves one stream and no other.
                live.keep();
                let run = Admission::Run(Rc::clone(&live.vm), live.roots[plugin]);
                self.pool.lend(live);
                run
            }
            Err(error) => {
                self.not_started(&error, now);
                self.refusal(plugin)
            }
        }
    }

    fn take_back(&self, count: usize, now: Instant) {
        self.pool.take_back(count, |returned| match returned {
            Returned::Served => {
                let mut recovery = self.recovery.borrow_mut();
                if recovery.is_crash_loop() {
                    self.metrics.crash_loop(false);
                }
                recovery.succeeded();
            }
            Returned::Failed(cause) => {
                self.cause.set(cause);
                self.metrics.restarted(true);
                self.failed(true, now);
            }
        });
    }

    /// What a stream gets without a VM.
    fn refusal(&self, plugin: usize) -> Admission {
        match self.spec.plugins[plugin].policy_after(self.cause.get()) {
            Some(FailurePolicy::Open) => Admission::PassBy,
            Some(FailurePolicy::Closed | FailurePolicy::Reload) | None => Admission::Refuse,
        }
    }

    fn not_started(&self, error: &StartError, now: Instant) {
        self.cause.set(Cause::Configure);
        self.metrics.restarted(false);
        // One that has failed while it started has been counted.
        if !matches!(
            error,
            StartError::Plugin {
                failure: Some(_),
                ..
            }
        ) {
            self.spec.failures.fetch_add(1, Ordering::Relaxed);
        }
        tracing::error!(
            vm_id = self.spec.config.vm_id,
            "filter VM does not start again: {error}"
        );
        self.failed(true, now);
    }

    /// Enters the failure of the VM into the books, once.
    fn count_failure(&self, now: Instant) {
        if self.counted.replace(true) {
            return;
        }
        let fruitful = |live: &Live| live.vm.completed_streams() > 0;
        let fruitless = {
            let live = self.live.borrow();
            if let Some(failure) = live.as_ref().and_then(|live| live.vm.failure()) {
                self.cause.set(failure.reason.into());
            }
            !live.as_ref().is_some_and(fruitful)
        };
        self.failed(fruitless, now);
    }

    fn failed(&self, fruitless: bool, now: Instant) {
        let mut recovery = self.recovery.borrow_mut();
        let before = recovery.is_crash_loop();
        recovery.failed(fruitless, now);
        if recovery.is_crash_loop() && !before {
            tracing::error!(
                vm_id = self.spec.config.vm_id,
                "filter VM fails again and again: it is started at growing intervals now"
            );
        }
        self.metrics.crash_loop(recovery.is_crash_loop());
    }

    pub(super) fn running(&self, plugin: usize) -> Option<(Rc<Vm>, ContextId)> {
        if self.spec.is_isolated() {
            return match self.lend(plugin) {
                Admission::Run(vm, root) => Some((vm, root)),
                Admission::PassBy | Admission::Refuse => None,
            };
        }
        self.in_live(plugin)
    }

    fn in_live(&self, plugin: usize) -> Option<(Rc<Vm>, ContextId)> {
        let live = self.live.borrow();
        let live = live.as_ref().filter(|l| l.vm.failure().is_none())?;
        Some((Rc::clone(&live.vm), live.roots[plugin]))
    }

    /// Another VM takes the place of the one that has failed.
    fn restart(self: &Rc<Self>, now: Instant) {
        self.live.take();
        self.started.set(now);
        let healthy = |live: &Live| live.vm.failure().is_none();
        let spare = self.spare.take().filter(healthy);
        let live = match spare {
            Some(spare) => Ok(spare),
            None => self.spec.start(&self.metrics, self.worker.clone()),
        };
        match live {
            Ok(live) => {
                live.promote();
                self.metrics.restarted(true);
                self.live.replace(Some(live));
                self.counted.set(false);
                if !self.recovery.borrow().is_crash_loop() {
                    self.prepare_spare();
                }
            }
            Err(error) => self.not_started(&error, now),
        }
    }

    /// Has a spare made when nothing else is to be done, if one is wanted.
    fn prepare_spare(self: &Rc<Self>) {
        if !self.wants_spare() {
            return;
        }
        let vm = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            tokio::task::yield_now().await;
            if let Some(vm) = vm.upgrade() {
                vm.equip();
            }
        });
    }

    /// Makes a spare, if one is wanted.
    pub(crate) fn equip(&self) {
        if self.wants_spare() {
            self.make_spare();
        }
    }

    /// One that has ended wants none.
    fn wants_spare(&self) -> bool {
        let wanted = self.spec.plugins.iter().any(|plugin| plugin.spare);
        let there = self.worker.is_some() && self.live.borrow().is_some();
        wanted && there && !self.spec.is_isolated()
    }

    fn make_spare(&self) {
        if self.spare.borrow().is_some() {
            return;
        }
        match self.spec.start(&self.metrics, self.worker.clone()) {
            Ok(spare) => {
                self.spare.replace(Some(spare));
            }
            Err(error) => tracing::warn!(
                vm_id = self.spec.config.vm_id,
                "no spare VM for a filter: {error}"
            ),
        }
    }

    /// Looks after the VM: publishes the size of its memory, takes note of its
    /// success, replaces it when it is worn, and ends those that were.
    pub(crate) fn look_after(self: &Rc<Self>) {
        self.metrics.memory(self.memory());
        if self.spec.is_isolated() {
            self.take_back(self.pool.len(), Instant::now());
            self.revive();
        } else {
            self.end_crash_loop();
            self.recycle();
        }
        self.end_retired(Instant::now());
    }

    /// Bytes of guest memory, of all its instances.
    pub(crate) fn memory(&self) -> usize {
        let (live, spare) = (self.live.borrow(), self.spare.borrow());
        let retired = self.retired.borrow();
        let all = live.iter().chain(spare.iter());
        let all = all.chain(retired.iter().map(|(live, _)| live));
        let memory: usize = all.map(|l| l.vm.memory_size()).sum();
        memory + self.pool.memory()
    }

    /// Without streams, nobody else asks for a VM that ticks.
    fn revive(self: &Rc<Self>) {
        let now = Instant::now();
        if self.in_live(0).is_none() {
            self.count_failure(now);
            if self.recovery.borrow().may_start(now) {
                self.restart(now);
            }
        }
    }

    fn end_crash_loop(self: &Rc<Self>) {
        let fruitful = |l: &Live| l.vm.failure().is_none() && l.vm.completed_streams() > 0;
        let runs = self.live.borrow().as_ref().is_some_and(fruitful);
        if runs && self.recovery.borrow().is_crash_loop() {
            self.recovery.borrow_mut().succeeded();
            self.metrics.crash_loop(false);
            self.prepare_spare();
        }
    }

    /// Replaces a VM that is worn. Its streams end in it.
    fn recycle(self: &Rc<Self>) {
        let worn = |l: &Live| {
            let healthy = l.vm.failure().is_none();
            l.worn(&self.spec.plugins).filter(|_| healthy)
        };
        let Some(worn) = self.live.borrow().as_ref().and_then(worn) else {
            return;
        };
        self.make_spare();
        // Without another one, it goes on.
        if let Some(spare) = self.spare.take() {
            spare.promote();
            self.metrics.recycled(worn);
            let old = self.live.replace(Some(spare));
            let now = Instant::now();
            self.retired.borrow_mut().extend(old.map(|old| (old, now)));
            self.prepare_spare();
        }
    }

    /// Ends the VMs that have been replaced, when their streams have ended or
    /// have had long enough.
    fn end_retired(&self, now: Instant) {
        let over = |(live, since): &mut (Live, Instant)| {
            live.is_idle() || now.saturating_duration_since(*since) >= RECYCLE_DRAIN
        };
        let ended: Vec<_> = self.retired.borrow_mut().extract_if(.., over).collect();
        ended.iter().for_each(|(live, _)| live.stop());
    }

    /// Ends the root contexts.
    pub(crate) fn stop(&self) {
        self.pool.stop();
        let (live, spare) = (self.live.take(), self.spare.take());
        let retired = self.retired.take();
        let all = live.iter().chain(&spare);
        all.chain(retired.iter().map(|(live, _)| live))
            .for_each(Live::stop);
    }
}
