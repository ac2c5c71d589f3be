//! HTTP/2, both sides, on the `h2` crate, which speaks the protocol: frames,
//! header compression, flow control, the error codes of what is malformed.
//!
//! Body that arrives is taken from it, and room for more is granted to the peer,
//! only when the exchange reads: a filter that holds too much pushes back on the
//! sender of this one stream.

mod downstream;
mod fields;
mod send;
mod upstream;

pub(crate) use self::downstream::{H2Downstream, accept};
pub(crate) use self::upstream::{H2Endpoint, H2Upstream};
