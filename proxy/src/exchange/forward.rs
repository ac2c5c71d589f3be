//! The request on its way from the filters to an endpoint.

use std::fmt::Display;
use std::rc::Rc;

use bytes::Bytes;
use weir_abi::Direction;
use weir_config::Connect;

use super::Exchange;
use super::endpoint::{Active, EndpointState, PendingEnd, Target};
use crate::cluster::{Endpoint, Lease, PickContext};
use crate::http::{Downstream, Switch, Upstream};
use crate::route::{Action, Forward};
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
                self.pending.body.append(data);
                if end_of_stream {
                    self.pending.end = PendingEnd::Body;
                }
            }
            Frame::Trailers => self.pending.end = PendingEnd::Trailers,
        }
        let waits = !matches!(self.endpoint, EndpointState::Done);
        if waits && self.pending.end != PendingEnd::Open {
            self.timers.start_response(self.timeout);
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
            Action::Forward(forward) => {
                forward.rewrite(&mut self.stream.request_map());
                self.timeout = forward.timeout;
                if let Some(timeout) = forward.idle_timeout {
                    let limit = Some(timeout).filter(|t| !t.is_zero());
                    self.timers.set_idle_timeout(limit);
                }
                self.add_timeout_header();
                let cluster = Rc::clone(&self.shared.clusters[forward.cluster]);
                self.upstream_limit = cluster.buffer_limit.max(1);
                let endpoint = cluster.pick(&PickContext {
                    hash: self.hash(forward),
                    ..PickContext::default()
                });
                let host = endpoint.as_ref().and_then(|e| e.host.as_ref());
                if let Some(host) = host.filter(|_| forward.auto_host_rewrite) {
                    let host = Bytes::copy_from_slice(host.as_bytes());
                    forward.replace_host(&mut self.stream.request_map(), host);
                }
                match endpoint {
                    Some(endpoint) => self.connect(forward.cluster, endpoint, false),
                    None => self.stream.fail_upstream(&UpstreamFailure::NoEndpoint),
                }
            }
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
            info.client.ip(),
            info.connection.peer,
            info.connection.local,
        );
        self.cookies = hash.cookies;
        hash.value
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
        let cluster = route.as_deref().and_then(|route| match &route.action {
            Action::Forward(forward) => Some(&self.shared.clusters[forward.cluster]),
            Action::Redirect(_) | Action::DirectResponse(_) => None,
        });
        info.cluster_endpoints
            .set(cluster.map(|cluster| cluster.size()));
        *info.cluster.borrow_mut() = cluster.map(|cluster| Rc::clone(&cluster.name));
        *info.route.borrow_mut() = route;
    }

    /// Tells the endpoint how long it has, if that is asked for.
    fn add_timeout_header(&self) {
        if self.listener.http.envoy_headers
            && let Some(timeout) = self.timeout
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
        info.upstream_chosen(endpoint.address);
        info.upstream_metadata.replace(endpoint.metadata());
        let of_cluster = &self.shared.clusters[cluster];
        let request = of_cluster.request(&endpoint);
        if let Some(trace) = &info.trace {
            let mut headers = self.stream.request_map();
            request.trace(trace.upstream(&mut headers, &of_cluster.name, endpoint.address));
        }
        self.upstream_metrics = Some(request);
        let shared = Rc::clone(self.shared);
        let terminates = self.route_connect() == Some(Connect::Terminate);
        self.endpoint = EndpointState::Connecting(Box::pin(async move {
            let cluster = &shared.clusters[target.cluster];
            let lease = if terminates {
                shared.pool.connect_raw(cluster, &endpoint).await
            } else {
                shared.pool.connect(cluster, &endpoint, fresh).await
            };
            lease.map(|lease| (lease, target))
        }));
    }

    pub(super) fn connected(&mut self, lease: Lease, target: Target) {
        let info = &self.stream.info;
        info.upstream_ready(lease.local);
        info.upstream_tls.replace(lease.upstream.tls().cloned());
        let mut active = Active::new(lease, target);
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
