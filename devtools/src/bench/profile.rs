//! [`Prices`]: what was measured, and who measures it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weir_abi::{Callback, ContextId, ContextKind, Hostcall, Meter, SeenCall, Watch};

use crate::measure::Samples;

/// What was measured of a filter so far.
#[derive(Debug, Default)]
pub(super) struct Prices {
    pub(super) instantiate: Samples,
    pub(super) configure: Samples,
    /// All that the filter does on a stream, from its begin to its end.
    pub(super) stream: Samples,
    pub(super) callbacks: BTreeMap<&'static str, Used>,
    pub(super) hostcalls: BTreeMap<&'static str, Used>,
    /// Streams whose hostcalls and allocations were counted.
    pub(super) streams: u64,
    /// Calls of the module's allocator by the host, and their bytes, on these streams.
    pub(super) allocations: u64,
    pub(super) allocated: u64,
    pub(super) memory_of_vm: u64,
    pub(super) memory_of_stream: u64,
}

/// Something that is called.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) samples: Samples,
    /// Calls on the streams that were counted.
    pub(super) in_streams: u64,
}

/// Measures callbacks, with what the host does for them.
#[derive(Default)]
pub(super) struct Callbacks {
    started: Cell<Option<Instant>>,
    taken: RefCell<Vec<(&'static str, Duration)>>,
}

impl Callbacks {
    pub(super) fn take(&self) -> Vec<(&'static str, Duration)> {
        self.taken.take()
    }
}

impl Meter for Callbacks {
    fn now(&self) -> u64 {
        self.started.set(Some(Instant::now()));
        0
    }

    fn called(&self, callback: Callback, _began: u64) -> u64 {
        let now = Instant::now();
        if let Some(started) = self.started.replace(Some(now)) {
            let took = now.saturating_duration_since(started);
            self.taken.borrow_mut().push((callback.name(), took));
        }
        0
    }

    fn hostcalls(&self, _hostcall: Hostcall, _count: u64) {}

    fn context_created(&self, _kind: ContextKind) {}

    fn context_deleted(&self, _kind: ContextKind) {}

    fn local_response(&self) {}
}

/// Measures hostcalls: what the host takes for them, and the guest's allocator.
#[derive(Default)]
pub(super) struct Hostcalls {
    /// One within another: an allocator may log.
    open: RefCell<Vec<Instant>>,
    taken: RefCell<Vec<(&'static str, Duration)>>,
    allocations: Cell<u64>,
    allocated: Cell<u64>,
}

impl Hostcalls {
    /// What was seen since this was asked last: hostcalls, allocations, bytes.
    pub(super) fn take(&self) -> (Vec<(&'static str, Duration)>, u64, u64) {
        (
            self.taken.take(),
            self.allocations.take(),
            self.allocated.take(),
        )
    }
}

impl Watch for Hostcalls {
    fn called(&self, _context: ContextId, _name: &'static str, _arguments: &[u32]) {
        self.open.borrow_mut().clear();
    }

    fn returned(&self, _context: ContextId, _name: &'static str, _result: Option<u32>) {}

    fn entered(&self, _hostcall: Hostcall) {
        self.open.borrow_mut().push(Instant::now());
    }

    fn hostcall(&self, call: &SeenCall<'_>) {
        let began = self.open.borrow_mut().pop();
        if let Some(began) = began {
            let took = began.elapsed();
            self.taken.borrow_mut().push((call.hostcall.name(), took));
        }
    }

    fn allocated(&self, bytes: u32) {
        self.allocations.set(self.allocations.get() + 1);
        self.allocated.set(self.allocated.get() + u64::from(bytes));
    }
}
