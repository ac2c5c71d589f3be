//! The HTTP codecs behind two small traits, so that the stream engine does not
//! know which one carries a message: [`Downstream`] for one request and its
//! response on the client's connection, [`Upstream`] for one exchange with an
//! endpoint.
//!
//! Neither ever blocks: what is sent is queued, [`Downstream::poll_flush`] moves
//! the queue on, and reading goes on meanwhile. Whoever feeds a queue watches its
//! length and stops reading the other side when it grows.

mod any;
mod connection;
mod fields;
mod h1;
mod h2;
mod length;
mod options;
mod raw;
mod wire;

use std::task::{Context, Poll};

use bytes::Bytes;
use weir_abi::{BodyBuffer, HeaderMap};

pub(crate) use self::any::AnyUpstream;
pub(crate) use self::connection::Connection;
pub(crate) use self::fields::HeadError;
pub(crate) use self::h1::{H1Downstream, H1Upstream, Next};
pub(crate) use self::h2::{H2Downstream, H2Endpoint, H2Upstream, accept as accept_h2};
pub(crate) use self::options::CodecOptions;
pub(crate) use self::raw::RawUpstream;
use crate::stream::Protocol;

/// A change of protocol that a request asks for; what follows its headers are raw
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Switch {
    /// To the protocol of this name, as with HTTP/1.1's `upgrade` (RFC 9110, 7.8).
    Upgrade(Bytes),
    /// To a tunnel (RFC 9110, 9.3.6).
    Connect,
}

impl Switch {
    /// Whether a response with this status, in the form of HTTP/1.1, agrees.
    fn is_granted(&self, status: u16) -> bool {
        match self {
            Self::Upgrade(_) => status == 101,
            Self::Connect => (200..300).contains(&status),
        }
    }
}

/// A request's headers as they came.
pub(crate) struct RequestHead {
    pub(crate) headers: HeaderMap,
    pub(crate) protocol: Protocol,
    /// Nothing follows the headers.
    pub(crate) end_of_stream: bool,
    /// The protocol that the client wants to switch to.
    pub(crate) switch: Option<Switch>,
}

/// What follows the headers of a request.
#[derive(Debug)]
pub(crate) enum RequestPiece {
    Body {
        data: BodyBuffer,
        end_of_stream: bool,
    },
    /// Trailers, which are the end.
    Trailers(HeaderMap),
}

/// A response as it comes.
#[derive(Debug)]
pub(crate) enum ResponsePiece {
    /// A 1xx response; others follow.
    Informational(HeaderMap),
    Headers {
        headers: HeaderMap,
        end_of_stream: bool,
    },
    Body {
        data: BodyBuffer,
        end_of_stream: bool,
    },
    /// Trailers, which are the end.
    Trailers(HeaderMap),
}

/// Why the client's side of an exchange is over before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownstreamError {
    #[error("the client closed the connection")]
    Closed,
    /// HTTP/2: with this error code.
    #[error("the client reset the stream with code {0}")]
    Reset(u32),
    #[error("malformed request: {0}")]
    Malformed(String),
}

/// Why there is no response from an endpoint, or not all of it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("connecting takes too long")]
    ConnectTimeout,
    #[error("the connection broke: {0}")]
    Closed(String),
    /// HTTP/2: with this error code.
    #[error("the endpoint reset the stream with code {0}")]
    Reset(u32),
    /// HTTP/2: the endpoint has not looked at the request.
    #[error("the endpoint refused the stream")]
    Refused,
    #[error("malformed response: {0}")]
    Malformed(String),
    /// The cluster has as much under way as it may.
    #[error("the cluster's circuit breakers are open")]
    Overflow,
}

/// HTTP/2 error codes (RFC 9113, section 7) that Weir names itself.
pub(crate) mod reset {
    pub(crate) const INTERNAL_ERROR: u32 = 2;
    pub(crate) const REFUSED_STREAM: u32 = 7;
}

/// A message whose declared length and body do not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is shorter than its content-length")]
pub(crate) struct TooShort;

/// One request and its response on the client's connection.
pub(crate) trait Downstream {
    /// The next piece of the request. Once it has ended, waits until the client
    /// goes away.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RequestPiece, DownstreamError>>;

    /// Waits until the client goes away, and reads nothing of what it sends.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError>;

    /// Queues a 1xx response.
    fn send_informational(&mut self, headers: &HeaderMap);

    /// Queues the response's headers.
    ///
    /// # Errors
    /// When they would not make a well-formed message; nothing is queued.
    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError>;

    /// Queues a piece of the response's body. What exceeds the declared length
    /// is dropped.
    ///
    /// # Errors
    /// When the body ends before its declared length.
    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort>;

    /// Queues the trailers, which end the response.
    ///
    /// # Errors
    /// When the body has ended before its declared length.
    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort>;

    /// Bytes that wait to be written.
    fn queued(&self) -> usize;

    /// Writes what is queued; ready when nothing is left.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), DownstreamError>>;

    /// Has the connection end after this response, which says so, if that is how
    /// the protocol ends a connection. Before the headers are sent.
    fn close_after_response(&mut self);

    /// Whether the connection ends after this response.
    fn closes_after_response(&self) -> bool;

    /// Cuts the response off; on HTTP/2 with this error code.
    fn reset(&mut self, code: u32);
}

/// One exchange with an endpoint. Dropped before its end, it is broken off.
pub(crate) trait Upstream {
    /// Queues the request's headers.
    ///
    /// # Errors
    /// When they would not make a well-formed message; nothing is queued.
    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError>;

    /// Queues a piece of the request's body. What exceeds the declared length is
    /// dropped.
    ///
    /// # Errors
    /// When the body ends before its declared length.
    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort>;

    /// Queues the trailers, which end the request.
    ///
    /// # Errors
    /// When the body has ended before its declared length.
    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort>;

    /// Bytes that wait to be written.
    fn queued(&self) -> usize;

    /// Writes what is queued; ready when nothing is left.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>>;

    /// The next piece of the response.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>>;

    /// Whether more of the response has been read already. Reading may come to nothing
    /// all the same.
    fn has_more(&self) -> bool {
        false
    }

    /// Whether the body has ended with what has been read of it and nothing follows it;
    /// the end is not told by itself then.
    fn take_end(&mut self) -> bool {
        false
    }

    /// Breaks the exchange off; on HTTP/2 with this error code.
    fn reset(&mut self, code: u32);
}
