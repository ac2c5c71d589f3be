//! HTTP/1.x from clients, on pingora's server session.

use bytes::Bytes;
use http::{Method, Version};
use pingora_core::protocols::Stream as Connection;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::{Error, ErrorType};
use tokio::io::AsyncWriteExt;
use weir_abi::HeaderMap;

use super::head::{self, Framing, HeadError};
use super::{Downstream, DownstreamError, RequestHead};
use crate::limits::DOWNSTREAM_IDLE_TIMEOUT;
use crate::stream::Protocol;

/// One request and its response on an HTTP/1.x connection.
pub(crate) struct H1Downstream {
    session: HttpSession,
    /// The client is told that its connection ends after this response.
    close: bool,
    /// The end of the request's body has been told.
    body_ended: bool,
}

/// What came on a connection.
pub(crate) enum Next {
    /// A request.
    Request(RequestHead),
    /// The head was not acceptable; the answer has this code.
    Rejected(u16, HeadError),
    /// The client closed the connection, or said nothing for too long.
    Closed,
}

impl H1Downstream {
    /// The next exchange on `connection`. `pipelined` holds what was read of it
    /// beyond the exchange before.
    pub(crate) fn new(connection: Connection, pipelined: Option<bytes::BytesMut>) -> Self {
        let mut session = HttpSession::new(connection);
        session.set_pipelining_enabled(true);
        if let Some(prefix) = pipelined {
            session.set_pipelined_prefix(prefix);
        }
        session.set_read_timeout(Some(DOWNSTREAM_IDLE_TIMEOUT));
        Self {
            session,
            close: false,
            body_ended: false,
        }
    }

    /// Reads the head of a request. Can be dropped only before anything of it
    /// has arrived.
    pub(crate) async fn read_request(&mut self) -> Next {
        match self.session.read_request().await {
            Ok(Some(_)) => {}
            Ok(None) => return Next::Closed,
            Err(e) => match e.etype() {
                ErrorType::InvalidHTTPHeader => return Next::Rejected(400, HeadError::Malformed),
                _ => return Next::Closed,
            },
        }
        match head::request_map(&self.session.get_headers_raw_bytes()) {
            Ok(headers) => {
                let protocol = match self.session.req_header().version {
                    Version::HTTP_11 => Protocol::Http11,
                    _ => Protocol::Http10,
                };
                self.body_ended = self.session.is_body_empty();
                Next::Request(RequestHead {
                    headers,
                    protocol,
                    end_of_stream: self.body_ended,
                })
            }
            Err(error @ HeadError::TooLarge) => Next::Rejected(431, error),
            Err(error) => Next::Rejected(400, error),
        }
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) fn expects_continue(&self) -> bool {
        let expect = self.session.get_header("expect");
        expect.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Sends `100 Continue`.
    pub(crate) async fn write_continue(&mut self) -> Result<(), DownstreamError> {
        self.session.write_continue_response().await.map_err(closed)
    }

    /// Answers a request that was not acceptable and closes the connection; the
    /// session has no request that it could answer itself.
    pub(crate) async fn reject(self, headers: &HeaderMap, body: &[u8]) {
        let Ok(response) = head::response_header(headers, Framing::Empty) else {
            return;
        };
        let mut message =
            format!("HTTP/1.1 {}\r\nconnection: close\r\n", response.status).into_bytes();
        response.header_to_h1_wire(&mut message);
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(body);
        let mut connection = self.session.into_inner();
        // A client that is gone needs no answer.
        if connection.write_all(&message).await.is_ok() {
            let _ = connection.flush().await;
        }
        let _ = AsyncWriteExt::shutdown(&mut connection).await;
    }

    /// The connection for its next request, with what was read of it already;
    /// `None` when there is none.
    pub(crate) async fn reuse(self) -> Option<(Connection, Option<bytes::BytesMut>)> {
        if self.close {
            let mut session = self.session;
            session.shutdown().await;
            return None;
        }
        let reusable = self.session.reuse().await.ok().flatten()?;
        Some(reusable.into_parts())
    }
}

impl Downstream for H1Downstream {
    async fn read_body(&mut self) -> Result<Option<Bytes>, DownstreamError> {
        // The session does not tell the end of a body whose length it knew.
        if !self.body_ended && self.session.is_body_done() {
            self.body_ended = true;
            return Ok(None);
        }
        match self.session.read_body_or_idle(self.body_ended).await {
            Ok(chunk) => {
                self.body_ended |= chunk.is_none();
                Ok(chunk)
            }
            Err(e)
                if matches!(
                    e.etype(),
                    ErrorType::InvalidHTTPHeader | ErrorType::Custom(_)
                ) =>
            {
                Err(DownstreamError::Malformed(e.to_string()))
            }
            Err(e) => Err(closed(e)),
        }
    }

    async fn write_headers(
        &mut self,
        headers: &HeaderMap,
        end_of_stream: bool,
    ) -> Result<(), DownstreamError> {
        let http11 = self.session.req_header().version == Version::HTTP_11;
        let framing = match end_of_stream {
            true if self.session.req_header().method == Method::HEAD => Framing::Bare,
            true => Framing::Empty,
            false if http11 => Framing::Chunked,
            false => Framing::Bare,
        };
        let mut response =
            head::response_header(headers, framing).map_err(DownstreamError::Unsendable)?;
        if !http11 {
            response.set_version(Version::HTTP_10);
        }
        if self.close {
            self.session.set_server_keepalive(None);
        }
        let response = Box::new(response);
        self.session
            .write_response_header(response)
            .await
            .map_err(closed)
    }

    async fn write_body(&mut self, chunk: &[u8]) -> Result<(), DownstreamError> {
        // An empty chunk would end a chunked body.
        if !chunk.is_empty() {
            self.session.write_body(chunk).await.map_err(closed)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), DownstreamError> {
        self.session.finish_body().await.map_err(closed)?;
        Ok(())
    }

    fn close_after_response(&mut self) {
        self.close = true;
    }

    async fn reset(&mut self) {
        self.close = true;
        self.session.shutdown().await;
    }
}

#[allow(clippy::needless_pass_by_value, clippy::boxed_local)] // For `map_err`.
fn closed(_: Box<Error>) -> DownstreamError {
    DownstreamError::Closed
}
