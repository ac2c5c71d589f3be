//! What one plugin does in its VM on one worker: callbacks, hostcalls, contexts.

use std::sync::Arc;

use quanta::Clock;
use weir_abi::{Callback, ContextKind, Hostcall, Limit, Meter, Reason};

use super::cell::{CALLBACK_TIME, Counter, Samples};
use super::failures::Failures;
use super::family as f;
use super::figures::PluginFigures;
use super::page::Page;
use crate::rollout::Version;

const REASONS: [&str; 6] = ["trap", "stack", "memory", "deadline", "exit", "host"];

/// The numbers of one plugin of a VM on one worker.
#[derive(Debug)]
pub(super) struct PluginCells {
    vm_id: String,
    name: String,
    version: Version,
    /// By callback.
    callbacks: Vec<Samples>,
    /// By hostcall.
    hostcalls: [Counter; Hostcall::COUNT],
    roots: Counter,
    streams: Counter,
    local_responses: Counter,
    failures: [Counter; REASONS.len()],
    /// By limit, what was refused.
    limits: [Counter; Limit::ALL.len()],
    pub(super) last_failures: Failures,
}

impl PluginCells {
    pub(super) fn new(vm_id: &str, name: &str, version: Version) -> Arc<Self> {
        Arc::new(Self {
            vm_id: vm_id.to_owned(),
            name: name.to_owned(),
            version,
            callbacks: Callback::all()
                .map(|_| Samples::new(&CALLBACK_TIME))
                .collect(),
            hostcalls: [const { Counter::new() }; Hostcall::COUNT],
            roots: Counter::default(),
            streams: Counter::default(),
            local_responses: Counter::default(),
            failures: Default::default(),
            limits: Default::default(),
            last_failures: Failures::default(),
        })
    }

    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn failed(&self, reason: Reason) {
        let place = match reason {
            Reason::Trap => 0,
            Reason::Stack => 1,
            Reason::Memory => 2,
            Reason::Deadline => 3,
            Reason::Exit(_) => 4,
            Reason::Host => 5,
        };
        self.failures[place].add(1);
    }

    /// The plugin wanted more of something than it may have.
    pub(super) fn limit_reached(&self, limit: Limit) {
        self.limits[limit as usize].add(1);
    }

    /// Adds this worker's numbers to `sum`.
    pub(super) fn add_to(&self, sum: &mut PluginFigures) {
        sum.streams += self.streams.get();
        sum.local_responses += self.local_responses.get();
        sum.hostcalls += self.hostcalls.iter().map(Counter::get).sum::<u64>();
        if sum.failures.is_empty() {
            sum.failures = REASONS.iter().map(|reason| (*reason, 0)).collect();
        }
        for ((_, sum), count) in sum.failures.iter_mut().zip(&self.failures) {
            *sum += count.get();
        }
        for (callback, samples) in Callback::all().zip(&self.callbacks) {
            let snapshot = samples.snapshot();
            let known = sum
                .callbacks
                .iter_mut()
                .find(|(n, _)| *n == callback.name());
            match known {
                Some((_, known)) => known.add(&snapshot),
                None if snapshot.count() > 0 => sum.callbacks.push((callback.name(), snapshot)),
                None => {}
            }
        }
        sum.last_failures.extend(self.last_failures.kept());
        sum.last_failures
            .sort_by_key(|failure| std::cmp::Reverse(failure.at));
    }

    pub(super) fn show(&self, page: &mut Page) {
        let plugin = [&*self.vm_id, &*self.name, self.version.label()];
        let with = |label| [plugin[0], plugin[1], plugin[2], label];
        for (reason, count) in REASONS.iter().zip(&self.failures) {
            page.count(&f::VM_FAILURES, &with(reason), count.get());
        }
        for (limit, count) in Limit::ALL.iter().zip(&self.limits) {
            if count.get() > 0 {
                page.count(&f::LIMIT_REACHED, &with(limit.name()), count.get());
            }
        }
        // What a filter does not have or use, would only make the page longer.
        for (callback, samples) in Callback::all().zip(&self.callbacks) {
            let snapshot = samples.snapshot();
            if snapshot.count() > 0 {
                page.samples(&f::CALLBACK_SECONDS, &with(callback.name()), snapshot);
            }
        }
        for (hostcall, count) in Hostcall::all().zip(&self.hostcalls) {
            if count.get() > 0 {
                page.count(&f::HOSTCALLS, &with(hostcall.name()), count.get());
            }
        }
        page.level(&f::CONTEXTS_ACTIVE, &with("root"), self.roots.get());
        page.level(&f::CONTEXTS_ACTIVE, &with("stream"), self.streams.get());
        page.count(&f::LOCAL_RESPONSES, &plugin, self.local_responses.get());
    }
}

/// The [`Meter`] of a plugin.
#[derive(Debug)]
pub(super) struct PluginMeter {
    cells: Arc<PluginCells>,
    clock: Clock,
}

impl PluginMeter {
    pub(super) fn new(cells: Arc<PluginCells>) -> Self {
        Self {
            cells,
            clock: Clock::new(),
        }
    }

    fn contexts(&self, kind: ContextKind) -> &Counter {
        match kind {
            ContextKind::Root => &self.cells.roots,
            ContextKind::Stream => &self.cells.streams,
        }
    }
}

impl Meter for PluginMeter {
    /// The processor's own counter, where it can be relied upon: it is asked for several
    /// times in a request, and the system's clock takes two to three times as long.
    fn now(&self) -> u64 {
        self.clock.raw()
    }

    fn called(&self, callback: Callback, began: u64) -> u64 {
        let now = self.now();
        let nanos = self.clock.delta_as_nanos(began, now);
        self.cells.callbacks[callback.index()].record(nanos);
        now
    }

    fn hostcalls(&self, hostcall: Hostcall, count: u64) {
        self.cells.hostcalls[hostcall.index()].add(count);
    }

    fn context_created(&self, kind: ContextKind) {
        self.contexts(kind).add(1);
    }

    fn context_deleted(&self, kind: ContextKind) {
        self.contexts(kind).subtract(1);
    }

    fn local_response(&self) {
        self.cells.local_responses.add(1);
    }
}
