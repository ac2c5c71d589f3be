//! [`TestHost`]: what a filter has of the proxy besides its streams.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, ContextId, DefineError, DnsToken, Failure, GrpcCall,
    GrpcStart, GrpcStream, Host, HttpCall, LogLevel, Meter, Metric, MetricType, Origin,
    PluginConfig, Property, PropertyError, QueueConsumer, Stream, Unsupported, Watch,
};

use super::Setup;
use super::callout::{Callout, CalloutRequest, GrpcSent};
use super::metric::Metrics;
use super::view::{Properties, dotted};
use crate::trace::Tracer;

/// A line that a filter has logged.
#[derive(Debug, Clone)]
pub(crate) struct LogLine {
    pub(crate) level: LogLevel,
    pub(crate) message: String,
}

impl LogLine {
    /// The line as a report has it.
    pub(crate) fn shown(&self) -> String {
        format!("    {:8} {}\n", self.level, self.message)
    }
}

struct Tick {
    period: Duration,
    due: Duration,
}

/// Items that have come into queues: who is to be told, and of which queue.
type QueueItems = Arc<Mutex<Vec<(ContextId, u32)>>>;

/// The [`Host`] of a filter under test.
pub(crate) struct TestHost {
    log_level: LogLevel,
    now: Cell<Duration>,
    log: RefCell<Vec<LogLine>>,
    ticks: RefCell<BTreeMap<ContextId, Tick>>,
    pub(crate) metrics: Metrics,
    callouts: RefCell<Vec<Callout>>,
    clusters: Option<Vec<String>>,
    properties: Properties,
    only_properties: Option<BTreeMap<String, Bytes>>,
    queue_items: QueueItems,
    observer: Observer,
}

/// Who looks on at what a filter does.
pub(crate) enum Observer {
    Nobody,
    Tracer(Rc<Tracer>),
    Watch(Rc<dyn Watch>),
    Meter(Rc<dyn Meter>),
}

impl Observer {
    /// With `trace`, all that passes between host and filter is written down.
    pub(crate) fn tracing(trace: bool) -> Self {
        match trace {
            true => Self::Tracer(Rc::default()),
            false => Self::Nobody,
        }
    }
}

impl TestHost {
    /// A host that nobody looks on at.
    pub(crate) fn new(setup: &Setup) -> Rc<Self> {
        Self::observed(setup, Observer::Nobody)
    }

    /// A host that somebody looks on at.
    pub(crate) fn observed(setup: &Setup, observer: Observer) -> Rc<Self> {
        Rc::new(Self {
            log_level: setup.log_level,
            now: Cell::new(setup.now),
            log: RefCell::default(),
            ticks: RefCell::default(),
            metrics: Metrics::default(),
            callouts: RefCell::default(),
            clusters: setup.clusters.clone(),
            properties: setup.properties.clone(),
            only_properties: setup.only_properties.clone(),
            queue_items: QueueItems::default(),
            observer,
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.now.get()
    }

    pub(super) fn set_now(&self, now: Duration) {
        self.now.set(now);
    }

    /// What was logged since this was asked last.
    pub(crate) fn take_log(&self) -> Vec<LogLine> {
        self.log.take()
    }

    /// What was traced since this was asked last.
    pub(crate) fn take_trace(&self) -> String {
        match &self.observer {
            Observer::Tracer(tracer) => tracer.take(),
            Observer::Nobody | Observer::Watch(_) | Observer::Meter(_) => String::new(),
        }
    }

    /// When the next timer ticks or callout is late, if any is.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let ticks = self.ticks.borrow();
        let callouts = self.callouts.borrow();
        let callouts = callouts.iter().filter(|callout| !callout.is_cancelled());
        let due = ticks.values().map(|tick| tick.due);
        due.chain(callouts.filter_map(|callout| callout.due)).min()
    }

    /// The root context whose timer is due, if one is; its next tick is counted
    /// from now.
    pub(super) fn take_due_tick(&self) -> Option<ContextId> {
        let now = self.now.get();
        let mut ticks = self.ticks.borrow_mut();
        let (root, tick) = ticks.iter_mut().find(|(_, tick)| tick.due <= now)?;
        tick.due = now + tick.period;
        Some(*root)
    }

    /// The callouts that have taken too long.
    pub(super) fn take_due_callouts(&self) -> Vec<Callout> {
        let now = self.now.get();
        let late = |callout: &mut Callout| {
            !callout.is_cancelled() && callout.due.is_some_and(|due| due <= now)
        };
        self.callouts.borrow_mut().extract_if(.., late).collect()
    }

    /// Takes the oldest callout under way that `which` picks.
    pub(crate) fn take_callout(&self, which: impl Fn(&Callout) -> bool) -> Option<Callout> {
        let mut callouts = self.callouts.borrow_mut();
        callouts.retain(|callout| !callout.is_cancelled());
        let index = callouts.iter().position(which)?;
        Some(callouts.remove(index))
    }

    /// Puts back a callout that goes on.
    pub(crate) fn put_back(&self, callout: Callout) {
        self.callouts.borrow_mut().insert(0, callout);
    }

    /// The callouts under way, oldest first: what each is and where it goes.
    pub(crate) fn callouts(&self) -> Vec<(&'static str, String)> {
        let callouts = self.callouts.borrow();
        let live = callouts.iter().filter(|callout| !callout.is_cancelled());
        live.map(|callout| (callout.kind(), callout.target()))
            .collect()
    }

    fn call(&self, request: CalloutRequest) -> CalloutGuard {
        let (callout, guard) = Callout::new(request, self.now.get());
        self.callouts.borrow_mut().push(callout);
        guard
    }

    fn check_cluster(&self, target: &[u8]) -> Result<(), CalloutError> {
        match &self.clusters {
            Some(known) if !known.iter().any(|name| name.as_bytes() == target) => {
                Err(CalloutError::UnknownCluster)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_queue_items(&self) -> Vec<(ContextId, u32)> {
        let mut items = self.queue_items.lock();
        std::mem::take(&mut *items.as_deref_mut().unwrap_or(&mut Vec::new()))
    }

    pub(super) fn has_queue_items(&self) -> bool {
        let items = self.queue_items.lock();
        !items.unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Tells a root context of the items of its queues.
struct Consumer {
    root: ContextId,
    items: QueueItems,
}

impl QueueConsumer for Consumer {
    fn ready(&self, queue: u32) -> bool {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        items.push((self.root, queue));
        true
    }

    fn is_gone(&self) -> bool {
        false
    }
}

impl Host for TestHost {
    fn log(&self, _origin: Origin<'_>, level: LogLevel, message: &[u8]) {
        if level >= self.log_level {
            let message = String::from_utf8_lossy(message).into_owned();
            self.log.borrow_mut().push(LogLine { level, message });
        }
    }

    fn log_level(&self) -> Option<LogLevel> {
        Some(self.log_level)
    }

    /// The VM keeps it: see [`weir_abi::Vm::failure`].
    fn failed(&self, _origin: Origin<'_>, _failure: &Failure, _stream: Option<&dyn Stream>) {
        self.ticks.borrow_mut().clear();
    }

    fn set_tick_period(
        &self,
        root: ContextId,
        period: Option<Duration>,
    ) -> Result<(), Unsupported> {
        let mut ticks = self.ticks.borrow_mut();
        match period {
            Some(period) => {
                let due = self.now.get() + period;
                ticks.insert(root, Tick { period, due });
            }
            None => {
                ticks.remove(&root);
            }
        }
        Ok(())
    }

    fn define_metric(&self, kind: MetricType, name: &str) -> Result<Rc<dyn Metric>, DefineError> {
        Ok(self.metrics.define(kind, name))
    }

    fn http_call(&self, token: CalloutToken, call: HttpCall) -> Result<CalloutGuard, CalloutError> {
        self.check_cluster(&call.cluster)?;
        Ok(self.call(CalloutRequest::Http(token, call)))
    }

    fn grpc_call(&self, token: CalloutToken, call: GrpcCall) -> Result<CalloutGuard, CalloutError> {
        self.check_cluster(&call.start.target)?;
        Ok(self.call(CalloutRequest::Grpc(token, call)))
    }

    fn grpc_stream(
        &self,
        token: CalloutToken,
        start: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        self.check_cluster(&start.target)?;
        let sent = Rc::new(GrpcSent::default());
        self.call(CalloutRequest::GrpcStream(token, start, Rc::clone(&sent)));
        Ok(sent)
    }

    fn resolve_dns(&self, token: DnsToken, name: &str) -> Result<CalloutGuard, CalloutError> {
        Ok(self.call(CalloutRequest::Dns(token, name.to_owned())))
    }

    fn queue_consumer(&self, root: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        let items = Arc::clone(&self.queue_items);
        Some(Arc::new(Consumer { root, items }))
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        self.properties.get(path)
    }

    fn property_instead(
        &self,
        _context: ContextId,
        path: &[&[u8]],
    ) -> Option<Result<Property, PropertyError>> {
        let only = self.only_properties.as_ref()?;
        let value = only.get(&dotted(path)).cloned().map(Property::Bytes);
        Some(value.ok_or(PropertyError::NotFound))
    }

    fn watch(&self) -> Option<Rc<dyn Watch>> {
        match &self.observer {
            Observer::Tracer(tracer) => Some(Rc::clone(tracer) as _),
            Observer::Watch(watch) => Some(Rc::clone(watch)),
            Observer::Nobody | Observer::Meter(_) => None,
        }
    }

    fn meter(&self, _plugin: &PluginConfig) -> Option<Rc<dyn Meter>> {
        match &self.observer {
            Observer::Meter(meter) => Some(Rc::clone(meter)),
            Observer::Nobody | Observer::Tracer(_) | Observer::Watch(_) => None,
        }
    }

    fn wall_clock(&self) -> Duration {
        self.now.get()
    }

    fn monotonic_clock(&self) -> Duration {
        self.now.get()
    }
}
