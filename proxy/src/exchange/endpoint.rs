//! An exchange's side towards the endpoint: the connection that is being made or
//! used, and what waits for it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use weir_abi::BodyBuffer;

use crate::cluster::{Endpoint, Lease, Place};
use crate::http::{AnyUpstream, UpstreamError};

pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<(Lease, Target), UpstreamError>>>>;

/// Which endpoint of which cluster, the latter by its place.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) cluster: usize,
    pub(super) endpoint: Rc<Endpoint>,
}

/// How the exchange stands with its endpoint.
pub(super) enum EndpointState {
    /// No request has passed the filters yet.
    None,
    Connecting(Connecting),
    Active(Box<Active>),
    /// An attempt has failed; another one begins after a pause.
    Waiting(Pin<Box<tokio::time::Sleep>>),
    /// The exchange with the endpoint is over.
    Done,
}

/// A request on its way to an endpoint, and its response on the way back.
pub(super) struct Active {
    pub(super) upstream: AnyUpstream,
    pub(super) target: Target,
    /// Given back behind the connection.
    pub(super) place: Place,
    /// The connection was used before and nothing has come back on it: the
    /// endpoint may have closed it before it saw the request.
    pub(super) stale: bool,
    /// Some of the request's body has been handed over.
    pub(super) body_sent: bool,
    pub(super) request_ended: bool,
    /// When the request was handed over, as far as it had come.
    pub(super) sent: Instant,
    /// 1xx responses that have come.
    pub(super) informational: usize,
    /// Something is queued that has not been flushed.
    unflushed: bool,
    /// The endpoint takes no more of the request. Its response may be there all
    /// the same: reading tells.
    deaf: bool,
}

impl Active {
    pub(super) fn new(lease: Lease, target: Target, now: Instant) -> Self {
        Self {
            upstream: lease.upstream,
            target,
            place: lease.place,
            stale: lease.reused,
            body_sent: false,
            request_ended: false,
            sent: now,
            informational: 0,
            unflushed: false,
            deaf: false,
        }
    }

    /// The codec, to queue something.
    pub(super) fn sender(&mut self) -> &mut AnyUpstream {
        self.unflushed = true;
        &mut self.upstream
    }

    /// Something may have been queued.
    pub(super) fn flush_again(&mut self) {
        self.unflushed = true;
    }

    /// Whether nothing of the request can be sent any more.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Writes what is queued. Ready when there was something and nothing is left.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<()> {
        use crate::http::Upstream;
        if !self.unflushed || self.deaf {
            return Poll::Pending;
        }
        match ready!(self.upstream.poll_flush(context)) {
            Ok(()) => {
                self.unflushed = false;
                Poll::Ready(())
            }
            Err(error) => {
                tracing::debug!("request: {error}");
                self.deaf = true;
                Poll::Pending
            }
        }
    }
}

/// What has passed the filters and waits for a connection.
#[derive(Default)]
pub(super) struct PendingRequest {
    /// Nothing follows the headers.
    pub(super) headers_only: bool,
    pub(super) body: BodyBuffer,
    pub(super) end: PendingEnd,
}

/// How the request ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PendingEnd {
    /// More will come.
    #[default]
    Open,
    /// With its headers or body.
    Body,
    /// With trailers, which stand in the stream's map.
    Trailers,
}
