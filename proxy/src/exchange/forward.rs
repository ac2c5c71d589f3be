//! The request on its way from the filters to an endpoint.

use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use weir_abi::Direction;
use weir_config::Connect;

use super::Exchange;
use super::endpoint::{Active, EndpointState, PendingEnd, Target};
use crate::cluster::{Endpoint, Lease, PickContext};
use crate::http::{Downstream, Switch, Upstream};
use crate::route::{Action, Forward, Route};
use crate::stream::{Frame, UpstreamFailure};

impl<D: Downstream> Exchange<'_, D> {
    /// Hands a piece of the request to the endpoint, or keeps it until there is
    /// a connection.
    pub(super) fn forward(&mut self, frame: Frame) {
        match frame {
            Frame::Headers { end_of_stream } => {
                self.pending.headers_only = end_of_stream;
                if end_of_stream {
                    self.pending.end = PendingEnd::Body;
                }
                self.start_request();
            }
            Frame::Body {
                data,
                end_of_stream,
            } => {
                self.keep_for_mirrors(&data);
                if !self.keep(&data) {
                    return;
                }
                self.pending.body.append(data);
                if end_of_stream {
                    self.pending.end = PendingEnd::Body;
                }
            }
            Frame::Trailers => self.pending.end = PendingEnd::Trailers,
        }
        if self.pending.end != PendingEnd::Open {
            self.send_mirrors();
        }
        let waits = !matches!(self.endpoint, EndpointState::Done);
        if waits && self.pending.end != PendingEnd::Open {
            self.timers.start_response(self.timeout);
            if matches!(self.endpoint, EndpointState::Active(_)) {
                self.timers.start_attempt(self.attempts.timeout);
            }
        }
        self.send_pending();
    }

    /// Chooses route, cluster and endpoint, and begins to connect.
    fn start_request(&mut self) {
        if !self.listener.chain.is_empty() {
            // Filters may have changed what the route depends on.
            self.find_route();
        }
        let found = self.stream.info.route.borrow().clone();
        let Some(route) = found.filter(|_| self.may_switch()) else {
            self.stream.fail_upstream(&UpstreamFailure::NoRoute);
            return;
        };
        match &route.action {
            Action::Forward(forward) => self.start_forwarding(&route, forward),
            Action::Redirect(redirect) => {
                let (status, location) = redirect.answer(&self.stream.request_map());
                let headers = vec![(Bytes::from_static(b"location"), location)];
                self.stream.answer(status, headers, Bytes::new());
            }
            Action::DirectResponse(answer) => {
                let location = answer.location(&self.stream.request_map());
                let headers = location.map(|location| (Bytes::from_static(b"location"), location));
                let headers = headers.into_iter().collect();
                self.stream
                    .answer(answer.status, headers, answer.body.clone());
            }
        }
    }

    /// What the endpoint depends on, if the route says so. Notes the cookies that the
    /// client is to keep for it.
    fn hash(&mut self, forward: &Forward) -> Option<u64> {
        if forward.hash_policy.is_empty() {
            return None;
        }
        let info = &self.stream.info;
        let hash = forward.hash_policy.hash(
            &self.stream.request_map(),
            &info.client,
            &info.connection.peer,
            &info.connection.local,
        );
        self.cookies = hash.cookies;
        hash.value
    }

    fn start_forwarding(&mut self, route: &Arc<Route>, forward: &Forward) {
        let Some(cluster) = self.cluster() else {
            self.stream.fail_upstream(&UpstreamFailure::NoCluster);
            return;
        };
        self.prepare_attempts(route, forward);
        route.change_request(&self.stream);
        forward.rewrite(&mut self.stream.request_map());
        if let Some(istio) = &self.listener.istio {
            istio.forward(&mut self.stream.request_map(), &cluster);
        }
        if let Some(timeout) = forward.idle_timeout {
            let limit = Some(timeout).filter(|t| !t.is_zero());
            self.timers.set_idle_timeout(limit);
        }
        self.upstream_limit = cluster.buffer_limit.max(1);
        self.limit_duration(forward.duration_max);
        self.prepare_mirrors(route, forward);
        self.attempts.hash = self.hash(forward);
        self.attempt(route, forward);
    }

    /// Chooses an endpoint of the stream's cluster, and begins to connect.
    pub(super) fn attempt(&mut self, route: &Route, forward: &Forward) {
        let Some(chosen) = self.stream.info.chosen.get() else {
            return;
        };
        self.attempts.number += 1;
        if route.count_attempts {
            let number = self.attempts.number.to_string();
            let mut request = self.stream.request_map();
            request.replace("x-envoy-attempt-count", number);
        }
        self.add_timeout_header();
        let cluster = &self.shared.clusters[chosen.cluster];
        let connection = &self.stream.info.connection;
        let destination = cluster.destination(connection, &self.stream.request_map());
        let Some(endpoint) = cluster.pick(&PickContext {
            hash: self.attempts.hash,
            excluded: &self.attempts.tried,
            destination,
        }) else {
            self.timers.stop_response();
            self.stream.fail_upstream(&UpstreamFailure::NoEndpoint);
            return;
        };
        self.attempts.chosen(&endpoint.address);
        let host = endpoint.host.as_ref().filter(|_| forward.auto_host_rewrite);
        if let Some(host) = host {
            let host = Bytes::copy_from_slice(host.as_bytes());
            let mut request = self.stream.request_map();
            if self.attempts.number == 1 {
                forward.replace_host(&mut request, host);
            } else {
                // What it was at first is told already.
                request.overwrite(":authority", host);
            }
        }
        self.connect(chosen.cluster, endpoint, false);
    }

    /// What the route has to say of a request for a tunnel.
    fn route_connect(&self) -> Option<Connect> {
        match &self.stream.info.route.borrow().as_deref()?.action {
            Action::Forward(forward) if self.switch == Some(Switch::Connect) => forward.connect,
            _ => None,
        }
    }

    /// Whether the request may switch protocols, if it asks to.
    fn may_switch(&self) -> bool {
        let allowed = |switch: &Switch| self.listener.codec.allows(switch);
        self.switch.as_ref().is_none_or(allowed) || self.route_connect().is_some()
    }

    /// Bytes that one filter may hold, if the route has a word on it.
    pub(super) fn route_buffer_limit(&self) -> Option<usize> {
        self.stream.info.route.borrow().as_deref()?.buffer_limit
    }

    /// Looks the request's route up.
    pub(super) fn find_route(&self) {
        let info = &self.stream.info;
        let route = self
            .listener
            .routes
            .find(&self.stream.request_map())
            .cloned();
        let chosen = route.as_deref().and_then(|route| match &route.action {
            Action::Forward(forward) => {
                let request = self.stream.request_map();
                let names = &self.shared.names;
                forward.destination.choose(&request, &self.lot, names)
            }
            Action::Redirect(_) | Action::DirectResponse(_) => None,
        });
        info.chosen.set(chosen);
        let cluster = self.cluster();
        if let (Some(record), Some(cluster)) = (&info.istio, &cluster) {
            record.goes_to(cluster);
        }
        info.cluster_endpoints
            .set(cluster.as_ref().map(|cluster| cluster.size()));
        *info.cluster.borrow_mut() = cluster.map(|cluster| Rc::clone(&cluster.name));
        *info.route.borrow_mut() = route;
    }

    /// Tells the endpoint how long it has, if that is asked for.
    fn add_timeout_header(&self) {
        let timeouts = [
            self.attempts.timeout,
            self.timers.response_left(self.timeout),
        ];
        if self.listener.http.envoy_headers
            && let Some(timeout) = timeouts.into_iter().flatten().min()
        {
            let timeout = timeout.as_millis().to_string();
            let name = "x-envoy-expected-rq-timeout-ms";
            self.stream.request_map().replace(name, timeout);
        }
    }

    /// Begins to connect to an endpoint of `cluster`; when `fresh`, by a
    /// connection that is certainly new.
    pub(super) fn connect(&mut self, cluster: usize, endpoint: Rc<Endpoint>, fresh: bool) {
        let target = Target {
            cluster,
            endpoint: Rc::clone(&endpoint),
        };
        let info = &self.stream.info;
        let of_cluster = &self.shared.clusters[cluster];
        let request = of_cluster.request(&endpoint);
        info.upstream_chosen(&endpoint.address, request.began());
        info.upstream_metadata.replace(endpoint.metadata());
        if let Some(trace) = &info.trace {
            let mut headers = self.stream.request_map();
            request.trace(trace.upstream(&mut headers, &of_cluster.name, &endpoint.address));
        }
        self.upstream_metrics = Some(request);
        let shared = Rc::clone(self.shared);
        let terminates = self.route_connect() == Some(Connect::Terminate);
        let (account, client) = (info.connection.account(), info.protocol);
        self.endpoint = EndpointState::Connecting(Box::pin(async move {
            let cluster = &shared.clusters[target.cluster];
            let pool = &shared.pool;
            let lease = if terminates {
                pool.connect_raw(cluster, &endpoint, account).await
            } else {
                pool.connect(cluster, &endpoint, (account, client), fresh)
                    .await
            };
            lease.map(|lease| (lease, target))
        }));
    }

    pub(super) fn connected(&mut self, mut lease: Lease, target: Target) {
        let info = &self.stream.info;
        let now = Instant::now();
        info.upstream_ready(lease.local.take(), now);
        info.upstream_tls.replace(lease.upstream.tls().cloned());
        // Of an attempt before this one.
        info.upstream_failure.borrow_mut().clear();
        if self.pending.end != PendingEnd::Open {
            self.timers.start_attempt(self.attempts.timeout);
        }
        self.timers.start_attempt_idle(self.attempts.idle_timeout);
        let mut active = Active::new(lease, target, now);
        if let Some(switch) = &self.switch {
            active.upstream.set_switch(switch.clone());
        }
        let end = self.pending.headers_only;
        let sent = active
            .sender()
            .send_headers(&self.stream.request_map(), end);
        active.request_ended = end;
        self.endpoint = EndpointState::Active(Box::new(active));
        match sent {
            Ok(()) => self.send_pending(),
            Err(error) => {
                self.endpoint = EndpointState::Done;
                self.unsendable(&error);
            }
        }
    }

    /// Hands over what waits for the connection, if there is one.
    fn send_pending(&mut self) {
        let EndpointState::Active(active) = &mut self.endpoint else {
            return;
        };
        if active.is_deaf() {
            self.pending.body.clear();
        }
        if active.request_ended || active.is_deaf() {
            return;
        }
        self.timers.attempt_moved();
        let body = std::mem::take(&mut self.pending.body);
        let ends = self.pending.end == PendingEnd::Body;
        active.body_sent |= !body.is_empty() || self.pending.end != PendingEnd::Open;
        active.request_ended = self.pending.end != PendingEnd::Open;
        let mut sent = active.sender().send_body(body, ends);
        if self.pending.end == PendingEnd::Trailers && sent.is_ok() {
            let trailers = self.stream.trailers(Direction::Request);
            if let Some(trailers) = trailers {
                sent = active.sender().send_trailers(&trailers);
            }
        }
        if let Err(error) = sent {
            self.endpoint = EndpointState::Done;
            self.unsendable(&error);
        }
    }

    /// The filters left a request that cannot be sent (Envoy answers 503).
    fn unsendable(&self, reason: &dyn Display) {
        let reason = reason.to_string();
        self.stream
            .fail_request(503, &format!("invalid_request{{{reason}}}"), &reason);
    }
}
