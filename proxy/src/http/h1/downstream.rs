//! HTTP/1.x from clients.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::timeout;
use weir_abi::{BodyBuffer, HeaderMap};

use super::super::fields::HeadError;
use super::super::wire::Wire;
use super::super::{
    CodecOptions, Connection, Downstream, DownstreamError, RequestHead, RequestPiece, Switch,
    TooShort,
};
use super::body::{BodyReader, Read};
use super::head::{self, HeadScan};
use super::write::{self, BodyWriter, ResponseContext};
use crate::limits::PIPELINED_BYTES;
use crate::stream::Protocol;

/// A client's HTTP/1.x connection, and the exchange that it carries.
pub(crate) struct H1Downstream {
    wire: Wire,
    options: Rc<CodecOptions>,
    request: BodyReader,
    response: BodyWriter,
    http10: bool,
    to_head: bool,
    switch: Option<Switch>,
    /// The raw bytes of a switch of protocols begin, if only with nothing.
    begins: bool,
    /// Nothing has come yet, and HTTP/2 may.
    maybe_http2: bool,
    /// The connection can carry another request after this one.
    reusable: bool,
}

/// What came on a connection.
pub(crate) enum Next {
    /// A request, and whether its client waits for `100 Continue`.
    Request(RequestHead, bool),
    /// The head was not acceptable; what is known of it.
    Rejected(HeadError, RequestHead),
    /// The client speaks HTTP/2.
    Http2,
    /// The client closed the connection, or said nothing for too long.
    Closed,
}

/// With what a client begins an HTTP/2 connection (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl H1Downstream {
    /// `maybe_http2`: the client may begin to speak HTTP/2 instead.
    pub(crate) fn new(
        connection: Connection,
        options: Rc<CodecOptions>,
        maybe_http2: bool,
    ) -> Self {
        Self {
            wire: Wire::new(connection),
            options,
            request: BodyReader::Ended,
            response: BodyWriter::Ended,
            http10: false,
            to_head: false,
            switch: None,
            begins: false,
            maybe_http2,
            reusable: true,
        }
    }

    /// Gives the connection back, with what has been read of it.
    pub(crate) fn into_connection(self) -> Connection {
        self.wire.into_connection()
    }

    /// Waits until something of the next message has come; false when the
    /// connection has ended instead.
    pub(crate) async fn readable(&mut self) -> bool {
        self.wire.shrink();
        while !self.wire.input.has_remaining() {
            match poll_fn(|cx| self.wire.poll_fill(cx)).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
        true
    }

    /// Reads the head of a request.
    pub(crate) async fn read_request(&mut self) -> Next {
        let mut scan = HeadScan::default();
        loop {
            // Empty lines before a request are left from sloppy clients.
            while self.wire.input.starts_with(b"\r\n") {
                self.wire.input.advance(2);
            }
            if self.maybe_http2 && self.wire.input.starts_with(HTTP2_PREFACE) {
                return Next::Http2;
            }
            // The preface contains what looks like the end of a head.
            if !self.maybe_http2 || !HTTP2_PREFACE.starts_with(&self.wire.input) {
                match scan.find(&self.wire.input, self.options.headers_bytes_max) {
                    Ok(Some(end)) => {
                        let head = self.wire.input.split_to(end);
                        return self.begin(head);
                    }
                    Ok(None) => {}
                    Err(error) => return self.rejected(error),
                }
            }
            if !matches!(poll_fn(|cx| self.wire.poll_fill(cx)).await, Ok(1..)) {
                return Next::Closed;
            }
        }
    }

    fn begin(&mut self, raw: BytesMut) -> Next {
        self.maybe_http2 = false;
        let head = match head::request(raw, &self.options) {
            Ok(head) => head,
            Err(error) => return self.rejected(error),
        };
        self.http10 = head.http10;
        self.reusable = head.keep_alive && head.switch.is_none();
        self.to_head = head.headers.get(b":method").is_some_and(|m| m == "HEAD");
        self.switch = head.switch.clone();
        self.begins = self.switch.is_some();
        self.request = BodyReader::new(head.framing);
        let end_of_stream = self.request.has_ended();
        let request = RequestHead {
            headers: head.headers,
            protocol: if head.http10 {
                Protocol::Http10
            } else {
                Protocol::Http11
            },
            end_of_stream,
            switch: head.switch,
        };
        Next::Request(request, head.expects_continue)
    }

    /// The head of a request has taken too long to come.
    pub(crate) fn time_out(&mut self) -> Next {
        self.rejected(HeadError::Timeout)
    }

    fn rejected(&mut self, error: HeadError) -> Next {
        self.reusable = false;
        self.http10 = false;
        self.to_head = false;
        self.switch = None;
        self.begins = false;
        self.request = BodyReader::Ended;
        let head = RequestHead {
            headers: HeaderMap::new(),
            protocol: Protocol::Http11,
            end_of_stream: true,
            switch: None,
        };
        Next::Rejected(error, head)
    }

    /// Whether the connection can carry another request now.
    pub(crate) fn is_reusable(&self) -> bool {
        self.reusable && self.request.has_ended() && self.response == BodyWriter::Ended
    }

    /// Ends the connection: what is queued goes out, and the client gets the time
    /// to read it. Closed over unread input, the kernel would send a reset that
    /// overtakes the response.
    pub(crate) async fn close(mut self, patience: Duration) {
        let wire = &mut self.wire;
        let linger = async {
            poll_fn(|cx| wire.poll_flush(cx)).await?;
            poll_fn(|cx| wire.poll_shutdown(cx)).await?;
            loop {
                wire.input.clear();
                if poll_fn(|cx| wire.poll_fill(cx)).await? == 0 {
                    return std::io::Result::Ok(());
                }
            }
        };
        // Either way the connection ends here.
        let _ = timeout(patience, linger).await;
    }
}

impl Downstream for H1Downstream {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<RequestPiece, DownstreamError>> {
        loop {
            match self.request.read(&mut self.wire.input) {
                Ok(Read::Data(data)) => {
                    return Poll::Ready(Ok(RequestPiece::Body {
                        data,
                        end_of_stream: false,
                    }));
                }
                Ok(Read::End(trailers)) => {
                    return Poll::Ready(Ok(if self.options.trailers && !trailers.is_empty() {
                        RequestPiece::Trailers(trailers)
                    } else {
                        RequestPiece::Body {
                            data: BodyBuffer::new(),
                            end_of_stream: true,
                        }
                    }));
                }
                Ok(Read::NeedsMore) if self.begins => {
                    self.begins = false;
                    return Poll::Ready(Ok(RequestPiece::Body {
                        data: BodyBuffer::new(),
                        end_of_stream: false,
                    }));
                }
                Ok(Read::NeedsMore) => {}
                Err(error) => {
                    self.reusable = false;
                    self.request = BodyReader::Ended;
                    return Poll::Ready(Err(DownstreamError::Malformed(error.to_string())));
                }
            }
            // Behind the end stands the next request, which can wait.
            if self.request.has_ended() && self.wire.input.len() > PIPELINED_BYTES {
                return self.poll_gone(context).map(Err);
            }
            match ready!(self.wire.poll_fill(context)) {
                Ok(0) | Err(_) => {
                    self.reusable = false;
                    return Poll::Ready(Err(DownstreamError::Closed));
                }
                Ok(_) => {}
            }
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        self.wire
            .poll_hang_up(context)
            .map(|()| DownstreamError::Closed)
    }

    fn send_informational(&mut self, headers: &HeaderMap) {
        if !self.http10
            && let Some(message) = write::informational(headers)
        {
            self.wire.push(message);
        }
    }

    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        // Only its end ends a body of unknown length to a client of old.
        let unsized_body = self.http10 && !end_of_stream && !headers.contains(b"content-length");
        self.reusable &= !unsized_body;
        let context = ResponseContext {
            http10: self.http10,
            to_head: self.to_head,
            switch: self.switch.as_ref(),
            end_of_stream,
            reusable: self.reusable,
        };
        let (head, body) = write::response(headers, context)?;
        self.wire.push(head);
        self.response = body;
        Ok(())
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        self.response.write(&mut self.wire, data, end_of_stream)
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort> {
        let trailers = Some(trailers).filter(|_| self.options.trailers);
        self.response.end(&mut self.wire, trailers)
    }

    fn queued(&self) -> usize {
        self.wire.queued()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), DownstreamError>> {
        let flushed = self.wire.poll_flush(context);
        flushed.map_err(|_| {
            self.reusable = false;
            DownstreamError::Closed
        })
    }

    fn close_after_response(&mut self) {
        self.reusable = false;
    }

    fn closes_after_response(&self) -> bool {
        !self.reusable && self.switch.is_none()
    }

    fn reset(&mut self, _code: u32) {
        self.reusable = false;
    }
}
