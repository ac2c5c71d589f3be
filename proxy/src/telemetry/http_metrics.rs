//! What passes listeners and clusters, under Envoy's names.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cell::{Counter, REQUEST_TIME, Samples};
use super::family as f;
use super::figures::{self, ClusterFigures, ListenerFigures};
use super::page::Page;
use super::tls_metrics::TlsMetrics;
use crate::http::ResponsePiece;
use crate::stream::{Protocol, parse_status};
use crate::trace::UpstreamSpan;

/// Classes of status codes.
const CLASSES: [&str; 5] = ["1", "2", "3", "4", "5"];

/// Counts by class of the status.
#[derive(Debug, Default)]
struct Codes([Counter; CLASSES.len()]);

impl Codes {
    fn count(&self, code: u16) {
        let class = usize::from(code / 100).checked_sub(1);
        if let Some(counter) = class.and_then(|c| self.0.get(c)) {
            counter.add(1);
        }
    }

    fn counts(&self) -> Vec<u64> {
        self.0.iter().map(Counter::get).collect()
    }
}

/// Counts by status, from 100 to 599.
#[derive(Debug)]
struct Statuses(Box<[Counter; 500]>);

impl Default for Statuses {
    fn default() -> Self {
        Self(Box::new([const { Counter::new() }; 500]))
    }
}

impl Statuses {
    fn count(&self, code: u16) {
        let place = usize::from(code).checked_sub(100);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.add(1);
        }
    }

    /// Those that there were.
    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = (100..).zip(self.0.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0)
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A listener's numbers on one worker.
#[derive(Debug)]
pub(crate) struct ListenerMetrics {
    /// Of the listener.
    name: String,
    address: String,
    tcp: bool,
    pub(crate) tls: TlsMetrics,
    no_proxy_header: Counter,
    inspection_timeouts: Counter,
    no_filter_chain: Counter,
    loops_ended: Counter,
    overflow: Counter,
    global_overflow: Counter,
    accept_failures: Counter,
    connections: Counter,
    active_connections: Counter,
    http1_requests: Counter,
    http2_requests: Counter,
    active_requests: Counter,
    responses: Counter,
    codes: Codes,
    time: Samples,
}

impl ListenerMetrics {
    /// Whether these are the numbers of such a listener.
    pub(super) fn is_of(&self, name: &str, address: &str, tcp: bool) -> bool {
        self.name == name && self.address == address.replace(':', "_") && self.tcp == tcp
    }

    /// `address` as it is bound; `tcp` for one that takes no HTTP.
    pub(super) fn new(name: &str, address: &str, tcp: bool) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            // As Envoy writes it: a colon would end a part of the name.
            address: address.replace(':', "_"),
            tcp,
            tls: TlsMetrics::default(),
            no_proxy_header: Counter::default(),
            inspection_timeouts: Counter::default(),
            no_filter_chain: Counter::default(),
            loops_ended: Counter::default(),
            overflow: Counter::default(),
            global_overflow: Counter::default(),
            accept_failures: Counter::default(),
            connections: Counter::default(),
            active_connections: Counter::default(),
            http1_requests: Counter::default(),
            http2_requests: Counter::default(),
            active_requests: Counter::default(),
            responses: Counter::default(),
            codes: Codes::default(),
            time: Samples::new(&REQUEST_TIME),
        })
    }

    fn requests(&self) -> u64 {
        self.http1_requests.get() + self.http2_requests.get()
    }

    /// Of the listener.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection was one too many.
    pub(crate) fn overflow(&self) {
        self.overflow.add(1);
    }

    /// A connection was one too many for the process.
    pub(crate) fn global_overflow(&self) {
        self.global_overflow.add(1);
    }

    /// A connection could not be accepted.
    pub(crate) fn accept_failure(&self) {
        self.accept_failures.add(1);
    }

    /// A connection has not begun with the header that is wanted.
    pub(crate) fn no_proxy_header(&self) {
        self.no_proxy_header.add(1);
    }

    /// A client has taken too long to say what its connection is for.
    pub(crate) fn inspection_timeout(&self) {
        self.inspection_timeouts.add(1);
    }

    /// No filter chain is for a connection.
    pub(crate) fn no_filter_chain(&self) {
        self.no_filter_chain.add(1);
    }

    /// A connection was redirected here, and was for this very listener.
    pub(crate) fn loop_ended(&self) {
        self.loops_ended.add(1);
    }

    /// Counts a connection for as long as the guard lives.
    pub(crate) fn connection(self: &Arc<Self>) -> DownstreamConnection {
        self.connections.add(1);
        self.active_connections.add(1);
        DownstreamConnection(Arc::clone(self))
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn request(self: &Arc<Self>, protocol: Protocol) -> DownstreamRequest {
        let requests = match protocol {
            Protocol::Http2 => &self.http2_requests,
            Protocol::Http10 | Protocol::Http11 | Protocol::Tcp => &self.http1_requests,
        };
        requests.add(1);
        self.active_requests.add(1);
        DownstreamRequest {
            metrics: Arc::clone(self),
        }
    }

    /// Adds this worker's numbers to `sum`.
    pub(super) fn add_to(&self, sum: Option<ListenerFigures>) -> ListenerFigures {
        let own = ListenerFigures {
            connections: self.connections.get(),
            active_connections: self.active_connections.get(),
            requests: self.requests(),
            active_requests: self.active_requests.get(),
            codes: self.codes.counts(),
            time: self.time.snapshot(),
        };
        let Some(mut sum) = sum else {
            return own;
        };
        sum.connections += own.connections;
        sum.active_connections += own.active_connections;
        sum.requests += own.requests;
        sum.active_requests += own.active_requests;
        figures::add(&mut sum.codes, &own.codes);
        sum.time.add(&own.time);
        sum
    }

    pub(super) fn show(&self, page: &mut Page) {
        let address = &[&*self.address];
        page.count(&f::LISTENER_CX_TOTAL, address, self.connections.get());
        page.level(&f::SERVER_CX, &[], self.active_connections.get());
        page.level(
            &f::LISTENER_CX_ACTIVE,
            address,
            self.active_connections.get(),
        );
        page.count(&f::LISTENER_CX_OVERFLOW, address, self.overflow.get());
        let overflow = self.global_overflow.get();
        page.count(&f::LISTENER_CX_GLOBAL_OVERFLOW, address, overflow);
        let failures = self.accept_failures.get();
        page.count(&f::LISTENER_ACCEPT_FAILURES, address, failures);
        let errors = self.no_proxy_header.get();
        page.count(&f::LISTENER_PROXY_PROTOCOL_ERRORS, address, errors);
        let timeouts = self.inspection_timeouts.get();
        page.count(&f::LISTENER_PRE_CX_TIMEOUT, address, timeouts);
        let unmatched = self.no_filter_chain.get();
        page.count(&f::LISTENER_NO_FILTER_CHAIN, address, unmatched);
        let ended = self.loops_ended.get();
        page.count(&f::LISTENER_LOOPS_ENDED, address, ended);
        self.tls.show_listener(&self.address, page);
        let name = &[&*self.name];
        if self.tcp {
            page.count(&f::TCP_CX_TOTAL, name, self.connections.get());
            return;
        }
        page.count(&f::HTTP_CX_TOTAL, name, self.connections.get());
        page.level(&f::HTTP_CX_ACTIVE, name, self.active_connections.get());
        page.count(&f::HTTP_RQ_TOTAL, name, self.requests());
        page.count(&f::HTTP_RQ_HTTP1, name, self.http1_requests.get());
        page.count(&f::HTTP_RQ_HTTP2, name, self.http2_requests.get());
        page.level(&f::HTTP_RQ_ACTIVE, name, self.active_requests.get());
        page.count(&f::HTTP_RQ_COMPLETED, name, self.responses.get());
        for (class, count) in CLASSES.iter().zip(&self.codes.0) {
            page.count(&f::HTTP_RQ_XX, &[class, &self.name], count.get());
        }
        page.samples(&f::HTTP_RQ_TIME, name, self.time.snapshot());
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct DownstreamConnection(Arc<ListenerMetrics>);

impl Drop for DownstreamConnection {
    fn drop(&mut self) {
        self.0.active_connections.subtract(1);
    }
}

/// A client's request.
#[derive(Debug)]
pub(crate) struct DownstreamRequest {
    metrics: Arc<ListenerMetrics>,
}

impl DownstreamRequest {
    /// The exchange is over, after that time; `code` of the response, if there was one.
    pub(crate) fn complete(&self, code: Option<u16>, took: Duration) {
        if let Some(code) = code {
            self.metrics.responses.add(1);
            self.metrics.codes.count(code);
        }
        self.metrics.time.record(microseconds(took));
    }
}

impl Drop for DownstreamRequest {
    fn drop(&mut self) {
        self.metrics.active_requests.subtract(1);
    }
}

/// A cluster's numbers on one worker.
#[derive(Debug)]
pub(crate) struct ClusterMetrics {
    name: String,
    pub(crate) tls: TlsMetrics,
    connections: Counter,
    active_connections: Counter,
    connect_failures: Counter,
    connect_timeouts: Counter,
    /// Requests that had to wait for one of the connections that there may be.
    connections_overflow: Counter,
    pending: Counter,
    pending_overflow: Counter,
    panics: Counter,
    requests: Counter,
    active_requests: Counter,
    responses: Counter,
    codes: Codes,
    statuses: Statuses,
    time: Samples,
    timeouts: Counter,
    failures: Counter,
    retries: RetryMetrics,
}

/// What a cluster's numbers say of attempts.
#[derive(Debug, Default)]
struct RetryMetrics {
    timeouts: Counter,
    idle_timeouts: Counter,
    begun: Counter,
    succeeded: Counter,
    exhausted: Counter,
    overflowed: Counter,
    abandoned: Counter,
}

impl ClusterMetrics {
    /// Whether these are the numbers of such a cluster.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.name == name
    }

    pub(crate) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            tls: TlsMetrics::default(),
            connections: Counter::default(),
            active_connections: Counter::default(),
            connect_failures: Counter::default(),
            connect_timeouts: Counter::default(),
            connections_overflow: Counter::default(),
            pending: Counter::default(),
            pending_overflow: Counter::default(),
            panics: Counter::default(),
            requests: Counter::default(),
            active_requests: Counter::default(),
            responses: Counter::default(),
            codes: Codes::default(),
            statuses: Statuses::default(),
            time: Samples::new(&REQUEST_TIME),
            timeouts: Counter::default(),
            failures: Counter::default(),
            retries: RetryMetrics::default(),
        })
    }

    /// A request is sent once more, after a pause.
    pub(crate) fn retried(&self) {
        self.retries.begun.add(1);
    }

    /// A retry got a response that is passed on.
    pub(crate) fn retry_succeeded(&self) {
        self.retries.succeeded.add(1);
    }

    /// A request has been sent as often as it may.
    pub(crate) fn retries_exhausted(&self) {
        self.retries.exhausted.add(1);
    }

    /// A retry was refused, as there are too many.
    pub(crate) fn retry_overflowed(&self) {
        self.retries.overflowed.add(1);
    }

    /// A request is too large to be kept.
    pub(crate) fn retry_abandoned(&self) {
        self.retries.abandoned.add(1);
    }

    /// An attempt took too long, or nothing moved in it for too long.
    pub(crate) fn attempt_timeout(&self, idle: bool) {
        if idle {
            self.retries.idle_timeouts.add(1);
        } else {
            self.retries.timeouts.add(1);
        }
    }

    /// A connection has been made.
    pub(crate) fn connection(&self) {
        self.connections.add(1);
        self.active_connections.add(1);
    }

    /// One that has been made is over.
    pub(crate) fn connection_ended(&self) {
        self.active_connections.subtract(1);
    }

    /// A connection has not been made, or not in time.
    pub(crate) fn connect_failure(&self, timeout: bool) {
        self.connect_failures.add(1);
        if timeout {
            self.connect_timeouts.add(1);
        }
    }

    /// There are as many connections as there may be.
    pub(crate) fn connections_overflow(&self) {
        self.connections_overflow.add(1);
    }

    /// A request waits for a connection, as long as the guard lives.
    pub(crate) fn pending(self: &Arc<Self>) -> PendingRequest {
        self.pending.add(1);
        PendingRequest(Arc::clone(self))
    }

    /// A request is refused, since there are too many.
    pub(crate) fn pending_overflow(&self) {
        self.pending_overflow.add(1);
    }

    /// An endpoint was chosen whether it is healthy or not.
    pub(crate) fn panic(&self) {
        self.panics.add(1);
    }

    /// Counts a request for as long as the guard lives.
    pub(crate) fn request(self: &Arc<Self>) -> UpstreamRequest {
        self.requests.add(1);
        self.active_requests.add(1);
        UpstreamRequest {
            metrics: Arc::clone(self),
            began: Instant::now(),
            span: RefCell::default(),
        }
    }

    /// A request got no response, or not all of it.
    pub(crate) fn failure(&self) {
        self.failures.add(1);
    }

    /// The same, since it took too long.
    pub(crate) fn timeout(&self) {
        self.timeouts.add(1);
        self.failure();
    }

    /// Adds this worker's numbers to `sum`.
    pub(super) fn add_to(&self, sum: Option<ClusterFigures>) -> ClusterFigures {
        let own = ClusterFigures {
            connections: self.connections.get(),
            connect_failures: self.connect_failures.get(),
            requests: self.requests.get(),
            active_requests: self.active_requests.get(),
            failures: self.failures.get(),
            codes: self.codes.counts(),
            time: self.time.snapshot(),
        };
        let Some(mut sum) = sum else {
            return own;
        };
        sum.connections += own.connections;
        sum.connect_failures += own.connect_failures;
        sum.requests += own.requests;
        sum.active_requests += own.active_requests;
        sum.failures += own.failures;
        figures::add(&mut sum.codes, &own.codes);
        sum.time.add(&own.time);
        sum
    }

    pub(super) fn show(&self, page: &mut Page) {
        let name = &[&*self.name];
        page.count(&f::CLUSTER_CX_TOTAL, name, self.connections.get());
        page.level(&f::CLUSTER_CX_ACTIVE, name, self.active_connections.get());
        page.count(
            &f::CLUSTER_CX_CONNECT_FAIL,
            name,
            self.connect_failures.get(),
        );
        let timeouts = self.connect_timeouts.get();
        page.count(&f::CLUSTER_CX_CONNECT_TIMEOUT, name, timeouts);
        let overflow = self.connections_overflow.get();
        page.count(&f::CLUSTER_CX_OVERFLOW, name, overflow);
        page.level(&f::CLUSTER_RQ_PENDING_ACTIVE, name, self.pending.get());
        let overflow = self.pending_overflow.get();
        page.count(&f::CLUSTER_RQ_PENDING_OVERFLOW, name, overflow);
        page.count(&f::CLUSTER_LB_HEALTHY_PANIC, name, self.panics.get());
        self.tls.show_cluster(&self.name, page);
        page.count(&f::CLUSTER_RQ_TOTAL, name, self.requests.get());
        page.level(&f::CLUSTER_RQ_ACTIVE, name, self.active_requests.get());
        page.count(&f::CLUSTER_RQ_COMPLETED, name, self.responses.get());
        for (class, count) in CLASSES.iter().zip(&self.codes.0) {
            page.count(&f::CLUSTER_RQ_XX, &[class, &self.name], count.get());
        }
        for (status, count) in self.statuses.counts() {
            let status = status.to_string();
            page.count(&f::CLUSTER_RQ_CODE, &[&status, &self.name], count);
        }
        page.samples(&f::CLUSTER_RQ_TIME, name, self.time.snapshot());
        page.count(&f::CLUSTER_RQ_TIMEOUT, name, self.timeouts.get());
        let retries = &self.retries;
        for (family, count) in [
            (&f::CLUSTER_RQ_ATTEMPT_TIMEOUT, &retries.timeouts),
            (&f::CLUSTER_RQ_ATTEMPT_IDLE, &retries.idle_timeouts),
            (&f::CLUSTER_RQ_RETRY, &retries.begun),
            (&f::CLUSTER_RQ_RETRY_SUCCESS, &retries.succeeded),
            (&f::CLUSTER_RQ_RETRY_LIMIT, &retries.exhausted),
            (&f::CLUSTER_RQ_RETRY_OVERFLOW, &retries.overflowed),
            (&f::CLUSTER_RQ_RETRY_BACKOFF, &retries.begun),
            (&f::CLUSTER_RETRY_ABANDONED, &retries.abandoned),
        ] {
            page.count(family, name, count.get());
        }
        page.count(&f::CLUSTER_RQ_FAILURES, name, self.failures.get());
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
pub(crate) struct PendingRequest(Arc<ClusterMetrics>);

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.pending.subtract(1);
    }
}

/// A request to an endpoint.
#[derive(Debug)]
pub(crate) struct UpstreamRequest {
    metrics: Arc<ClusterMetrics>,
    began: Instant,
    /// Complete when the request is over.
    span: RefCell<Option<UpstreamSpan>>,
}

impl UpstreamRequest {
    /// It gets a span.
    pub(crate) fn trace(&self, span: Option<UpstreamSpan>) {
        self.span.replace(span);
    }

    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Counts what has come of the response, at that time.
    pub(crate) fn received(&self, piece: &ResponsePiece, at: Instant) {
        let ended = match piece {
            ResponsePiece::Informational(_) => false,
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            } => {
                self.metrics.responses.add(1);
                let code = headers.get(b":status").and_then(|s| parse_status(s));
                self.metrics.codes.count(code.unwrap_or(0));
                self.metrics.statuses.count(code.unwrap_or(0));
                if let (Some(span), Some(code)) = (&mut *self.span.borrow_mut(), code) {
                    span.answered(code);
                }
                *end_of_stream
            }
            ResponsePiece::Body { end_of_stream, .. } => *end_of_stream,
            ResponsePiece::Trailers(_) => true,
        };
        if ended {
            let took = at.saturating_duration_since(self.began);
            self.metrics.time.record(microseconds(took));
        }
    }

    /// It has ended without a response, or not with all of it.
    pub(crate) fn failure(&self) {
        self.fail_span();
        self.metrics.failure();
    }

    /// The same, since it took too long.
    pub(crate) fn timeout(&self) {
        self.fail_span();
        self.metrics.timeout();
    }

    fn fail_span(&self) {
        if let Some(span) = &mut *self.span.borrow_mut() {
            span.fail();
        }
    }
}

impl Drop for UpstreamRequest {
    fn drop(&mut self) {
        self.metrics.active_requests.subtract(1);
    }
}
