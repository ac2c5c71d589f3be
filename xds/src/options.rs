//! [`Options`]: what a client is made of.

use std::time::Duration;

use http::HeaderMap;

use crate::held::ResourceLimits;
use crate::identity::Identity;
use crate::limits::{
    BACKOFF_FIRST, BACKOFF_MAX, CONNECT_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT,
    MESSAGE_BYTES,
};
use crate::server::{Server, Service};

/// What a client is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server is.
    pub server: Server,
    /// Which of its services is used. Default: the aggregated one.
    pub service: Service,
    /// How resources are asked for. Default: by deltas.
    pub variant: Variant,
    /// Who asks.
    pub identity: Identity,
    /// Headers of the stream's request, such as `authorization`. Values that others must
    /// not see are to be marked as sensitive. Default: none.
    pub headers: HeaderMap,
    /// How much there may be of each type.
    pub limits: ResourceLimits,
    /// Bytes of one message of the server. Default: [`MESSAGE_BYTES`].
    pub message_bytes: usize,
    /// Time for a connection. Default: [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// Pause before the first attempt to connect again; later ones double it. Default:
    /// [`BACKOFF_FIRST`].
    pub backoff_first: Duration,
    /// The longest pause. Default: [`BACKOFF_MAX`].
    pub backoff_max: Duration,
    /// How often a silent server is asked whether it is there. Default:
    /// [`KEEPALIVE_INTERVAL`].
    pub keepalive_interval: Duration,
    /// Time for the answer to that. Default: [`KEEPALIVE_TIMEOUT`].
    pub keepalive_timeout: Duration,
}

/// How resources are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// Responses have what has changed (`DELTA_GRPC`).
    #[default]
    Delta,
    /// Responses have all there is (`GRPC`).
    StateOfTheWorld,
}

impl Options {
    /// A client of this server with the defaults.
    pub fn new(server: Server, identity: Identity) -> Self {
        Self {
            server,
            service: Service::default(),
            variant: Variant::default(),
            identity,
            headers: HeaderMap::new(),
            limits: ResourceLimits::default(),
            message_bytes: MESSAGE_BYTES,
            connect_timeout: CONNECT_TIMEOUT,
            backoff_first: BACKOFF_FIRST,
            backoff_max: BACKOFF_MAX,
            keepalive_interval: KEEPALIVE_INTERVAL,
            keepalive_timeout: KEEPALIVE_TIMEOUT,
        }
    }
}
