//! HTTP/2 to endpoints.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::StatusCode;
use tokio::sync::Mutex;
use weir_abi::{BodyBuffer, HeaderMap};
use weir_config::ConnectionKeepalive;

use super::fields;
use super::send::SendQueue;
use crate::http::fields::HeadError;
use crate::http::{
    CodecOptions, Connection, ResponsePiece, Switch, TooShort, Upstream, UpstreamError,
};
use crate::limits::HTTP2_STREAMS_MAX;
use crate::tls::TlsFacts;

/// A worker's HTTP/2 connections to one endpoint.
#[derive(Default)]
pub(crate) struct H2Endpoint {
    connections: RefCell<Vec<Shared>>,
    /// Held by who makes a connection.
    turn: Mutex<()>,
    /// Attempts to make one that are over, and how the last of them went.
    attempts: Cell<u64>,
    failure: RefCell<Option<UpstreamError>>,
}

/// A connection that streams share.
#[derive(Clone)]
struct Shared {
    send: SendRequest<Bytes>,
    /// Streams on it.
    streams: Rc<Cell<usize>>,
    /// Streams that there have been on it.
    begun: Rc<Cell<u32>>,
    /// The endpoint has refused a stream on it, and so is there still.
    refused: Rc<Cell<bool>>,
    /// As many as there may be.
    streams_max: usize,
    /// What was agreed on it, if it is encrypted.
    tls: Option<Arc<TlsFacts>>,
}

impl Shared {
    /// What an error of a stream on it comes to.
    fn failed(&self, error: &h2::Error) -> UpstreamError {
        if error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            self.refused.set(true);
        }
        failed(error)
    }

    fn has_room(&self, options: &CodecOptions) -> bool {
        let max = self.send.current_max_send_streams();
        self.streams.get() < max.min(self.streams_max)
            && options
                .requests_max
                .is_none_or(|max| self.begun.get() < max)
    }
}

impl H2Endpoint {
    /// A stream on a connection that has room for it.
    pub(crate) fn stream(&self, options: &CodecOptions) -> Option<H2Upstream> {
        let mut connections = self.connections.borrow_mut();
        let mut context = Context::from_waker(std::task::Waker::noop());
        // A connection that is closing takes no more streams.
        connections.retain_mut(|c| !matches!(c.send.poll_ready(&mut context), Poll::Ready(Err(_))));
        // Nor does one that has carried all it may.
        let requests_max = options.requests_max.unwrap_or(u32::MAX);
        connections.retain(|c| c.begun.get() < requests_max);
        let found = connections.iter().find(|c| c.has_room(options))?.clone();
        Some(H2Upstream::new(found, options.headers_count_max))
    }

    /// Whether a connection is being made.
    pub(crate) fn is_connecting(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// A stream on a connection over which the endpoint has just refused one. It
    /// is not stale: who tries again needs no new one, or an endpoint that refuses
    /// much would get a connection for each refusal.
    pub(crate) fn stream_after_refusal(&self, options: &CodecOptions) -> Option<H2Upstream> {
        let connections = self.connections.borrow();
        let mut refused = connections.iter().filter(|c| c.refused.replace(false));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut found = refused.find(|c| c.has_room(options))?.clone();
        match found.send.poll_ready(&mut context) {
            Poll::Ready(Err(_)) => None,
            _ => Some(H2Upstream::new(found, options.headers_count_max)),
        }
    }

    /// A stream on a new connection, by `make`. Those who ask while one is being
    /// made share it, or its failure: one that nobody has used yet has room. Also
    /// says whether it is a shared one.
    pub(crate) async fn fresh_stream(
        &self,
        options: &CodecOptions,
        make: impl AsyncFnOnce() -> Result<Connection, UpstreamError>,
    ) -> Result<(H2Upstream, bool), UpstreamError> {
        let attempts = self.attempts.get();
        let _turn = self.turn.lock().await;
        if self.attempts.get() != attempts {
            if let Some(failure) = &*self.failure.borrow() {
                return Err(failure.clone());
            }
            if let Some(newest) = self.newest(options) {
                return Ok((H2Upstream::new(newest, options.headers_count_max), true));
            }
        }
        let made = async { self.connect(make().await?, options).await }.await;
        self.attempts.set(self.attempts.get() + 1);
        self.failure.replace(made.as_ref().err().cloned());
        Ok((made?, false))
    }

    fn newest(&self, options: &CodecOptions) -> Option<Shared> {
        let connections = self.connections.borrow();
        connections.last().filter(|c| c.has_room(options)).cloned()
    }

    /// A stream on a connection that has just been made.
    async fn connect(
        &self,
        connection: Connection,
        options: &CodecOptions,
    ) -> Result<H2Upstream, UpstreamError> {
        let http2 = options.http2;
        let tls = connection.tls().cloned();
        let headers_max = u32::try_from(options.headers_bytes_max).unwrap_or(u32::MAX);
        let (send, mut driver) = h2::client::Builder::new()
            .initial_window_size(options.stream_window())
            .initial_connection_window_size(options.connection_window())
            .max_header_list_size(headers_max)
            .enable_push(false)
            .handshake(connection)
            .await
            .map_err(|e| UpstreamError::Connect(e.to_string()))?;
        let streams: Rc<Cell<usize>> = Rc::default();
        let begun: Rc<Cell<u32>> = Rc::default();
        let idle = idle(options.idle_timeout, Rc::clone(&streams), Rc::clone(&begun));
        let alive = alive(options.keepalive, driver.ping_pong());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = alive => tracing::debug!("HTTP/2 connection: no answer to a PING"),
                ended = driver => if let Err(error) = ended {
                    tracing::debug!("HTTP/2 connection: {error}");
                },
                () = idle => {}
            }
        });
        let streams_max = http2.max_concurrent_streams.unwrap_or(HTTP2_STREAMS_MAX);
        let shared = Shared {
            send,
            streams,
            refused: Rc::default(),
            streams_max: streams_max as usize,
            begun,
            tls,
        };
        self.connections.borrow_mut().push(shared.clone());
        Ok(H2Upstream::new(shared, options.headers_count_max))
    }
}

/// Returns when a connection has had no stream for `timeout`.
async fn idle(timeout: Option<Duration>, streams: Rc<Cell<usize>>, begun: Rc<Cell<u32>>) {
    let Some(timeout) = timeout else {
        return std::future::pending().await;
    };
    loop {
        let before = begun.get();
        tokio::time::sleep(timeout).await;
        if streams.get() == 0 && begun.get() == before {
            return;
        }
    }
}

/// Returns when a connection gives no sign of life that it is asked for.
async fn alive(keepalive: Option<ConnectionKeepalive>, pings: Option<PingPong>) {
    let (Some(keepalive), Some(mut pings)) = (keepalive, pings) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(keepalive.interval).await;
        let answer = pings.ping(Ping::opaque());
        match tokio::time::timeout(keepalive.timeout, answer).await {
            Ok(Ok(_)) => {}
            // The connection has ended anyway.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// One stream of an HTTP/2 connection to an endpoint.
pub(crate) struct H2Upstream {
    connection: Shared,
    request: Option<SendQueue>,
    response: Response,
    switch: Option<Switch>,
    headers_count_max: usize,
}

/// How far the response has come.
enum Response {
    /// The request has not been sent.
    Idle,
    /// The connection took no request any more.
    Refused,
    Awaited(ResponseFuture),
    Body(RecvStream),
    Ended,
}

impl H2Upstream {
    fn new(connection: Shared, headers_count_max: usize) -> Self {
        let streams = &connection.streams;
        streams.set(streams.get() + 1);
        connection
            .begun
            .set(connection.begun.get().saturating_add(1));
        Self {
            connection,
            request: None,
            response: Response::Idle,
            switch: None,
            headers_count_max,
        }
    }

    /// What was agreed on the connection, if it is encrypted.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        self.connection.tls.as_ref()
    }

    /// The request asks to switch protocols.
    pub(crate) fn set_switch(&mut self, switch: Switch) {
        self.switch = Some(switch);
    }

    fn end(trailers: Option<HeaderMap>) -> ResponsePiece {
        trailers.map_or_else(
            || ResponsePiece::Body {
                data: BodyBuffer::new(),
                end_of_stream: true,
            },
            ResponsePiece::Trailers,
        )
    }
}

impl Drop for H2Upstream {
    fn drop(&mut self) {
        let streams = &self.connection.streams;
        streams.set(streams.get() - 1);
    }
}

impl Upstream for H2Upstream {
    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        let (request, length) = fields::request(headers, self.switch.as_ref())?;
        if end_of_stream {
            length.finish_with_headers()?;
        }
        match self.connection.send.send_request(request, end_of_stream) {
            Ok((response, stream)) => {
                self.request = Some(SendQueue::new(stream, length, end_of_stream));
                self.response = Response::Awaited(response);
                Ok(())
            }
            Err(error) => {
                tracing::debug!("HTTP/2 request: {error}");
                self.response = Response::Refused;
                Ok(())
            }
        }
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        match &mut self.request {
            Some(request) => request.body(data, end_of_stream),
            None => Ok(()),
        }
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort> {
        match &mut self.request {
            Some(request) => request.trailers(fields::trailers(trailers)),
            None => Ok(()),
        }
    }

    fn queued(&self) -> usize {
        self.request.as_ref().map_or(0, SendQueue::queued)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        match &mut self.request {
            Some(request) => request
                .poll_flush(context)
                .map_err(|e| self.connection.failed(&e)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        match &mut self.response {
            Response::Awaited(response) => {
                if let Poll::Ready(Some(informational)) = response.poll_informational(context) {
                    let informational = informational.map_err(|e| self.connection.failed(&e))?;
                    if informational.status() == StatusCode::SWITCHING_PROTOCOLS {
                        let reason = "101 has no meaning in HTTP/2".to_owned();
                        return Poll::Ready(Err(UpstreamError::Malformed(reason)));
                    }
                    let map = fields::response_map(&informational, None);
                    return Poll::Ready(Ok(ResponsePiece::Informational(map)));
                }
                let response = ready!(std::pin::Pin::new(response).poll(context));
                let response = response.map_err(|e| self.connection.failed(&e))?;
                if response.headers().len() > self.headers_count_max {
                    let reason = HeadError::TooLarge.to_string();
                    return Poll::Ready(Err(UpstreamError::Malformed(reason)));
                }
                let headers = fields::response_map(&response, self.switch.as_ref());
                let body = response.into_body();
                let end_of_stream = body.is_end_stream();
                self.response = if end_of_stream {
                    Response::Ended
                } else {
                    Response::Body(body)
                };
                Poll::Ready(Ok(ResponsePiece::Headers {
                    headers,
                    end_of_stream,
                }))
            }
            Response::Body(body) => match ready!(body.poll_data(context)) {
                Some(Ok(data)) => {
                    // An error means that the stream is over; the next read tells.
                    let _ = body.flow_control().release_capacity(data.len());
                    let end_of_stream = body.is_end_stream();
                    if end_of_stream {
                        self.response = Response::Ended;
                    }
                    Poll::Ready(Ok(ResponsePiece::Body {
                        data: data.into(),
                        end_of_stream,
                    }))
                }
                Some(Err(error)) if is_stop(&error) => {
                    self.response = Response::Ended;
                    Poll::Ready(Ok(Self::end(None)))
                }
                Some(Err(error)) => Poll::Ready(Err(failed(&error))),
                None => {
                    let trailers = match ready!(body.poll_trailers(context)) {
                        Err(error) if !is_stop(&error) => {
                            return Poll::Ready(Err(failed(&error)));
                        }
                        trailers => trailers.ok().flatten(),
                    };
                    self.response = Response::Ended;
                    let trailers = trailers.map(|t| fields::trailers_map(&t));
                    Poll::Ready(Ok(Self::end(trailers)))
                }
            },
            Response::Refused => Poll::Ready(Err(UpstreamError::Refused)),
            Response::Idle | Response::Ended => Poll::Pending,
        }
    }

    fn reset(&mut self, code: u32) {
        if let Some(request) = &mut self.request {
            request.reset(code);
        }
    }
}

/// Whether the endpoint wants no more of the request, to which it has sent its
/// whole response (RFC 9113, section 8.1).
fn is_stop(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

fn failed(error: &h2::Error) -> UpstreamError {
    match error.reason() {
        Some(_) if error.is_go_away() && error.is_remote() => UpstreamError::Refused,
        Some(Reason::REFUSED_STREAM) if error.is_remote() => UpstreamError::Refused,
        Some(reason) if error.is_reset() && error.is_remote() => {
            UpstreamError::Reset(reason.into())
        }
        Some(_) => UpstreamError::Malformed(error.to_string()),
        None => UpstreamError::Closed(error.to_string()),
    }
}
