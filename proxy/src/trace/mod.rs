//! Spans about requests, for a collector of OpenTelemetry's.
//!
//! Whether a request gets spans is decided when its head has come ([`Tracer`]). What
//! happens to one that does is noted on its worker ([`RequestTrace`]); complete spans
//! go to a thread of their own ([`exporter`]) by a queue that nobody waits for.

mod context;
mod exporter;
mod request;
mod span;
mod tracer;

pub(crate) use self::request::{RequestTrace, UpstreamSpan};
pub(crate) use self::tracer::Tracer;
