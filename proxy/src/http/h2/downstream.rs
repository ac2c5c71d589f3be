//! HTTP/2 from clients.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use weir_abi::{BodyBuffer, HeaderMap};

use super::fields;
use super::send::SendQueue;
use crate::http::fields::{HeadError, is_authority};
use crate::http::length::DeclaredLength;
use crate::http::{
    CodecOptions, Connection, Downstream, DownstreamError, Next, RequestHead, RequestPiece, Switch,
    TooShort,
};
use crate::limits::{GOAWAY_PATIENCE, HTTP2_RESETS_PENDING_MAX, HTTP2_STREAMS_MAX};
use crate::stream::Protocol;

/// One stream of a client's HTTP/2 connection.
pub(crate) struct H2Downstream {
    request: RecvStream,
    response: Response,
    /// The response has no body, whatever comes: to HEAD, a 204, a 304.
    bodiless: bool,
    switch: Option<Switch>,
    request_ended: bool,
}

/// How far the response has come.
enum Response {
    Awaited(SendResponse<Bytes>),
    Sending(SendQueue),
}

/// How often in its idle timeout a connection is looked at.
const IDLE_LOOKS: u32 = 5;

/// Serves a connection until it ends: `begin` is called with every request.
/// Once `draining` is ready the client is told to make no more of them; when no
/// stream has been open for `idle_timeout`, too.
pub(crate) async fn accept(
    connection: Connection,
    options: &CodecOptions,
    mut draining: Pin<&mut impl Future<Output = ()>>,
    idle_timeout: Option<Duration>,
    mut begin: impl FnMut(H2Downstream, Next),
) -> Result<(), h2::Error> {
    let http2 = options.http2;
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(options.stream_window())
        .initial_connection_window_size(options.connection_window())
        .max_concurrent_streams(http2.max_concurrent_streams.unwrap_or(HTTP2_STREAMS_MAX))
        .max_pending_accept_reset_streams(HTTP2_RESETS_PENDING_MAX)
        .max_header_list_size(u32::try_from(options.headers_bytes_max).unwrap_or(u32::MAX));
    if http2.allow_connect {
        builder.enable_connect_protocol();
    }
    // Of its own, so that it takes no room afterwards.
    let handshake = Box::pin(builder.handshake::<_, Bytes>(connection));
    let mut connection = tokio::select! {
        connection = handshake => connection?,
        () = &mut draining => return Ok(()),
        () = passed(idle_timeout) => return Ok(()),
    };
    let mut told = false;
    // Nothing tells when the last stream ends, so it is looked for.
    let mut idle_looks = 0;
    loop {
        // One that has been told, and does not answer, is not waited for.
        let patience = if told {
            Some(GOAWAY_PATIENCE)
        } else {
            idle_timeout
        };
        let look = passed(patience.map(|timeout| timeout / IDLE_LOOKS));
        let accepted = tokio::select! {
            biased;
            accepted = connection.accept() => accepted,
            () = &mut draining, if !told => {
                told = true;
                connection.graceful_shutdown();
                continue;
            }
            () = look => {
                idle_looks = if connection.has_streams() { 0 } else { idle_looks + 1 };
                if idle_looks >= IDLE_LOOKS {
                    if told {
                        return Ok(());
                    }
                    told = true;
                    idle_looks = 0;
                    connection.graceful_shutdown();
                }
                continue;
            }
        };
        idle_looks = 0;
        let Some(accepted) = accepted else {
            return Ok(());
        };
        let (request, respond) = accepted?;
        let (stream, next) = H2Downstream::new(request, respond, options);
        begin(stream, next);
    }
}

/// Returns when `limit` is over; without a limit, never.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

impl H2Downstream {
    fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        options: &CodecOptions,
    ) -> (Self, Next) {
        let (headers, switch) = fields::request_map(&request);
        let expects_continue = headers
            .get(b"expect")
            .is_some_and(|e| e.eq_ignore_ascii_case(b"100-continue"));
        let hosts = request.headers().get_all("host").iter().count();
        let body = request.into_body();
        let end_of_stream = body.is_end_stream();
        let stream = Self {
            bodiless: headers.get(b":method").is_some_and(|m| m == "HEAD"),
            switch: switch.clone(),
            request: body,
            response: Response::Awaited(respond),
            request_ended: end_of_stream,
        };
        let mut head = RequestHead {
            headers,
            protocol: Protocol::Http2,
            end_of_stream,
            switch,
        };
        let rejected = if head.headers.len() > options.headers_count_max {
            Some(HeadError::TooLarge)
        } else if hosts > 1 {
            Some(HeadError::Malformed("two hosts"))
        } else {
            let authority = head.headers.get(b":authority");
            let valid = authority.is_none_or(|a| is_authority(a));
            (!valid).then_some(HeadError::InvalidPseudo(":authority"))
        };
        if let Some(error) = rejected {
            return (stream, Next::Rejected(error, head));
        }
        if expects_continue {
            head.headers.remove(b"expect");
        }
        (stream, Next::Request(head, expects_continue))
    }

    fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        let reset = match &mut self.response {
            Response::Awaited(respond) => respond.poll_reset(context),
            Response::Sending(queue) => queue.poll_reset(context),
        };
        reset.map(|reset| match reset {
            Ok(reason) => DownstreamError::Reset(reason.into()),
            Err(_) => DownstreamError::Closed,
        })
    }
}

impl Downstream for H2Downstream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RequestPiece, DownstreamError>> {
        if self.request_ended {
            return self.poll_reset(context).map(Err);
        }
        match ready!(self.request.poll_data(context)) {
            Some(Ok(data)) => {
                // An error means that the stream is over; the next read tells.
                let _ = self.request.flow_control().release_capacity(data.len());
                self.request_ended = self.request.is_end_stream();
                Poll::Ready(Ok(RequestPiece::Body {
                    data: data.into(),
                    end_of_stream: self.request_ended,
                }))
            }
            Some(Err(error)) => Poll::Ready(Err(failed(&error))),
            None => {
                let trailers = ready!(self.request.poll_trailers(context));
                self.request_ended = true;
                Poll::Ready(match trailers {
                    Ok(Some(trailers)) => {
                        Ok(RequestPiece::Trailers(fields::trailers_map(&trailers)))
                    }
                    Ok(None) => Ok(RequestPiece::Body {
                        data: BodyBuffer::new(),
                        end_of_stream: true,
                    }),
                    Err(error) => Err(failed(&error)),
                })
            }
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        self.poll_reset(context)
    }

    fn send_informational(&mut self, headers: &HeaderMap) {
        if let (Response::Awaited(respond), Some(message)) =
            (&mut self.response, fields::informational(headers))
            && let Err(error) = respond.send_informational(message)
        {
            tracing::debug!("1xx: {error}");
        }
    }

    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        let Response::Awaited(respond) = &mut self.response else {
            return Ok(());
        };
        let response = fields::response(headers, self.switch.as_ref())?;
        self.bodiless |= matches!(response.status().as_u16(), 204 | 304);
        let length = if self.bodiless || self.switch.is_some() {
            DeclaredLength::NONE
        } else {
            DeclaredLength::of(headers)?
        };
        if end_of_stream {
            length.finish_with_headers()?;
        }
        match respond.send_response(response, end_of_stream) {
            Ok(stream) => {
                self.response = Response::Sending(SendQueue::new(stream, length, end_of_stream));
            }
            // The client has reset the stream; reading tells so.
            Err(error) => tracing::debug!("response: {error}"),
        }
        Ok(())
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        let data = if self.bodiless {
            BodyBuffer::new()
        } else {
            data
        };
        match &mut self.response {
            Response::Sending(queue) => queue.body(data, end_of_stream),
            Response::Awaited(_) => Ok(()),
        }
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort> {
        match &mut self.response {
            Response::Sending(queue) => queue.trailers(fields::trailers(trailers)),
            Response::Awaited(_) => Ok(()),
        }
    }

    fn queued(&self) -> usize {
        match &self.response {
            Response::Sending(queue) => queue.queued(),
            Response::Awaited(_) => 0,
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        match &mut self.response {
            Response::Sending(queue) => queue.poll_flush(context).map_err(|e| failed(&e)),
            Response::Awaited(_) => Poll::Ready(Ok(())),
        }
    }

    fn close_after_response(&mut self) {}

    fn closes_after_response(&self) -> bool {
        false
    }

    fn reset(&mut self, code: u32) {
        match &mut self.response {
            Response::Awaited(respond) => respond.send_reset(Reason::from(code)),
            Response::Sending(queue) => queue.reset(code),
        }
    }
}

fn failed(error: &h2::Error) -> DownstreamError {
    match error.reason() {
        Some(reason) if error.is_reset() => DownstreamError::Reset(reason.into()),
        _ => DownstreamError::Closed,
    }
}
