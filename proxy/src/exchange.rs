//! One exchange: moves a request and its response between the client's
//! connection, the filters and an endpoint.
//!
//! The [`Exchange`] owns both connections and waits for whatever comes next:
//! body from the client, a connection or response from the endpoint, an event
//! from a filter, the route's timeout. Each is fed into the
//! [`FilteredStream`], and what comes out of it is written.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use weir_abi::{BodyBuffer, Direction};

use crate::cluster::{Cluster, Lease};
use crate::http::{
    Downstream, DownstreamError, H1Upstream, HeadError, RequestHead, ResponseHead, Upstream,
    UpstreamError,
};
use crate::limits::{FILTER_BUFFER_BYTES, PENDING_BODY_BYTES};
use crate::route;
use crate::stream::{
    ConnectionInfo, FilteredStream, Frame, ResponseFlags, ResponseState, StreamInfo,
    UpstreamFailure, count, parse_status,
};
use crate::worker::{WorkerListener, WorkerShared};

/// How an exchange left the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The response is complete; the connection may carry another request.
    Complete,
    /// The connection is of no further use.
    Broken,
}

/// One request and its response on their way through Weir.
pub(crate) struct Exchange<'a, D> {
    downstream: &'a mut D,
    stream: Rc<FilteredStream>,
    shared: &'a Rc<WorkerShared>,
    listener: &'a WorkerListener,
    request: RequestReader,
    endpoint: EndpointState,
    /// Pieces that wait for the endpoint's connection.
    pending: PendingRequest,
    /// The route's timeout, and the moment it comes to once the request is
    /// complete.
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    /// Whether all of the response has been written.
    written: bool,
}

/// How far the request has been read from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestReader {
    Reading,
    Ended,
}

/// What waits to be sent to the endpoint.
#[derive(Default)]
struct PendingRequest {
    body: BodyBuffer,
    ended: bool,
}

type Connecting = Pin<Box<dyn Future<Output = Result<(Lease, Target), UpstreamError>>>>;

/// Which endpoint of which cluster, by their places.
#[derive(Debug, Clone, Copy)]
struct Target {
    cluster: usize,
    endpoint: usize,
}

/// How the exchange stands with its endpoint.
enum EndpointState {
    /// No request has passed the filters yet.
    None,
    Connecting(Connecting),
    /// The request is being sent, or the response's headers are awaited.
    AwaitingHeaders(Active),
    AwaitingBody(Active),
    /// The exchange with the endpoint is over.
    Done,
}

struct Active {
    upstream: Box<H1Upstream>,
    target: Target,
    /// The connection was used before and nothing has come back on it: the
    /// endpoint may have closed it before it saw the request.
    stale: bool,
    /// Bytes of the request's body that have been sent.
    body_sent: bool,
    request_ended: bool,
}

/// What an exchange waited for.
enum Happening {
    FilterEvent,
    RequestBody(Result<Option<Bytes>, DownstreamError>),
    Connected(Result<(Lease, Target), UpstreamError>),
    ResponseHeaders(Result<ResponseHead, UpstreamError>),
    ResponseBody(Result<Option<Bytes>, UpstreamError>),
    Timeout,
}

impl<'a, D: Downstream> Exchange<'a, D> {
    pub(crate) fn new(
        downstream: &'a mut D,
        shared: &'a Rc<WorkerShared>,
        listener: &'a WorkerListener,
        connection: ConnectionInfo,
        head: RequestHead,
    ) -> Self {
        let info = StreamInfo::new(connection, head.protocol);
        let stream =
            FilteredStream::new(info, head.headers, &listener.plugins, FILTER_BUFFER_BYTES);
        shared.metrics.downstream_request();
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
            endpoint: EndpointState::None,
            pending: PendingRequest::default(),
            timeout: None,
            deadline: None,
            written: false,
        }
    }

    /// Runs the exchange to its end.
    pub(crate) async fn run(mut self) -> Ended {
        self.stream
            .request_headers(self.request == RequestReader::Ended);
        while self.flush().await {
            match self.next().await {
                Happening::FilterEvent => {}
                Happening::RequestBody(read) => self.request_body(read),
                Happening::Connected(result) => self.connected(result).await,
                Happening::ResponseHeaders(result) => self.response_headers(result).await,
                Happening::ResponseBody(result) => self.response_body(result).await,
                Happening::Timeout => {
                    self.endpoint = EndpointState::Done;
                    self.deadline = None;
                    self.stream.fail_upstream(UpstreamFailure::Timeout);
                }
            }
        }
        self.settle().await
    }

    /// Handles what filters asked for and writes what has passed them. False
    /// when the exchange is over.
    async fn flush(&mut self) -> bool {
        loop {
            self.stream.handle_events();
            if let Some(frame) = self.stream.next_for_downstream() {
                if let Err(error) = self.write_downstream(frame).await {
                    self.downstream_failed(&error);
                }
            } else if self.stream.request_over() {
                self.endpoint = EndpointState::Done;
                self.deadline = None;
                break;
            } else if let Some(frame) = self.stream.next_for_upstream() {
                self.forward(frame).await;
            } else {
                break;
            }
        }
        self.stream.response_state() != ResponseState::Reset && !self.written
    }

    /// Waits for whatever comes next.
    async fn next(&mut self) -> Happening {
        let read = self.wants_request_body();
        let response_wanted = !self.stream.is_over_watermark(Direction::Response);
        let deadline = self.deadline;
        let timeout = async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let endpoint = async {
            match &mut self.endpoint {
                EndpointState::Connecting(connecting) => Happening::Connected(connecting.await),
                EndpointState::AwaitingHeaders(active) => {
                    Happening::ResponseHeaders(active.upstream.read_headers().await)
                }
                EndpointState::AwaitingBody(active) if response_wanted => {
                    Happening::ResponseBody(active.upstream.read_body().await)
                }
                EndpointState::AwaitingBody(_) | EndpointState::None | EndpointState::Done => {
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stream.notified() => Happening::FilterEvent,
            happening = endpoint => happening,
            read = self.downstream.read_body(), if read => Happening::RequestBody(read),
            () = timeout => Happening::Timeout,
        }
    }

    /// Whether the client is read from. After the end of the request, it is, to
    /// notice when it goes away.
    fn wants_request_body(&self) -> bool {
        self.request == RequestReader::Ended
            || (!self.stream.request_over()
                && self.pending.body.len() < PENDING_BODY_BYTES
                && !self.stream.is_over_watermark(Direction::Request))
    }

    fn request_body(&mut self, read: Result<Option<Bytes>, DownstreamError>) {
        match read {
            Ok(Some(chunk)) => self.stream.request_body(chunk, false),
            Ok(None) => {
                if self.request == RequestReader::Reading {
                    self.request = RequestReader::Ended;
                    self.stream.request_body(Bytes::new(), true);
                }
            }
            Err(error) => self.downstream_failed(&error),
        }
    }

    fn downstream_failed(&mut self, error: &DownstreamError) {
        match error {
            DownstreamError::Closed => self
                .stream
                .fail_downstream(ResponseFlags::DOWNSTREAM_TERMINATION),
            DownstreamError::Malformed(reason) => {
                tracing::debug!("{reason}");
                self.request = RequestReader::Ended;
                self.stream.fail_malformed_request();
            }
            DownstreamError::Unsendable(reason) => self.stream.fail_response(&reason.to_string()),
        }
    }

    /// Sends a piece of the request, or keeps it until there is a connection.
    async fn forward(&mut self, frame: Frame) {
        match frame {
            Frame::Headers { end_of_stream } => {
                self.pending.ended = end_of_stream;
                self.start_request();
            }
            Frame::Body {
                data,
                end_of_stream,
            } => {
                self.pending.body.append(data);
                self.pending.ended |= end_of_stream;
            }
            // HTTP/1.1 trailers are not sent, as Envoy by default.
            Frame::Trailers => self.pending.ended = true,
        }
        let waits = !matches!(self.endpoint, EndpointState::Done);
        if waits && self.pending.ended && self.deadline.is_none() {
            self.deadline = self.timeout.map(|t| Instant::now() + t);
        }
        self.send_pending().await;
    }

    /// Chooses route, cluster and endpoint, and begins to connect.
    fn start_request(&mut self) {
        let path = self.stream.request_map().get(b":path").cloned();
        let found = path.and_then(|path| route::find(&self.listener.routes, &path));
        let Some(route) = found else {
            self.stream.fail_upstream(UpstreamFailure::NoRoute);
            return;
        };
        self.timeout = route.timeout;
        self.connect(route.cluster, None);
    }

    /// Begins to connect to an endpoint of `cluster`, or again to `endpoint`
    /// with a connection that is certainly new.
    fn connect(&mut self, cluster: usize, endpoint: Option<usize>) {
        let shared = Rc::clone(self.shared);
        let index = endpoint.or_else(|| shared.clusters[cluster].pick());
        let Some(index) = index else {
            self.stream.fail_upstream(UpstreamFailure::Connect);
            return;
        };
        let target = Target {
            cluster,
            endpoint: index,
        };
        let info = &self.stream.info;
        let chosen: &Cluster = &self.shared.clusters[cluster];
        info.upstream.set(Some(chosen.endpoint(index).address));
        info.upstream_attempts.set(info.upstream_attempts.get() + 1);
        *info.cluster.borrow_mut() = Some(chosen.name.clone());
        self.shared.metrics.upstream_request();
        let retry = endpoint.is_some();
        self.endpoint = EndpointState::Connecting(Box::pin(async move {
            let endpoint = shared.clusters[cluster].endpoint(index);
            let lease = if retry {
                shared.pool.connect_new(endpoint).await
            } else {
                shared.pool.connect(endpoint).await
            };
            lease.map(|lease| (lease, target))
        }));
    }

    async fn connected(&mut self, result: Result<(Lease, Target), UpstreamError>) {
        match result {
            Ok((lease, target)) => {
                self.stream.info.upstream_local.set(lease.local);
                let mut active = Active {
                    upstream: lease.upstream,
                    target,
                    stale: lease.reused,
                    body_sent: false,
                    request_ended: false,
                };
                let headers = self.stream.request_map().clone();
                let end = self.pending.ended && self.pending.body.is_empty();
                let sent =
                    within(self.deadline, active.upstream.write_headers(&headers, end)).await;
                self.endpoint = EndpointState::AwaitingHeaders(active);
                match sent {
                    Some(Ok(())) => self.send_pending().await,
                    Some(Err(error)) => self.upstream_failed(&error),
                    None => {}
                }
            }
            Err(error) => self.upstream_failed(&error),
        }
    }

    /// Sends what waits for the connection, if there is one.
    async fn send_pending(&mut self) {
        let (EndpointState::AwaitingHeaders(active) | EndpointState::AwaitingBody(active)) =
            &mut self.endpoint
        else {
            return;
        };
        if active.request_ended {
            return;
        }
        let sent = async {
            while let Some(chunk) = self.pending.body.pop() {
                active.body_sent = true;
                active.upstream.write_body(&chunk).await?;
            }
            if self.pending.ended {
                active.request_ended = true;
                active.upstream.finish_request().await?;
            }
            Ok(())
        };
        if let Some(Err(error)) = within(self.deadline, sent).await {
            self.upstream_failed(&error);
        }
    }

    async fn response_headers(&mut self, result: Result<ResponseHead, UpstreamError>) {
        let head = match result {
            Ok(head) => head,
            Err(error) => return self.upstream_failed(&error),
        };
        let EndpointState::AwaitingHeaders(mut active) =
            std::mem::replace(&mut self.endpoint, EndpointState::Done)
        else {
            return;
        };
        active.stale = false;
        self.endpoint = EndpointState::AwaitingBody(active);
        let end = head.end_of_stream;
        self.stream.response_headers(head.headers, end);
        if end {
            self.exchange_done().await;
        }
    }

    async fn response_body(&mut self, result: Result<Option<Bytes>, UpstreamError>) {
        match result {
            Ok(Some(chunk)) => self.stream.response_body(chunk, false),
            Ok(None) => {
                self.exchange_done().await;
                self.stream.response_body(Bytes::new(), true);
            }
            Err(error) => self.upstream_failed(&error),
        }
    }

    /// The endpoint's response is complete: its connection goes back to the
    /// pool, if the whole request went out on it.
    async fn exchange_done(&mut self) {
        self.deadline = None;
        let state = std::mem::replace(&mut self.endpoint, EndpointState::Done);
        if let EndpointState::AwaitingBody(active) = state
            && active.request_ended
        {
            let Target { cluster, endpoint } = active.target;
            let endpoint = self.shared.clusters[cluster].endpoint(endpoint);
            self.shared.pool.release(endpoint, active.upstream).await;
        }
    }

    fn upstream_failed(&mut self, error: &UpstreamError) {
        tracing::debug!("upstream: {error}");
        let state = std::mem::replace(&mut self.endpoint, EndpointState::Done);
        let failure = match error {
            UpstreamError::Connect(_) => UpstreamFailure::Connect,
            UpstreamError::Malformed(_) => UpstreamFailure::Protocol,
            UpstreamError::Unsendable(reason) => return self.unsendable(reason),
            UpstreamError::Closed(_) => {
                // The endpoint closed an idle connection just as it was taken
                // from the pool: the request has not been seen there.
                if let EndpointState::AwaitingHeaders(active) = &state
                    && active.stale
                    && !active.body_sent
                {
                    let Target { cluster, endpoint } = active.target;
                    return self.connect(cluster, Some(endpoint));
                }
                UpstreamFailure::Closed
            }
        };
        self.shared.metrics.upstream_failure();
        self.stream.fail_upstream(failure);
    }

    /// The filters left a request that cannot be sent (Envoy answers 503).
    fn unsendable(&self, reason: &HeadError) {
        let reason = reason.to_string();
        self.stream
            .fail_request(503, &format!("invalid_request{{{reason}}}"), &reason);
    }

    async fn write_downstream(&mut self, frame: Frame) -> Result<(), DownstreamError> {
        match frame {
            Frame::Headers { end_of_stream } => {
                if self.shared.is_draining() {
                    self.downstream.close_after_response();
                }
                let headers = self.stream.response_map().map(|h| h.clone());
                let headers = headers.unwrap_or_default();
                self.downstream
                    .write_headers(&headers, end_of_stream)
                    .await?;
                self.stream.set_headers_sent();
                let code = headers.get(b":status").and_then(|s| parse_status(s));
                self.stream.info.response_code.set(code);
                if end_of_stream {
                    self.finish_response().await?;
                }
            }
            Frame::Body {
                mut data,
                end_of_stream,
            } => {
                while let Some(chunk) = data.pop() {
                    count(&self.stream.info.bytes_sent, chunk.len());
                    self.downstream.write_body(&chunk).await?;
                }
                if end_of_stream {
                    self.finish_response().await?;
                }
            }
            // HTTP/1.1 trailers are not sent, as Envoy by default.
            Frame::Trailers => self.finish_response().await?,
        }
        Ok(())
    }

    async fn finish_response(&mut self) -> Result<(), DownstreamError> {
        self.downstream.finish().await?;
        self.written = true;
        Ok(())
    }

    /// Ends the exchange: contexts, logs, connections.
    async fn settle(mut self) -> Ended {
        if self.stream.response_state() == ResponseState::Reset {
            self.downstream.reset().await;
        }
        self.endpoint = EndpointState::Done;
        self.stream.finish();
        self.shared
            .metrics
            .downstream_response(self.stream.info.response_code.get());
        if let Some(log) = &self.listener.access_log {
            log.write(&self.stream);
        }
        if self.written {
            Ended::Complete
        } else {
            Ended::Broken
        }
    }
}

impl<D> Drop for Exchange<'_, D> {
    /// Also when the task is dropped half-way, no context stays behind.
    fn drop(&mut self) {
        self.stream.finish();
    }
}

/// The result of `work`, or `None` when the deadline comes first; the exchange
/// then notices the deadline itself.
async fn within<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
