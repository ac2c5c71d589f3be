//! A client of Envoy's discovery services (xDS).
//!
//! A [`Client`] keeps a stream to a management server. It asks for what its
//! [`Subscriptions`] say, by deltas or by the state of the world, and offers each
//! response to a [`Judge`], who accepts or refuses it, as a whole or by resource; the
//! server is told which, and why. What has been accepted is in [`Snapshots`], and stays
//! there when something is refused and when there is no server.
//!
//! The client reads of a resource its name and nothing else. What is in it, and which
//! resources it needs, is the consumer's business. That is why the order in which things
//! take effect is, too: requests go out in the order of [`ResourceType`], responses are
//! taken in the order in which they come, and [`Snapshot::is_complete`] tells whether
//! what somebody has asked for has come. A consumer that swaps a configuration as a whole
//! subscribes to what the accepted clusters and listeners name, and swaps when that is
//! complete.

#![forbid(unsafe_code)]

mod answers;
mod backoff;
mod client;
mod counters;
mod dial;
mod error;
mod held;
mod identity;
mod inbound;
mod interest;
mod json;
mod judge;
pub mod limits;
mod options;
mod protocol;
mod resource;
mod resource_type;
mod server;
mod snapshot;
mod snapshots;
mod stream;
mod subscriptions;
mod text;
mod tls;
mod update;
mod wire;

pub use crate::client::{Client, ConnectionState};
pub use crate::counters::{Counters, UpdateCounts};
pub use crate::dial::DialError;
pub use crate::error::{OptionsError, StreamError};
pub use crate::held::ResourceLimits;
pub use crate::identity::Identity;
pub use crate::json::JsonError;
pub use crate::judge::{Judge, Offer, Rejection, Verdict};
pub use crate::options::{Options, Variant};
pub use crate::resource::Resource;
pub use crate::resource_type::ResourceType;
pub use crate::server::{Server, ServerAddress, Service};
pub use crate::snapshot::{Changes, Snapshot};
pub use crate::snapshots::Snapshots;
pub use crate::subscriptions::{SubscribeError, Subscriptions};
pub use crate::tls::{ClientIdentity, Tls, TlsError};
