//! What comes from the endpoint: its response, or why there is none.

use std::time::Instant;

use weir_abi::{Direction, HeaderMap};

use super::Exchange;
use super::endpoint::{EndpointState, Target};
use crate::http::{AnyUpstream, Downstream, ResponsePiece, Upstream as _, UpstreamError};
use crate::limits::INFORMATIONAL_MAX;
use crate::stream::{ResponseState, UpstreamFailure};

impl<D: Downstream> Exchange<'_, D> {
    pub(super) fn response_piece(&mut self, mut piece: ResponsePiece) {
        let EndpointState::Active(active) = &mut self.endpoint else {
            return;
        };
        active.stale = false;
        if let ResponsePiece::Body { end_of_stream, .. } = &mut piece
            && !*end_of_stream
            && !self.stream.has_filters()
        {
            // Filters are told of the end by itself, as in Envoy; nobody else needs that.
            *end_of_stream = active.upstream.take_end();
        }
        let now = Instant::now();
        self.timers.attempt_moved();
        if let Some(metrics) = &self.upstream_metrics {
            metrics.received(&piece, now);
        }
        match piece {
            ResponsePiece::Informational(headers) => {
                active.informational += 1;
                if active.informational > INFORMATIONAL_MAX {
                    let reason = "1xx without end".to_owned();
                    return self.upstream_failed(&UpstreamError::Malformed(reason));
                }
                // What a filter holds back or answers itself, has no forerunner.
                // Weir itself has told the client to continue, or is not to.
                let awaited = self.stream.response_state() == ResponseState::Awaited;
                let passes = self.listener.http.proxy_100_continue
                    || headers.get(b":status").is_none_or(|s| s != "100");
                if awaited && passes {
                    // As in Envoy: another endpoint might not say it again.
                    self.stop_retrying();
                    self.downstream.send_informational(&headers);
                    self.unflushed = true;
                }
            }
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            } if self.retries_after_response(&headers, end_of_stream) => {}
            ResponsePiece::Headers {
                mut headers,
                end_of_stream,
            } => {
                let EndpointState::Active(active) = &mut self.endpoint else {
                    return;
                };
                // A switch of protocols lets go what has waited for it.
                active.flush_again();
                if self.listener.http.envoy_headers {
                    let took = now.saturating_duration_since(active.sent);
                    let took = took.as_millis().to_string();
                    headers.replace("x-envoy-upstream-service-time", took);
                }
                for cookie in self.cookies.drain(..) {
                    headers.add("set-cookie", cookie);
                }
                if end_of_stream {
                    self.response_ended(now);
                }
                if let (Some(istio), Some(record)) = (&self.listener.istio, &self.stream.info.istio)
                {
                    istio.response(&mut headers, record);
                }
                self.finish_upstream_headers(&mut headers);
                self.stream.response_headers(headers, end_of_stream);
            }
            ResponsePiece::Body {
                data,
                end_of_stream,
            } => {
                if end_of_stream {
                    self.response_ended(now);
                }
                if let Some(record) = &self.stream.info.istio {
                    record.body(Direction::Response, &data);
                }
                self.stream.response_body(data, end_of_stream);
            }
            ResponsePiece::Trailers(trailers) => {
                self.response_ended(now);
                self.stream.response_trailers(trailers);
            }
        }
    }

    /// Changes a response's headers as the route says.
    fn finish_upstream_headers(&self, headers: &mut HeaderMap) {
        let route = self.stream.info.route.borrow();
        let Some(route) = route.as_ref() else {
            return;
        };
        if route.tell_attempts {
            headers.replace("x-envoy-attempt-count", self.attempts.number.to_string());
        }
        route.change_response(&self.stream, headers);
    }

    /// An attempt took too long.
    pub(super) fn attempt_expired(&mut self, failure: &UpstreamFailure) {
        self.timers.stop_attempt();
        self.endpoint = EndpointState::Done;
        if let Some(cluster) = self.cluster() {
            let idle = *failure == UpstreamFailure::AttemptIdle;
            cluster.metrics.attempt_timeout(idle);
        }
        if let Some(metrics) = self.upstream_metrics.take() {
            metrics.attempt_timeout();
        }
        if !self.retries_after_failure(failure, true) {
            self.timers.stop_response();
            self.stream.fail_upstream(failure);
        }
    }

    /// The whole response has come, at that time.
    fn response_ended(&mut self, at: Instant) {
        if let EndpointState::Active(active) = &self.endpoint {
            let latency = &self.stream.info.upstream_latency;
            latency.set(Some(at.saturating_duration_since(active.sent)));
        }
        self.release_endpoint();
    }

    /// The exchange with the endpoint is over: its connection goes back to the
    /// pool, if both messages went over it whole.
    pub(super) fn release_endpoint(&mut self) {
        self.timers.stop_response();
        self.upstream_metrics = None;
        self.release_connection();
    }

    pub(super) fn release_connection(&mut self) {
        let state = std::mem::replace(&mut self.endpoint, EndpointState::Done);
        if let EndpointState::Active(active) = state
            && let AnyUpstream::H1(upstream) = active.upstream
        {
            let (endpoint, place) = (&active.target.endpoint, &active.place);
            self.shared.pool.release(endpoint, place, *upstream);
        }
    }

    pub(super) fn upstream_failed(&mut self, error: &UpstreamError) {
        tracing::debug!("upstream: {error}");
        let state = std::mem::replace(&mut self.endpoint, EndpointState::Done);
        let unseen = match error {
            UpstreamError::Refused => true,
            // It may have been seen after all (RFC 9110, section 9.2.2).
            UpstreamError::Closed(_) => self.is_idempotent(),
            _ => false,
        };
        if let EndpointState::Active(active) = &state
            && unseen
            && active.stale
            && !active.body_sent
        {
            // The endpoint closed a connection just as it was taken from the
            // pool: the request has not been seen there.
            let Target { cluster, endpoint } = active.target.clone();
            return self.connect(cluster, endpoint, true);
        }
        if let Some(metrics) = self.upstream_metrics.take() {
            metrics.failed(error);
        }
        // As in Envoy, what the cluster has no room for is not tried again.
        if matches!(error, UpstreamError::Overflow) {
            self.timers.stop_response();
            let tells = self.listener.http.envoy_headers;
            return self.stream.fail_overflow(tells);
        }
        if let UpstreamError::Connect(cause) = error {
            let failure = &self.stream.info.upstream_failure;
            failure.borrow_mut().clone_from(cause);
        }
        let failure = UpstreamFailure::from(error);
        let begun = matches!(state, EndpointState::Active(_));
        if !self.retries_after_failure(&failure, begun) {
            self.timers.stop_response();
            self.stream.fail_upstream(&failure);
        }
    }

    /// Whether the request may be sent twice.
    fn is_idempotent(&self) -> bool {
        let headers = self.stream.request_map();
        headers.get(b":method").is_some_and(|method| {
            let methods = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
            methods.iter().any(|m| method == m)
        })
    }
}
