//! HTTP/1.x, both sides, on a byte stream.
//!
//! What is read is strict, since two readings of one message are how requests
//! are smuggled: lines end in CRLF, a body has one length, a field stands on one
//! line. What is written is framed here and nowhere else.

mod body;
mod chunked;
mod downstream;
mod head;
mod upstream;
mod write;

pub(crate) use self::downstream::{H1Downstream, Next};
pub(crate) use self::upstream::H1Upstream;
