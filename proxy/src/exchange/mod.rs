//! One exchange: moves a request and its response between the client's
//! connection, the filters and an endpoint.
//!
//! The [`Exchange`] owns both sides and waits for whatever comes next on any of
//! them: body from the client, a connection or response from the endpoint, room
//! to write, an event from a filter, a deadline. What has come is fed into the
//! [`FilteredStream`]; what comes out of it is queued at the codecs, which never
//! block. A side is read from only while the queue of the other and the filters
//! have room, so a slow reader slows its sender down and nobody else.

mod endpoint;
mod forward;
mod mirror;
mod policy;
mod respond;
mod retry;
mod timers;
mod upstream;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use weir_abi::Direction;

use self::endpoint::{EndpointState, PendingRequest, Target};
use self::mirror::Mirrors;
use self::policy::Policy;
use self::retry::Attempts;
use self::timers::{Expired, Timers};
use crate::cluster::{Cluster, EndpointRequest, Lease};
use crate::http::{
    Downstream, DownstreamError, HeadError, RequestHead, RequestPiece, ResponsePiece, Switch,
    Upstream, UpstreamError,
};
use crate::request::{self, Rejected};
use crate::route::Lot;
use crate::stream::{
    ConnectionInfo, FilteredStream, ResponseFlags, ResponseState, StreamInfo, UpstreamFailure,
};
use crate::tap;
use crate::telemetry::DownstreamRequest;
use crate::worker::{WorkerListener, WorkerShared};

/// One request and its response on their way through Weir.
pub(crate) struct Exchange<'a, D> {
    downstream: &'a mut D,
    stream: Rc<FilteredStream>,
    shared: &'a Rc<WorkerShared>,
    listener: &'a WorkerListener,
    request: RequestReader,
    /// What the client wants to switch to.
    switch: Option<Switch>,
    /// Why the request goes no further.
    rejected: Option<Rejected>,
    endpoint: EndpointState,
    attempts: Attempts,
    mirrors: Mirrors,
    /// What the route said when the request came.
    policy: Policy,
    /// Decides between clusters.
    lot: Lot,
    metrics: DownstreamRequest,
    /// Of the request to the endpoint that is under way.
    upstream_metrics: Option<EndpointRequest>,
    /// Cookies that hold the client to the endpoint.
    cookies: Vec<Bytes>,
    pending: PendingRequest,
    timers: Timers,
    /// The endpoint's time, once the request is complete.
    timeout: Option<Duration>,
    /// Bytes that may wait for the endpoint before no more is read.
    upstream_limit: usize,
    response: ResponseWriter,
    /// Something is queued for the client that has not been flushed.
    unflushed: bool,
    /// A response could not be sent, and has been replaced.
    refused: bool,
    /// What came last is from the client.
    dispatching: bool,
    /// The response's headers have gone out, also if the stream is cut: not those
    /// that were made while something from the client was dealt with (as Envoy).
    begun: bool,
}

/// How far the request has been read from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestReader {
    Reading,
    Ended,
    /// The client is gone.
    Gone,
}

/// How far the response has been handed to the client's codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseWriter {
    Awaited,
    Body,
    Complete,
}

/// What an exchange waited for.
enum Happening {
    /// A filter has asked for something, or a queue has been written: there is
    /// nothing to hand on, but more may be possible now.
    Progress,
    Request(Result<RequestPiece, DownstreamError>),
    DownstreamFailed(DownstreamError),
    Connected(Result<(Lease, Target), UpstreamError>),
    Response(Result<ResponsePiece, UpstreamError>),
    /// It is time for another attempt.
    Retry,
    Expired(Expired),
}

impl<'a, D: Downstream> Exchange<'a, D> {
    pub(crate) fn new(
        downstream: &'a mut D,
        shared: &'a Rc<WorkerShared>,
        listener: &'a WorkerListener,
        connection: ConnectionInfo,
        mut head: RequestHead,
    ) -> Self {
        let istio = listener.istio.as_ref();
        let istio = istio.map(|istio| istio.request(&mut head.headers));
        let client = request::client(&head.headers, &listener.http, &connection);
        let prepared = request::prepare(&mut head.headers, &listener.http, &connection);
        let mut info = StreamInfo::new(connection, head.protocol, Arc::clone(&listener.facts));
        info.client = client;
        info.istio = istio;
        let tracer = shared.tracer.as_ref();
        info.trace = tracer.and_then(|tracer| tracer.begin(&mut head.headers));
        info.tap = tap::installed().map(|tap| tap.begin(&head.headers));
        let chain = listener.chain_for(&head.headers);
        info.gates = Rc::clone(&chain.gates);
        let limit = listener.buffer_limit;
        let stream = FilteredStream::new(info, head.headers, &chain.links, limit);
        Self {
            downstream,
            stream,
            shared,
            listener,
            request: if head.end_of_stream {
                RequestReader::Ended
            } else {
                RequestReader::Reading
            },
            switch: head.switch,
            rejected: prepared.err(),
            endpoint: EndpointState::None,
            attempts: Attempts::default(),
            mirrors: Mirrors::default(),
            policy: Policy::default(),
            lot: Lot::new(),
            metrics: listener.metrics.request(head.protocol),
            upstream_metrics: None,
            cookies: Vec::new(),
            pending: PendingRequest::default(),
            timers: Timers::new(
                Some(&listener.http)
                    .filter(|_| !head.end_of_stream)
                    .and_then(|http| http.request_timeout),
                listener.http.stream_idle_timeout,
            ),
            timeout: None,
            upstream_limit: listener.buffer_limit.max(1),
            response: ResponseWriter::Awaited,
            unflushed: false,
            refused: false,
            dispatching: true,
            begun: false,
        }
    }

    /// Runs the exchange to its end. `expects_continue`: the client waits for
    /// `100 Continue` before it sends the body.
    pub(crate) async fn run(mut self, expects_continue: bool) {
        if expects_continue {
            let status = [(":status", "100")];
            self.downstream
                .send_informational(&status.into_iter().collect());
            self.unflushed = true;
        }
        // A CONNECT that is not enabled finds no route, as in Envoy.
        let refused = |switch: &&Switch| {
            matches!(switch, Switch::Upgrade(_)) && !self.listener.codec.allows(switch)
        };
        if let Some(rejected) = self.rejected.take() {
            let headers = rejected
                .location()
                .map(|location| ("location".into(), location));
            let headers = headers.into_iter().collect();
            self.stream
                .reject(rejected.status(), &rejected.to_string(), headers, "");
        } else if self.switch.as_ref().filter(refused).is_some() {
            self.stream.reject(403, "upgrade_failed", Vec::new(), "");
        } else {
            self.find_route();
            if let Some(limit) = self.route_buffer_limit() {
                self.stream.set_buffer_limit(limit);
            }
            if self.admit() {
                let ended = self.request == RequestReader::Ended;
                self.stream.request_headers(ended);
            }
        }
        self.drive().await;
    }

    /// Answers a request whose head is not acceptable, which no filter sees
    /// before the log.
    pub(crate) async fn reject(mut self, error: &HeadError) {
        self.stream
            .info
            .flag(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        self.request = RequestReader::Gone;
        let code = match error {
            HeadError::TooLarge => 431,
            HeadError::TransferEncoding => 501,
            HeadError::Version => 426,
            HeadError::Timeout => 408,
            _ => 400,
        };
        let reason = http::StatusCode::from_u16(code).ok();
        let reason = reason.and_then(|r| r.canonical_reason());
        let details = error.to_string();
        let body = match error {
            HeadError::Missing(_) => "",
            HeadError::Timeout => &details,
            _ => reason.unwrap_or_default(),
        };
        self.stream.reject(code, &details, Vec::new(), body);
        self.drive().await;
    }

    async fn drive(&mut self) {
        loop {
            self.process();
            if self.is_over() {
                break;
            }
            let happening = poll_fn(|context| self.poll_next(context)).await;
            self.handle(happening);
        }
        if self.stream.response_state() == ResponseState::Reset && self.begun {
            // The connection writes what it has been given of the response, before
            // a reset would drop it.
            tokio::task::yield_now().await;
        }
        self.settle();
    }

    /// Whether nothing is left to be done.
    fn is_over(&self) -> bool {
        match self.stream.response_state() {
            ResponseState::Reset => !self.unflushed || self.request == RequestReader::Gone,
            _ => self.response == ResponseWriter::Complete && !self.unflushed,
        }
    }

    /// Handles what filters asked for and hands on what has passed them.
    fn process(&mut self) {
        loop {
            self.stream.handle_events();
            if let Some(frame) = self.stream.next_for_downstream() {
                self.send_downstream(frame);
            } else if self.stream.request_over() {
                self.release_endpoint();
                break;
            } else if let Some(frame) = self.stream.next_for_upstream() {
                self.forward(frame);
            } else {
                break;
            }
        }
    }

    /// Waits for whatever comes next.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        if self.stream.poll_events(context).is_ready() {
            return Poll::Ready(Happening::Progress);
        }
        // What has come together goes out together.
        if self.unflushed
            && self.endpoint_has_more()
            && let Poll::Ready(happening) = self.poll_endpoint(context)
        {
            return Poll::Ready(happening);
        }
        if self.unflushed
            && let Poll::Ready(flushed) = self.downstream.poll_flush(context)
        {
            self.unflushed = false;
            return Poll::Ready(match flushed {
                Ok(()) => Happening::Progress,
                Err(error) => Happening::DownstreamFailed(error),
            });
        }
        if let Poll::Ready(happening) = self.poll_endpoint(context) {
            return Poll::Ready(happening);
        }
        if let Poll::Ready(happening) = self.poll_downstream(context) {
            return Poll::Ready(happening);
        }
        self.timers.poll(context).map(Happening::Expired)
    }

    /// Whether more of the response has been read from the endpoint already.
    fn endpoint_has_more(&self) -> bool {
        matches!(&self.endpoint, EndpointState::Active(active) if active.upstream.has_more())
    }

    fn poll_endpoint(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        match &mut self.endpoint {
            EndpointState::Connecting(connecting) => {
                connecting.as_mut().poll(context).map(Happening::Connected)
            }
            EndpointState::Active(active) => {
                if active.poll_flush(context).is_ready() {
                    return Poll::Ready(Happening::Progress);
                }
                // Also where nothing may wait, something has to pass.
                let wanted = self.downstream.queued() < self.listener.buffer_limit.max(1)
                    && !self.stream.is_over_watermark(Direction::Response);
                if wanted {
                    active.upstream.poll_read(context).map(Happening::Response)
                } else {
                    Poll::Pending
                }
            }
            EndpointState::Waiting(pause) => {
                pause.as_mut().poll(context).map(|()| Happening::Retry)
            }
            EndpointState::None | EndpointState::Done => Poll::Pending,
        }
    }

    fn poll_downstream(&mut self, context: &mut Context<'_>) -> Poll<Happening> {
        match self.request {
            RequestReader::Gone => Poll::Pending,
            RequestReader::Reading if !self.wants_request_body() => self
                .downstream
                .poll_gone(context)
                .map(Happening::DownstreamFailed),
            // After the end of the request, to notice when the client goes.
            RequestReader::Reading | RequestReader::Ended => {
                self.downstream.poll_read(context).map(Happening::Request)
            }
        }
    }

    /// Whether more of the request is read.
    fn wants_request_body(&self) -> bool {
        let queued = match &self.endpoint {
            EndpointState::Active(active) => active.upstream.queued(),
            _ => self.pending.body.len(),
        };
        queued < self.upstream_limit && !self.stream.is_over_watermark(Direction::Request)
    }

    fn handle(&mut self, happening: Happening) {
        self.dispatching = matches!(happening, Happening::Request(_));
        match happening {
            Happening::Progress => {}
            Happening::Request(Ok(piece)) => self.request_piece(piece),
            Happening::Request(Err(error)) | Happening::DownstreamFailed(error) => {
                self.downstream_failed(&error);
            }
            Happening::Connected(Ok((lease, target))) => self.connected(lease, target),
            Happening::Response(Ok(piece)) => self.response_piece(piece),
            Happening::Connected(Err(error)) | Happening::Response(Err(error)) => {
                self.upstream_failed(&error);
            }
            Happening::Retry => self.try_again(),
            Happening::Expired(Expired::Response) => {
                self.timers.stop_response();
                self.endpoint = EndpointState::Done;
                if let Some(metrics) = self.upstream_metrics.take() {
                    metrics.timeout();
                }
                self.stream.fail_upstream(&UpstreamFailure::Timeout);
                return;
            }
            Happening::Expired(Expired::Attempt) => {
                self.attempt_expired(&UpstreamFailure::AttemptTimeout);
                return;
            }
            Happening::Expired(Expired::AttemptIdle) => {
                self.attempt_expired(&UpstreamFailure::AttemptIdle);
                return;
            }
            Happening::Expired(Expired::Request) => {
                self.timers.stop_request();
                let (details, body) = ("request_overall_timeout", "request timeout");
                self.stream.fail_request(408, details, body);
                return;
            }
            Happening::Expired(Expired::Duration) => {
                self.duration_expired();
                return;
            }
            Happening::Expired(Expired::Idle) => {
                // The answer gets as long to be taken.
                self.timers.moved();
                if self.stream.response_state() == ResponseState::Awaited {
                    self.stream.fail_idle();
                } else {
                    // Nobody takes what there is.
                    self.request = RequestReader::Gone;
                    self.stream
                        .fail_downstream(ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout");
                }
                return;
            }
        }
        self.timers.moved();
    }

    fn request_piece(&mut self, piece: RequestPiece) {
        match piece {
            RequestPiece::Body {
                data,
                end_of_stream,
            } => {
                if end_of_stream {
                    self.request_ended();
                }
                if let Some(record) = &self.stream.info.istio {
                    record.body(Direction::Request, &data);
                }
                if self.is_too_large(data.len()) {
                    return self.refuse_body();
                }
                self.stream.request_body(data, end_of_stream);
            }
            RequestPiece::Trailers(trailers) => {
                self.request_ended();
                self.stream.request_trailers(trailers);
            }
        }
    }

    /// The cluster that the request goes to.
    fn cluster(&self) -> Option<Rc<Cluster>> {
        let chosen = self.stream.info.chosen.get()?;
        self.shared.clusters.get(chosen.cluster).cloned()
    }

    fn request_ended(&mut self) {
        self.timers.stop_request();
        self.request = RequestReader::Ended;
    }

    fn downstream_failed(&mut self, error: &DownstreamError) {
        self.request = RequestReader::Gone;
        match error {
            DownstreamError::Closed => self.stream.fail_downstream(
                ResponseFlags::DOWNSTREAM_TERMINATION,
                "downstream_remote_disconnect",
            ),
            DownstreamError::Reset(code) => {
                if let EndpointState::Active(active) = &mut self.endpoint {
                    active.upstream.reset(*code);
                }
                self.stream
                    .fail_downstream(ResponseFlags::DOWNSTREAM_TERMINATION, "http2.remote_reset");
            }
            DownstreamError::Malformed(reason) => {
                tracing::debug!("{reason}");
                self.stream.fail_malformed_request();
            }
        }
    }

    /// Ends the exchange: contexts, logs, connections.
    fn settle(&mut self) {
        let reset = self.stream.response_state() == ResponseState::Reset;
        if reset {
            self.downstream.reset(self.stream.reset_code());
        }
        self.endpoint = EndpointState::Done;
        self.upstream_metrics = None;
    }
}

impl<D> Drop for Exchange<'_, D> {
    /// Also when the task is dropped half-way, no context stays behind, and it is
    /// known what has been.
    fn drop(&mut self) {
        self.stream.finish();
        self.upstream_metrics = None;
        if let Some(trace) = &self.stream.info.trace {
            trace.end(&self.stream, self.listener.facts.direction);
        }
        let info = &self.stream.info;
        self.metrics
            .complete(info.response_code.get(), info.elapsed());
        self.listener.log(&self.stream);
    }
}
