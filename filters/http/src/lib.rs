//! What the filters in this workspace have in common: their root context, and what they
//! know of HTTP: where credentials are in a request, cookies, query strings, networks,
//! counters, and values that workers share.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cookie;
mod counter;
mod headers;
mod network;
pub mod query;
mod root;
pub mod shared;
mod source;
mod uri;

pub use counter::Counter;
pub use headers::{Headers, Request, Response};
pub use network::{Network, NotANetwork, address};
pub use root::{Filter, root};
pub use source::Source;
pub use uri::realm;
