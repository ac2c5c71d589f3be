//! What a filter's VM gets of the proxy besides its streams: log and timers.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, ContextId, DefineError, DnsToken, Failure, GrpcCall,
    GrpcStart, GrpcStream, Host, HttpCall, HttpMap, Limit, LogLevel, Meter, Metric, MetricType,
    Origin, PluginConfig, Property, PropertyError, QueueConsumer, Stream, Unsupported, Vm,
};

use crate::stream::of_node;

use super::queue::Consumers;
use super::spec::FilterVmSpec;
use crate::callout::Callouts;
use crate::logging;
use crate::rollout::Version;
use crate::tap::{self, FilterFailure, Told};
use crate::telemetry::{RunningVm, VmMetrics};

/// So many of something in each second.
struct Rate {
    max: u32,
    /// When the second began.
    since: Cell<Option<Instant>>,
    passed: Cell<u32>,
}

impl Rate {
    fn new(max: u32) -> Self {
        Self {
            max,
            since: Cell::default(),
            passed: Cell::default(),
        }
    }

    fn admit(&self, now: Instant) -> bool {
        let over = |since| now.saturating_duration_since(since) >= Duration::from_secs(1);
        if self.since.get().is_none_or(over) {
            self.since.set(Some(now));
            self.passed.set(0);
        }
        let passes = self.passed.get() < self.max;
        self.passed.set(self.passed.get() + u32::from(passes));
        passes
    }
}

/// The [`Host`] of one VM.
pub(super) struct FilterHost {
    metrics: Rc<VmMetrics>,
    node: Arc<weir_config::Node>,
    version: Version,
    /// Of all VMs made from the same.
    failures: Arc<AtomicU64>,
    vm: RefCell<Weak<Vm>>,
    timers: RefCell<HashMap<ContextId, Timer>>,
    /// While the VM stands by, nothing ticks; these are to.
    standing_by: RefCell<Option<HashMap<ContextId, Duration>>>,
    queues: Consumers,
    callouts: Callouts,
    /// While the VM takes calls.
    running: RefCell<Option<RunningVm>>,
    log_lines: Rate,
    /// Names of the plugins of the VM.
    plugins: Vec<String>,
    /// SHA-256 of the module.
    module: [u8; 32],
}

impl FilterHost {
    pub(super) fn new(metrics: Rc<VmMetrics>, callouts: Callouts, spec: &FilterVmSpec) -> Rc<Self> {
        Rc::new(Self {
            metrics,
            node: Arc::clone(&spec.node),
            version: spec.version,
            failures: Arc::clone(&spec.failures),
            vm: RefCell::default(),
            timers: RefCell::default(),
            standing_by: RefCell::new(Some(HashMap::new())),
            queues: Consumers::default(),
            callouts,
            running: RefCell::default(),
            log_lines: Rate::new(spec.log_lines),
            plugins: spec.plugins.iter().map(|p| p.plugin.name.clone()).collect(),
            module: *spec.module.digest(),
        })
    }

    /// Names the VM that timers tick in.
    pub(super) fn attach(&self, vm: &Rc<Vm>) {
        self.vm.replace(Rc::downgrade(vm));
    }

    /// The VM and its plugins have started.
    pub(super) fn started(&self) {
        self.running.replace(Some(self.metrics.started()));
    }

    /// The VM stands by no longer: its timers begin.
    pub(super) fn promote(&self) {
        let waiting = self.standing_by.take().into_iter().flatten();
        for (root, period) in waiting {
            self.start_timer(root, period);
        }
    }

    fn start_timer(&self, root: ContextId, period: Duration) {
        // Outside of a worker, where a module is only tried, nothing ticks.
        if self.callouts.is_on_worker() {
            let period = Rc::new(Period {
                value: Cell::new(Some(period)),
                changed: Notify::new(),
            });
            let task = tokio::task::spawn_local(tick(self.vm(), root, Rc::clone(&period)));
            self.timers
                .borrow_mut()
                .insert(root, Timer { period, task });
        }
    }

    /// Which version of a filter it is, if there are several.
    fn version(&self) -> Option<&'static str> {
        (self.version != Version::Stable).then(|| self.version.label())
    }

    fn vm(&self) -> Weak<Vm> {
        self.vm.borrow().clone()
    }

    fn stop_timers(&self) {
        for (_, timer) in self.timers.take() {
            timer.task.abort();
        }
    }
}

impl Drop for FilterHost {
    fn drop(&mut self) {
        self.stop_timers();
    }
}

impl Host for FilterHost {
    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        match path {
            [b"xds", b"node", rest @ ..] => of_node(&self.node, rest),
            _ => Err(PropertyError::NotFound),
        }
    }

    fn log(&self, origin: Origin<'_>, level: LogLevel, message: &[u8]) {
        if !logging::admits_guest(origin.plugin, level) {
            return;
        }
        if !self.log_lines.admit(Instant::now()) {
            self.limit_reached(origin, Limit::LogLines);
            return;
        }
        let message = String::from_utf8_lossy(message);
        let Origin {
            plugin,
            root_id,
            vm_id,
            ..
        } = origin;
        let version = self.version();
        macro_rules! line {
            ($level:ident) => {
                logging::log_guest(|| {
                    tracing::$level!(target: "guest", plugin, root_id, vm_id, version, "{message}");
                })
            };
        }
        match level {
            LogLevel::Trace => line!(trace),
            LogLevel::Debug => line!(debug),
            LogLevel::Info => line!(info),
            LogLevel::Warn => line!(warn),
            LogLevel::Error | LogLevel::Critical => line!(error),
        }
    }

    fn log_level(&self) -> Option<LogLevel> {
        logging::guest_level(self.plugins.iter().map(String::as_str))
    }

    fn failed(&self, origin: Origin<'_>, failure: &Failure, stream: Option<&dyn Stream>) {
        self.metrics.failed(origin.plugin, failure.reason);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.running.take();
        self.queues.close();
        self.stop_timers();
        let Some(unsaid) = self.metrics.reports.admit(Instant::now()) else {
            return;
        };
        if unsaid > 0 {
            tracing::error!(vm_id = origin.vm_id, "{unsaid} more failures of this VM");
        }
        let request_id = stream.and_then(request_id);
        self.metrics.keep(origin, failure, request_id.as_deref());
        if let Some(tap) = tap::installed() {
            // Whoever reads that reads this.
            tap.tell(Told::Failure(Box::new(FilterFailure {
                plugin: origin.plugin.to_owned(),
                module: self.module,
                failure: failure.clone(),
            })));
            return;
        }
        tracing::error!(
            plugin = origin.plugin,
            root_id = origin.root_id,
            vm_id = origin.vm_id,
            version = self.version(),
            context = origin.context.0,
            worker = self.metrics.worker(),
            request_id,
            "filter failed: {failure}"
        );
    }

    fn define_metric(&self, kind: MetricType, name: &str) -> Result<Rc<dyn Metric>, DefineError> {
        self.metrics.define(kind, name)
    }

    fn meter(&self, plugin: &PluginConfig) -> Option<Rc<dyn Meter>> {
        Some(self.metrics.meter(&plugin.name))
    }

    fn queue_consumer(&self, root: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        // A VM that stands by is told of nothing that is for the one that serves.
        // Nor is one that is only tried out.
        let serves = self.standing_by.borrow().is_none() && self.callouts.is_on_worker();
        serves.then(|| self.queues.of(&self.vm.borrow(), root))
    }

    fn denied(&self, origin: Origin<'_>, capability: &str) {
        tracing::error!(
            plugin = origin.plugin,
            root_id = origin.root_id,
            vm_id = origin.vm_id,
            "the filter called `{capability}`, which its `capability_restriction_config` \
             does not allow"
        );
    }

    fn limit_reached(&self, origin: Origin<'_>, limit: Limit) {
        if !self.metrics.limit_reached(origin.plugin, limit) {
            return;
        }
        tracing::warn!(
            plugin = origin.plugin,
            root_id = origin.root_id,
            vm_id = origin.vm_id,
            "the filter has reached its limit `{limit}`; /metrics counts what it does not get"
        );
    }

    fn http_call(&self, token: CalloutToken, call: HttpCall) -> Result<CalloutGuard, CalloutError> {
        self.callouts.http_call(self.vm(), token, call)
    }

    fn resolve_dns(&self, token: DnsToken, name: &str) -> Result<CalloutGuard, CalloutError> {
        Ok(self.callouts.resolve_dns(self.vm(), token, name))
    }

    fn grpc_call(&self, token: CalloutToken, call: GrpcCall) -> Result<CalloutGuard, CalloutError> {
        self.callouts.grpc_call(self.vm(), token, call)
    }

    fn grpc_stream(
        &self,
        token: CalloutToken,
        start: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        self.callouts.grpc_stream(self.vm(), token, start)
    }

    fn set_tick_period(
        &self,
        root: ContextId,
        period: Option<Duration>,
    ) -> Result<(), Unsupported> {
        if let Some(timer) = self.timers.borrow().get(&root) {
            timer.period.set(period);
        } else if let Some(waiting) = &mut *self.standing_by.borrow_mut() {
            match period {
                Some(period) => waiting.insert(root, period),
                None => waiting.remove(&root),
            };
        } else if let Some(period) = period {
            self.start_timer(root, period);
        }
        Ok(())
    }
}

/// The timer of one root context. A guest may set its period as often as it
/// likes: there is one task.
struct Timer {
    period: Rc<Period>,
    task: JoinHandle<()>,
}

struct Period {
    /// `None`: it does not tick.
    value: Cell<Option<Duration>>,
    changed: Notify,
}

impl Period {
    fn set(&self, value: Option<Duration>) {
        self.value.set(value);
        self.changed.notify_one();
    }
}

/// The request that a stream is about, by the name that its log lines have.
fn request_id(stream: &dyn Stream) -> Option<String> {
    let headers = stream.headers(HttpMap::RequestHeaders)?;
    let id = headers.get(b"x-request-id")?;
    Some(String::from_utf8_lossy(id).into_owned())
}

/// Ticks until the VM is gone or has failed; the period is the gap between two
/// callbacks, and begins anew when it is set.
async fn tick(vm: Weak<Vm>, root: ContextId, period: Rc<Period>) {
    loop {
        let Some(gap) = period.value.get() else {
            period.changed.notified().await;
            continue;
        };
        tokio::select! {
            () = period.changed.notified() => continue,
            () = tokio::time::sleep(gap) => {}
        }
        let ticked = vm.upgrade().is_some_and(|vm| vm.on_tick(root).is_ok());
        if !ticked {
            return;
        }
    }
}
