//! [`EndpointRequest`]: one request to an endpoint, as it is counted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::Endpoint;
use super::outlier::{self, Outcome};
use super::spec::ClusterSpec;
use crate::http::{ResponsePiece, UpstreamError};
use crate::stream::parse_status;
use crate::telemetry::UpstreamRequest;
use crate::trace::UpstreamSpan;

/// One request to an endpoint: what comes of it counts for the cluster and for the
/// endpoint.
pub(crate) struct EndpointRequest {
    metrics: UpstreamRequest,
    endpoint: Rc<Endpoint>,
    /// What came of it is known.
    is_settled: Cell<bool>,
}

impl EndpointRequest {
    pub(super) fn new(metrics: UpstreamRequest, endpoint: &Rc<Endpoint>) -> Self {
        endpoint.cells.requests.add(1);
        endpoint.cells.active_requests.add(1);
        Self {
            metrics,
            endpoint: Rc::clone(endpoint),
            is_settled: Cell::new(false),
        }
    }

    /// It gets a span.
    pub(crate) fn trace(&self, span: Option<UpstreamSpan>) {
        self.metrics.trace(span);
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.metrics.began()
    }

    /// Counts what has come of the response, at that time.
    pub(crate) fn received(&self, piece: &ResponsePiece, at: Instant) {
        self.metrics.received(piece, at);
        if let ResponsePiece::Headers { headers, .. } = piece {
            let status = headers.get(b":status").and_then(|s| parse_status(s));
            self.settle(Outcome::Answered(status.unwrap_or(0)));
        }
    }

    /// There is a connection, which is all that was wanted.
    pub(crate) fn connected(&self) {
        self.settle(Outcome::Connected);
    }

    /// It has ended without a response, or not with all of it.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        self.metrics.failure();
        match error {
            // The endpoint has not been asked.
            UpstreamError::Overflow => {}
            UpstreamError::ConnectTimeout
            | UpstreamError::Connect(_)
            | UpstreamError::Closed(_)
            | UpstreamError::Reset(_)
            | UpstreamError::Refused
            | UpstreamError::Malformed(_) => self.settle(Outcome::Failed),
        }
    }

    /// The response was more than anybody takes, which is not the endpoint's fault.
    pub(crate) fn cut(&self) {
        self.metrics.failure();
    }

    /// It took too long.
    pub(crate) fn timeout(&self) {
        self.metrics.timeout();
        self.took_too_long();
    }

    /// It took too long for one attempt, of which there could be several.
    pub(crate) fn attempt_timeout(&self) {
        self.metrics.failure();
        self.took_too_long();
    }

    fn took_too_long(&self) {
        self.endpoint.cells.timeouts.add(1);
        self.settle(Outcome::TimedOut);
    }

    fn settle(&self, outcome: Outcome) {
        if self.is_settled.replace(true) {
            return;
        }
        let Endpoint {
            spec,
            member,
            cells,
            ..
        } = &*self.endpoint;
        match outcome {
            Outcome::Answered(..500) | Outcome::Connected => cells.successes.add(1),
            Outcome::Answered(_) | Outcome::Failed | Outcome::TimedOut => cells.errors.add(1),
        }
        let ClusterSpec { members, .. } = &**spec;
        outlier::report(members, member, cells, outcome);
    }
}

impl Drop for EndpointRequest {
    fn drop(&mut self) {
        self.endpoint.cells.active_requests.subtract(1);
    }
}
