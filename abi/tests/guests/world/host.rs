//! [`TestHost`] writes what guests say and reads their reports.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, ContextId, DefineError, Direction, DnsToken, Failure,
    GrpcCall, GrpcStart, GrpcStream, Host, HttpCall, HttpMap, Limit, LogLevel, Meter, Metric,
    MetricType, Origin, PluginConfig, QueueConsumer, Stream, Unsupported,
};

use super::{Journal, TestStream};

/// Wall clock of the test host, in nanoseconds.
pub const NOW: u64 = 1_700_000_000_123_456_789;
/// Its monotonic clock.
pub const UPTIME: u64 = 42_000_000_007;

#[derive(Default)]
pub struct TestHost {
    pub journal: Journal,
    pub failures: RefCell<Vec<Failure>>,
    /// Plugin, root id, VM id and context of every line that is not a report.
    pub origins: RefCell<Vec<(String, String, String, u32)>>,
    pub panics: Cell<bool>,
    /// A stream whose maps and buffers are looked at whenever a guest logs.
    pub looks_at: RefCell<Option<Rc<TestStream>>>,
    /// Stands for every root context that registers a queue.
    pub consumer: Arc<TestConsumer>,
    /// How long it is busy whenever a guest logs.
    pub is_busy: Cell<Duration>,
    /// Counts for every plugin.
    pub meter: RefCell<Option<Rc<dyn Meter>>>,
    /// What callouts are answered with in the place of being made.
    pub callouts: Cell<Option<CalloutError>>,
}

/// Remembers of which queues it was told.
#[derive(Default)]
pub struct TestConsumer(Mutex<Vec<u32>>);

impl TestConsumer {
    pub fn told(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

impl QueueConsumer for TestConsumer {
    fn ready(&self, queue: u32) -> bool {
        self.0.lock().unwrap().push(queue);
        true
    }

    fn is_gone(&self) -> bool {
        false
    }
}

impl Host for TestHost {
    fn log(&self, origin: Origin<'_>, level: LogLevel, message: &[u8]) {
        assert!(!self.panics.get(), "as the test asked");
        let began = Instant::now();
        while began.elapsed() < self.is_busy.get() {
            std::hint::spin_loop();
        }
        if let Some(stream) = &*self.looks_at.borrow() {
            assert!(stream.headers(HttpMap::RequestHeaders).is_some());
            assert!(stream.body(0, Direction::Request).is_some());
        }
        if level == LogLevel::Trace && message.len() >= 16 {
            self.journal.push(report(message));
            return;
        }
        let message = String::from_utf8_lossy(message);
        self.journal.push(format!("{level:?}: {message}"));
        self.origins.borrow_mut().push((
            origin.plugin.into(),
            origin.root_id.into(),
            origin.vm_id.into(),
            origin.context.0,
        ));
    }

    fn log_level(&self) -> Option<LogLevel> {
        Some(LogLevel::Info)
    }

    fn failed(&self, origin: Origin<'_>, failure: &Failure, _: Option<&dyn Stream>) {
        self.journal
            .push(format!("failed: {} of {}", failure.callback, origin.plugin));
        self.failures.borrow_mut().push(failure.clone());
    }

    fn set_tick_period(
        &self,
        root: ContextId,
        period: Option<Duration>,
    ) -> Result<(), Unsupported> {
        self.journal.push(format!("tick of {root}: {period:?}"));
        Ok(())
    }

    fn meter(&self, _: &PluginConfig) -> Option<Rc<dyn Meter>> {
        self.meter.borrow().clone()
    }

    fn define_metric(&self, kind: MetricType, name: &str) -> Result<Rc<dyn Metric>, DefineError> {
        self.journal.push(format!("{kind:?} {name}"));
        Ok(Rc::new(TestMetric {
            name: name.into(),
            journal: self.journal.clone(),
        }))
    }

    fn queue_consumer(&self, root: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        self.journal.push(format!("consumer {root}"));
        Some(Arc::<TestConsumer>::clone(&self.consumer))
    }

    fn denied(&self, _: Origin<'_>, capability: &str) {
        self.journal.push(format!("denied {capability}"));
    }

    fn limit_reached(&self, _: Origin<'_>, limit: Limit) {
        self.journal.push(format!("no room in {limit}"));
    }

    fn http_call(&self, token: CalloutToken, call: HttpCall) -> Result<CalloutGuard, CalloutError> {
        let method = call.headers.get(b":method").unwrap();
        let (cluster, timeout) = (call.cluster.escape_ascii(), call.timeout);
        self.callout(
            token,
            &format!("call {cluster} {} {timeout:?}", method.escape_ascii()),
        )
    }

    fn grpc_call(&self, token: CalloutToken, call: GrpcCall) -> Result<CalloutGuard, CalloutError> {
        let (start, message) = (call.start, call.message.escape_ascii());
        let method = start.method.escape_ascii();
        self.callout(token, &format!("gRPC call {method} {message}"))
    }

    fn grpc_stream(
        &self,
        token: CalloutToken,
        start: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        let guard = self.callout(
            token,
            &format!("gRPC stream {}", start.method.escape_ascii()),
        )?;
        let journal = self.journal.clone();
        Ok(Rc::new(TestGrpcStream {
            journal,
            _guard: guard,
        }))
    }

    fn resolve_dns(&self, token: DnsToken, name: &str) -> Result<CalloutGuard, CalloutError> {
        if let Some(error) = self.callouts.get() {
            return Err(error);
        }
        self.journal.push(format!("look {name} up: {}", token.0));
        Ok(Box::new(()))
    }

    fn wall_clock(&self) -> Duration {
        Duration::from_nanos(NOW)
    }

    fn monotonic_clock(&self) -> Duration {
        Duration::from_nanos(UPTIME)
    }
}

impl TestHost {
    fn callout(&self, token: CalloutToken, what: &str) -> Result<CalloutGuard, CalloutError> {
        if let Some(error) = self.callouts.get() {
            return Err(error);
        }
        self.journal.push(format!("{what}: {}", token.0));
        let journal = self.journal.clone();
        Ok(Box::new(Dropped(journal, token)))
    }
}

/// Tells when a callout is let go.
struct Dropped(Journal, CalloutToken);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.push(format!("let go of {}", self.1.0));
    }
}

struct TestGrpcStream {
    journal: Journal,
    _guard: CalloutGuard,
}

impl GrpcStream for TestGrpcStream {
    fn send(&self, message: Bytes, end_of_stream: bool) -> Result<(), CalloutError> {
        let message = message.escape_ascii();
        self.journal.push(format!("send {message} {end_of_stream}"));
        Ok(())
    }

    fn close(&self) {
        self.journal.push("half close");
    }
}

/// A metric whose value is always 7.
struct TestMetric {
    name: String,
    journal: Journal,
}

impl Metric for TestMetric {
    fn add(&self, delta: i64) {
        self.journal.push(format!("{} += {delta}", self.name));
    }

    fn record(&self, value: u64) {
        self.journal.push(format!("{} records {value}", self.name));
    }

    fn value(&self) -> u64 {
        7
    }
}

/// A report of the guest: status and what was handed back, or a callback.
fn report(message: &[u8]) -> String {
    let word = |i: usize| u32::from_le_bytes(message[4 * i..4 * i + 4].try_into().unwrap());
    let status = word(0);
    match word(1) {
        99 => {
            let words: Vec<_> = (0..status as usize)
                .map(|i| word(2 + i).to_string())
                .collect();
            let name = String::from_utf8_lossy(&message[28..]);
            format!("{name}({})", words.join(", "))
        }
        1 if status == 0 && word(2) == 0 => format!("0 null {}", word(3)),
        1 if status == 0 => format!("0 {}", message[16..].escape_ascii()),
        2 if status == 0 => format!("0 {}", word(2)),
        3 if status == 0 => format!("0 {} {}", word(2), word(3)),
        4 if status == 0 => {
            format!("0 {}", u64::from(word(3)) << 32 | u64::from(word(2)))
        }
        _ => status.to_string(),
    }
}
