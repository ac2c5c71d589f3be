//! A proxy of nothing but memory: [`FuzzHost`] and [`FuzzStream`].

use std::cell::{Cell, RefCell, RefMut};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, CalloutError, CalloutGuard, CalloutToken, ContextId, DefineError, Direction,
    DnsToken, Failure, FilterIndex, GrpcCall, GrpcStart, GrpcStream, HeaderMap, Host, HttpCall,
    HttpMap, LocalResponse, LogLevel, Metric, MetricType, Origin, PropertiesFull, Property,
    PropertyError, QueueConsumer, Stream, Unsupported,
};

use crate::script::Script;

/// A host whose clocks tell the guest what to do.
pub(crate) struct FuzzHost {
    pub(crate) script: Rc<Script>,
}

impl FuzzHost {
    pub(crate) fn new(script: Script) -> Self {
        Self {
            script: Rc::new(script),
        }
    }

    /// A callout under way.
    fn callout(&self, token: CalloutToken) -> Result<Callout, CalloutError> {
        if token.0.is_multiple_of(5) {
            return Err(CalloutError::NotSent);
        }
        let new = self.script.tokens.borrow_mut().insert(token.0);
        assert!(new, "the token {token:?} is under way already");
        Ok(Callout {
            script: Rc::downgrade(&self.script),
            token,
        })
    }
}

struct Callout {
    script: Weak<Script>,
    token: CalloutToken,
}

impl Drop for Callout {
    fn drop(&mut self) {
        if let Some(script) = self.script.upgrade() {
            script.tokens.borrow_mut().remove(&self.token.0);
        }
    }
}

struct Lookup(Weak<Script>, DnsToken);

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(script) = self.0.upgrade() {
            script.lookups.borrow_mut().remove(&self.1.0);
        }
    }
}

/// Never told of an item in time: the fuzzer says that there is one when it
/// likes.
struct Consumer;

impl QueueConsumer for Consumer {
    fn ready(&self, _: u32) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        false
    }
}

impl GrpcStream for Callout {
    fn send(&self, message: Bytes, _: bool) -> Result<(), CalloutError> {
        match message.len() {
            0..4096 => Ok(()),
            _ => Err(CalloutError::NotSent),
        }
    }

    fn close(&self) {}
}

impl Host for FuzzHost {
    fn log(&self, _: Origin<'_>, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> Option<LogLevel> {
        None
    }

    fn failed(&self, _: Origin<'_>, _: &Failure, _: Option<&dyn Stream>) {}

    fn resolve_dns(&self, token: DnsToken, _: &str) -> Result<CalloutGuard, CalloutError> {
        let new = self.script.lookups.borrow_mut().insert(token.0);
        assert!(new, "the lookup {token:?} is under way already");
        Ok(Box::new(Lookup(Rc::downgrade(&self.script), token)))
    }

    fn queue_consumer(&self, _: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        Some(Arc::new(Consumer))
    }

    fn set_tick_period(&self, _: ContextId, _: Option<Duration>) -> Result<(), Unsupported> {
        Ok(())
    }

    fn define_metric(&self, _: MetricType, _: &str) -> Result<Rc<dyn Metric>, DefineError> {
        Ok(Rc::new(FuzzMetric))
    }

    fn http_call(&self, token: CalloutToken, _: HttpCall) -> Result<CalloutGuard, CalloutError> {
        Ok(Box::new(self.callout(token)?))
    }

    fn grpc_call(&self, token: CalloutToken, _: GrpcCall) -> Result<CalloutGuard, CalloutError> {
        Ok(Box::new(self.callout(token)?))
    }

    fn grpc_stream(
        &self,
        token: CalloutToken,
        _: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        Ok(Rc::new(self.callout(token)?))
    }

    fn wall_clock(&self) -> Duration {
        Duration::from_nanos(self.script.next(0))
    }

    fn monotonic_clock(&self) -> Duration {
        Duration::from_nanos(self.script.next(1))
    }
}

struct FuzzMetric;

impl Metric for FuzzMetric {
    fn add(&self, _: i64) {}
    fn record(&self, _: u64) {}
    fn value(&self) -> u64 {
        7
    }
}

/// One stream with all that a stream can have.
pub(crate) struct FuzzStream {
    maps: [RefCell<HeaderMap>; 4],
    bodies: [RefCell<BodyBuffer>; 2],
    /// What came after a callback, and not too often.
    asked: Cell<u32>,
}

impl FuzzStream {
    pub(crate) fn new() -> Self {
        let map = || {
            let pairs = [
                (":path", "/a?b#c"),
                (":authority", "h"),
                ("x", "1"),
                ("x", "2"),
            ];
            RefCell::new(pairs.into_iter().collect())
        };
        let body = || {
            let mut body = BodyBuffer::new();
            body.push(Bytes::from_static(b"a body"));
            body.push(Bytes::from(vec![7; 8192]));
            RefCell::new(body)
        };
        Self {
            maps: [map(), map(), map(), map()],
            bodies: [body(), body()],
            asked: Cell::default(),
        }
    }

    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    /// How often the stream was asked for something since this was last read.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.take()
    }
}

impl Stream for FuzzStream {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        Some(self.maps[map as usize].borrow_mut())
    }

    fn add_trailers(&self, _: Direction) -> bool {
        true
    }

    fn body(&self, _: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        Some(self.bodies[direction as usize].borrow_mut())
    }

    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError> {
        match path.len() {
            1 => Ok(Property::Map(vec![("k".into(), "v".into())])),
            2 => Ok(Property::Bytes(Bytes::from_static(b"value"))),
            3 => Ok(Property::Duration(Duration::MAX)),
            _ => Err(PropertyError::NotFound),
        }
    }

    fn set_property(&self, path: &[u8], _: Bytes) -> Result<(), PropertiesFull> {
        if path.len() > 100 {
            Err(PropertiesFull)
        } else {
            Ok(())
        }
    }

    fn continue_stream(&self, _: FilterIndex, _: Direction) {
        self.ask();
    }

    fn close_stream(&self, _: FilterIndex) {
        self.ask();
    }

    fn send_local_response(&self, _: FilterIndex, _: LocalResponse) {
        self.ask();
    }
}
