//! The only door to the embedding proxy: [`Host`] for what a VM needs, and
//! [`Stream`] for one HTTP stream as its filters see it.
//!
//! Every method takes `&self`: a guest call may reach a stream other than the
//! one it was made for (`proxy_set_effective_context`), so implementations keep
//! their state in cells that are borrowed for the length of one method only.
//! In return, no map or buffer that a stream hands out stays borrowed while the
//! guest, the host or another method of a stream runs. No method may call back
//! into a VM; one that panics in a hostcall fails the VM.

use std::cell::RefMut;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::body::BodyBuffer;
use crate::callout::{
    CalloutError, CalloutGuard, CalloutToken, DnsToken, GrpcCall, GrpcStart, GrpcStream, HttpCall,
};
use crate::failure::Failure;
use crate::headers::HeaderMap;
use crate::meter::Meter;
use crate::plugin::PluginConfig;
use crate::shared::QueueConsumer;
use crate::types::{ContextId, Direction, HttpMap, LogLevel, Status};
use crate::vm_limits::Limit;
use crate::watch::Watch;

/// Whose log line or failure it is.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Name of the plugin; empty while the module starts.
    pub plugin: &'a str,
    /// Its `root_id`.
    pub root_id: &'a str,
    /// `vm_id` of its VM.
    pub vm_id: &'a str,
    /// The context in whose name the guest speaks.
    pub context: ContextId,
}

/// What a VM needs of the proxy.
pub trait Host {
    /// Takes a line that a guest logs. `message` is any bytes.
    fn log(&self, origin: Origin<'_>, level: LogLevel, message: &[u8]);

    /// The lowest level that is logged; `None` when logging is off.
    fn log_level(&self) -> Option<LogLevel>;

    /// A VM has failed. Called once, after the guest call has ended; `stream` is
    /// the one that the call was made for, if it was made for one.
    fn failed(&self, origin: Origin<'_>, failure: &Failure, stream: Option<&dyn Stream>);

    /// Sets the period of `proxy_on_tick` for a root context; `None` stops it,
    /// and is also said when the root context is gone.
    ///
    /// # Errors
    /// [`Unsupported`] when this host has no timers.
    fn set_tick_period(
        &self,
        _root: ContextId,
        _period: Option<Duration>,
    ) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    /// A metric that a guest defines. The same kind and name is the same metric,
    /// whichever VM defines it.
    ///
    /// # Errors
    /// [`DefineError`] when the guest does not get it.
    fn define_metric(&self, _kind: MetricType, _name: &str) -> Result<Rc<dyn Metric>, DefineError> {
        Err(DefineError::Unsupported)
    }

    /// What counts for `plugin`, which is about to start; without one, nothing is
    /// counted and no clock is read.
    fn meter(&self, _plugin: &PluginConfig) -> Option<Rc<dyn Meter>> {
        None
    }

    /// Who sees what passes between the guest and its host; asked for when a VM is
    /// made. Without one, no time is spent on it.
    fn watch(&self) -> Option<Rc<dyn Watch>> {
        None
    }

    /// Makes an HTTP call, whose end is told by [`Vm::on_http_call_response`], not
    /// from within this method; after the end the guard is dropped, too.
    ///
    /// [`Vm::on_http_call_response`]: crate::Vm::on_http_call_response
    ///
    /// # Errors
    /// [`CalloutError`] when the call is not made.
    fn http_call(
        &self,
        _token: CalloutToken,
        _call: HttpCall,
    ) -> Result<CalloutGuard, CalloutError> {
        Err(CalloutError::Unsupported)
    }

    /// Makes a unary gRPC call, whose end is told by [`Vm::on_grpc_message`] when
    /// its status is 0, or else by [`Vm::on_grpc_close`].
    ///
    /// [`Vm::on_grpc_message`]: crate::Vm::on_grpc_message
    /// [`Vm::on_grpc_close`]: crate::Vm::on_grpc_close
    ///
    /// # Errors
    /// [`CalloutError`] when the call is not made.
    fn grpc_call(
        &self,
        _token: CalloutToken,
        _call: GrpcCall,
    ) -> Result<CalloutGuard, CalloutError> {
        Err(CalloutError::Unsupported)
    }

    /// Opens a gRPC stream. What comes on it is told by the four
    /// `Vm::on_grpc_*`; [`Vm::on_grpc_close`] is the last of it.
    ///
    /// [`Vm::on_grpc_close`]: crate::Vm::on_grpc_close
    ///
    /// # Errors
    /// [`CalloutError`] when the stream is not opened.
    fn grpc_stream(
        &self,
        _token: CalloutToken,
        _start: GrpcStart,
    ) -> Result<Rc<dyn GrpcStream>, CalloutError> {
        Err(CalloutError::Unsupported)
    }

    /// Who is to be told of the items of a queue that `root` registers: something
    /// that has [`Vm::on_queue_ready`] called. `None` when nobody can be told, as
    /// where a VM is only tried out, or not yet: [`Vm::consume_queues`] asks again.
    ///
    /// [`Vm::on_queue_ready`]: crate::Vm::on_queue_ready
    /// [`Vm::consume_queues`]: crate::Vm::consume_queues
    fn queue_consumer(&self, _root: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        None
    }

    /// A guest has called something that its VM may not call.
    fn denied(&self, _origin: Origin<'_>, _capability: &str) {}

    /// A guest wanted more of something than it may have, which was refused. Said
    /// each time, also within a hostcall: it must be short.
    fn limit_reached(&self, _origin: Origin<'_>, _limit: Limit) {}

    /// Looks a name up, whose addresses are told by [`Vm::on_resolve_dns`], not
    /// from within this method.
    ///
    /// [`Vm::on_resolve_dns`]: crate::Vm::on_resolve_dns
    ///
    /// # Errors
    /// [`CalloutError`] when the name is not looked up.
    fn resolve_dns(&self, _token: DnsToken, _name: &str) -> Result<CalloutGuard, CalloutError> {
        Err(CalloutError::Unsupported)
    }

    /// A property that root contexts may read: of the proxy, not of a stream.
    ///
    /// # Errors
    /// [`PropertyError`] when there is no such value, or none that can be encoded.
    fn property(&self, _path: &[&[u8]]) -> Result<Property, PropertyError> {
        Err(PropertyError::NotFound)
    }

    /// A property in place of what a context would find, those of header maps and of
    /// the plugin included; `None` when nothing takes its place. Asked first.
    fn property_instead(
        &self,
        _context: ContextId,
        _path: &[&[u8]],
    ) -> Option<Result<Property, PropertyError>> {
        None
    }

    /// Runs a function of the embedder's own that a guest calls by name, for the
    /// context that the guest was called for. `None` when there is none of this
    /// name; else what it gives, or a status. `name` and `argument` are any bytes.
    fn call_foreign_function(
        &self,
        _context: ContextId,
        _name: &[u8],
        _argument: &[u8],
    ) -> Option<Result<Bytes, Status>> {
        None
    }

    /// Wall clock, since the Unix epoch.
    fn wall_clock(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    /// Monotonic clock, since any fixed moment.
    fn monotonic_clock(&self) -> Duration {
        thread_local!(static START: std::time::Instant = std::time::Instant::now());
        START.with(std::time::Instant::elapsed)
    }
}

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Moves both ways.
    Gauge,
    /// A distribution of samples.
    Histogram,
}

/// A metric that a guest has defined.
pub trait Metric {
    /// Adds to a counter (never less than 1) or a gauge.
    fn add(&self, delta: i64);
    /// Adds to a counter, sets a gauge, gives a histogram a sample.
    fn record(&self, value: u64);
    /// Value of a counter or gauge over all threads.
    fn value(&self) -> u64;
}

/// Why a guest does not get a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefineError {
    /// This host has no metrics.
    Unsupported,
    /// There are too many already.
    TooMany,
}

/// The host does not offer what a guest asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported;

/// Position of a filter in a stream's chain, as the embedder numbers it.
pub type FilterIndex = u32;

/// One HTTP stream as its filters see it.
///
/// The crate decides what a guest may see in which phase and asks only for what
/// is visible; the stream just hands out its maps and buffers.
///
/// What a guest asks to be done to the stream (the last three methods) comes in
/// the order in which it asked, after its callback has returned, and before the
/// status of that callback is handed out: a pause which that status asks for
/// begins afterwards, as in Envoy. Nothing comes after a trap, and nothing from
/// `proxy_on_log` on.
pub trait Stream {
    /// A header map of the stream, if it exists by now.
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>>;

    /// Creates empty trailers for a direction that has none; asked for while a
    /// filter sees the end of the body. False when trailers cannot follow.
    fn add_trailers(&self, direction: Direction) -> bool;

    /// The body bytes that `filter` may see now: the chunk at hand, or all that
    /// it holds.
    fn body(&self, filter: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>>;

    /// A property that is not derived from a header map or the plugin. `path`
    /// is the segments of the path.
    ///
    /// # Errors
    /// [`PropertyError`] when there is no such value now, or none that can be
    /// encoded.
    fn property(&self, path: &[&[u8]]) -> Result<Property, PropertyError>;

    /// Stores a property that later filters of the stream can read; `path` is
    /// the raw path.
    ///
    /// # Errors
    /// [`PropertiesFull`] when the stream keeps no more.
    fn set_property(&self, path: &[u8], value: Bytes) -> Result<(), PropertiesFull>;

    /// Stores a property as [`Stream::set_property`] does, for as long as `rule`
    /// says. A property keeps the rule that it was first stored under.
    ///
    /// # Errors
    /// [`Refused`] when there is a read-only property of this path, or no room.
    fn set_declared_property(
        &self,
        path: &[u8],
        value: Bytes,
        _rule: PropertyRule,
    ) -> Result<(), Refused> {
        let stored = self.set_property(path, value);
        stored.map_err(|PropertiesFull| Refused::NoRoom)
    }

    /// Sets an object of filter state that other parts of the proxy read, such as
    /// `envoy.tcp_proxy.cluster`.
    ///
    /// # Errors
    /// [`Refused`] when the stream takes no such object.
    fn set_filter_state(&self, _key: &[u8], _value: Bytes, _span: LifeSpan) -> Result<(), Refused> {
        Err(Refused::NotTaken)
    }

    /// A filter wrote to the request headers: a route chosen by them is stale.
    fn clear_route_cache(&self) {}

    /// `filter` ends its pause in `direction`. No effect when it has none.
    fn continue_stream(&self, filter: FilterIndex, direction: Direction);

    /// Resets the stream.
    fn close_stream(&self, filter: FilterIndex);

    /// Answers the request in place of the upstream.
    fn send_local_response(&self, filter: FilterIndex, response: LocalResponse);

    /// Whether a filter may answer now; if not, it is told `BadArgument`. Asked before
    /// each [`Stream::send_local_response`], within the hostcall.
    fn takes_local_response(&self) -> bool {
        true
    }

    /// Whether a callout that is made for this stream is to be dropped: it gets a
    /// token, and nothing follows. Asked before each. For a stream that is a copy of
    /// another, so that nobody is called twice; nor is anything put into queues or
    /// taken from them, which look empty.
    fn drops_callout(&self) -> bool {
        false
    }
}

/// For how long a property or an object of filter state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LifeSpan {
    /// For the filters of this stream.
    #[default]
    FilterChain,
    /// For this request.
    Request,
    /// For this connection and all requests to come on it.
    Connection,
}

/// What a guest has declared of a property (`declare_property`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PropertyRule {
    /// It can be set once.
    pub read_only: bool,
    /// For how long it is kept.
    pub span: LifeSpan,
}

/// A stream does not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It cannot be set again, or is nothing that the stream knows.
    NotTaken,
    /// There is no room for it.
    NoRoom,
}

impl Refused {
    pub(crate) fn status(self) -> Status {
        match self {
            Self::NotTaken => Status::BadArgument,
            Self::NoRoom => Status::InternalFailure,
        }
    }
}

/// A response that a filter sends itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalResponse {
    /// Status code, 16 bit as in Envoy.
    pub code: u16,
    /// What becomes `response.code_details`; any bytes.
    pub details: Bytes,
    /// Body, may be empty.
    pub body: Bytes,
    /// Headers to add, in order; names as given.
    pub headers: Vec<(Bytes, Bytes)>,
    /// gRPC status for gRPC requests; `None` to derive it from `code`.
    pub grpc_status: Option<u32>,
}

/// Value of a property, in the shapes that the ABI encodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Property {
    /// Strings, bytes and serialised messages: raw.
    Bytes(Bytes),
    /// 8 bytes, little endian.
    Int(i64),
    /// 8 bytes, little endian.
    Uint(u64),
    /// 8 bytes, IEEE 754, little endian.
    Double(f64),
    /// One byte, 0 or 1.
    Bool(bool),
    /// Nanoseconds since the Unix epoch: 8 bytes.
    Timestamp(Duration),
    /// Nanoseconds: 8 bytes.
    Duration(Duration),
    /// String map: encoded as pairs.
    Map(Vec<(Bytes, Bytes)>),
}

impl From<&'static str> for Property {
    fn from(text: &'static str) -> Self {
        Self::Bytes(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Property {
    fn from(text: String) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<Bytes> for Property {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// The properties that filters have set on a stream take all the room that it
/// has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropertiesFull;

/// Why a property has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyError {
    /// No such property, or none now.
    NotFound,
    /// It exists, but has no encoding: a container such as `request`.
    NotSerializable,
}
