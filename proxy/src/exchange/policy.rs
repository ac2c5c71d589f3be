//! What a route says of a request that comes, before any filter sees it: who may read the
//! response, how large and how long it may be.

use std::time::Duration;

use super::{Exchange, RequestReader};
use crate::gate::GateKind;
use crate::http::Downstream;
use crate::route::{Action, Route};
use crate::stream::{ResponseFlags, ResponseState};

/// What the route said when the request came.
#[derive(Default)]
pub(super) struct Policy {
    /// Bytes that the body may have.
    max_request_bytes: Option<u64>,
}

impl<D: Downstream> Exchange<'_, D> {
    /// Takes what the route says. False when the request is answered over it.
    pub(super) fn admit(&mut self) -> bool {
        let (max, duration) = match self.stream.info.route.borrow().as_deref() {
            Some(route) => (route.max_request_bytes, duration_max(route)),
            None => return true,
        };
        self.limit_duration(duration);
        let mut gates = self.stream.info.gates.iter();
        let has_place = gates.any(|gate| matches!(gate.kind, GateKind::Cors));
        if !has_place && !self.stream.admit_origin() {
            return false;
        }
        self.policy.max_request_bytes = max;
        let fits = max.is_none_or(|max| self.declared_size().is_none_or(|size| size <= max));
        if !fits {
            self.stream
                .reject(413, TOO_LARGE, Vec::new(), "Payload Too Large");
        }
        fits
    }

    /// What the request says of the size of its body.
    fn declared_size(&self) -> Option<u64> {
        let request = self.stream.request_map();
        let size = request.get(b"content-length")?;
        std::str::from_utf8(size).ok()?.parse().ok()
    }

    /// Whether the body has more than it may with `more` bytes.
    pub(super) fn is_too_large(&self, more: usize) -> bool {
        let size = self.stream.info.bytes_received.get() + more as u64;
        self.policy.max_request_bytes.is_some_and(|max| size > max)
    }

    /// The body has more than it may.
    pub(super) fn refuse_body(&mut self) {
        self.policy.max_request_bytes = None;
        self.stream
            .fail_request(413, TOO_LARGE, "Payload Too Large");
    }

    /// The stream may take so long, from when it began.
    pub(super) fn limit_duration(&mut self, max: Option<Duration>) {
        let max = max.map(|max| (max, self.stream.info.elapsed()));
        self.timers.set_duration(max);
    }

    /// The stream has taken as long as it may.
    pub(super) fn duration_expired(&mut self) {
        self.timers.set_duration(None);
        let details = "max_duration_timeout";
        if self.stream.response_state() == ResponseState::Awaited {
            let code = match self.request {
                RequestReader::Ended => 504,
                RequestReader::Reading | RequestReader::Gone => 408,
            };
            self.stream
                .fail_request(code, details, "downstream duration timeout");
        } else {
            // There is no other answer any more.
            self.request = RequestReader::Gone;
            self.stream
                .fail_downstream(ResponseFlags::default(), details);
        }
    }
}

/// How long a stream may take, by its route.
fn duration_max(route: &Route) -> Option<Duration> {
    match &route.action {
        Action::Forward(forward) => forward.duration_max,
        Action::Redirect(_) | Action::DirectResponse(_) => None,
    }
}

const TOO_LARGE: &str = "request_payload_too_large";
