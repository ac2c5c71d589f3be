//! A proxy-wasm host: runs the filters that were written for Envoy.
//!
//! The crate knows the proxy-wasm ABI (0.1.0, 0.2.0, 0.2.1) and an engine to
//! run WebAssembly with, and no sockets: what surrounds a filter is handed in
//! through three traits: [`Host`] for a VM, [`Stream`] for one HTTP stream and
//! [`Connection`] for one TCP connection.
//!
//! 1. [`Module::compile`] compiles a binary and checks it. Once per file; a
//!    [`ModuleCache`] keeps what comes out for the next start.
//! 2. [`Vm::new`] makes an instance of it. Once per thread: a VM stays on the
//!    thread that made it.
//! 3. [`Vm::start_plugin`] configures a filter, [`Vm::create_stream`] puts it on
//!    a stream, and the callbacks ([`Vm::on_request_headers`], …) tell what the
//!    filter wants: continue, hold, or answer itself.
#![doc = include_str!("../example.md")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod body;
#[cfg(unix)]
mod cache;
mod callbacks;
mod callout;
mod calls;
mod capabilities;
mod connection;
mod context;
mod engine;
mod failure;
mod header_values;
mod headers;
mod host;
mod imports;
pub mod limits;
mod meter;
mod module;
mod plugin;
mod shared;
mod stream;
mod types;
mod vm;
mod vm_limits;
mod vm_state;
mod watch;
pub mod wire;

pub use body::BodyBuffer;
#[cfg(unix)]
pub use cache::{CacheError, Lookup, ModuleCache, Outcome};
pub use callout::{
    CalloutError, CalloutGuard, CalloutToken, DnsAddress, DnsToken, GrpcCall, GrpcStart,
    GrpcStream, HttpCall, HttpCallResponse,
};
pub use capabilities::Capabilities;
pub use connection::Connection;
pub use engine::{CompileOptions, Deadline, Effort, start_watchdog};
pub use failure::{Failure, Frame, Reason};
pub use header_values::HeaderValues;
pub use headers::HeaderMap;
pub use host::{
    DefineError, FilterIndex, Host, LifeSpan, LocalResponse, Metric, MetricType, Origin,
    PropertiesFull, Property, PropertyError, PropertyRule, Refused, Stream, Unsupported,
};
pub use imports::{HostcallType, hostcalls, unimplemented_hostcalls};
pub use meter::{Callback, ContextKind, Hostcall, Meter};
pub use module::{LoadError, Module};
pub use plugin::{PluginConfig, PluginError, TimeLimits};
pub use shared::{
    DataLimits, Eviction, QueueConsumer, QueueLimits, SharedLimits, SharedState, Space, SpaceStats,
};
pub use types::{
    AbiVersion, BodyStatus, BufferType, ContextId, Direction, HeadersStatus, HttpMap, LogLevel,
    MapType, NetworkStatus, NoLogLevel, PeerType, Side, Status, TrailersStatus,
};
pub use vm::{Vm, VmConfig, VmFailed};
pub use vm_limits::{Limit, VmLimits};
pub use watch::{SeenCall, Watch};
