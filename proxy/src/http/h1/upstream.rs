//! HTTP/1.1 to endpoints.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use weir_abi::{BodyBuffer, HeaderMap};

use super::super::fields::HeadError;
use super::super::wire::Wire;
use super::super::{
    CodecOptions, Connection, ResponsePiece, Switch, TooShort, Upstream, UpstreamError,
};
use super::body::{BodyReader, Read};
use super::head::{self, HeadScan};
use super::write::{self, BodyWriter};
use crate::tls::TlsFacts;

/// One exchange with an HTTP/1.1 endpoint.
pub(crate) struct H1Upstream {
    wire: Wire,
    options: Rc<CodecOptions>,
    request: BodyWriter,
    response: Response,
    to_head: bool,
    switch: Option<Switch>,
    /// What follows the headers of a request to switch, until the endpoint has
    /// switched: before that, it could take this for another request.
    held: Option<BodyBuffer>,
    keep_alive: bool,
    /// The client has ended its half of what an upgrade made of the exchange.
    half_closed: bool,
    /// The raw bytes of a granted switch begin, if only with nothing.
    begins: bool,
}

/// How far the response has come.
enum Response {
    Head(HeadScan),
    Body(BodyReader),
}

impl H1Upstream {
    pub(crate) fn new(connection: Connection, options: Rc<CodecOptions>) -> Self {
        Self {
            wire: Wire::new(connection),
            options,
            request: BodyWriter::Ended,
            response: Response::Head(HeadScan::default()),
            to_head: false,
            switch: None,
            held: None,
            keep_alive: false,
            half_closed: false,
            begins: false,
        }
    }

    /// The request asks to switch protocols: what follows its headers are raw bytes.
    pub(crate) fn set_switch(&mut self, switch: Switch) {
        self.held = Some(BodyBuffer::new());
        self.switch = Some(switch);
    }

    /// What was agreed on the connection, if it is encrypted.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        self.wire.tls()
    }

    /// The connection, if it can carry another exchange.
    pub(crate) fn reuse(self) -> Option<Connection> {
        let complete = matches!(&self.response, Response::Body(body) if body.has_ended())
            && self.request == BodyWriter::Ended
            && self.wire.is_flushed()
            && self.wire.input.is_empty();
        (self.keep_alive && complete).then(|| self.wire.into_connection())
    }

    fn is_upgrade(&self) -> bool {
        matches!(self.switch, Some(Switch::Upgrade(_)))
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        let Response::Head(scan) = &mut self.response else {
            return Poll::Pending;
        };
        let max = self.options.headers_bytes_max;
        let end = loop {
            if let Some(end) = scan.find(&self.wire.input, max).map_err(malformed)? {
                break end;
            }
            if ready!(fill(&mut self.wire, context))? == 0 {
                return Poll::Ready(Err(UpstreamError::Closed("by the endpoint".to_owned())));
            }
        };
        let raw = self.wire.input.split_to(end);
        let parsed = head::response(raw, &self.options, self.to_head, self.switch.as_ref());
        let parsed = parsed.map_err(malformed)?;
        if parsed.code < 200 && parsed.code != 101 {
            self.response = Response::Head(HeadScan::default());
            return Poll::Ready(Ok(ResponsePiece::Informational(parsed.headers)));
        }
        if parsed.code == 101 && !self.is_upgrade() {
            return Poll::Ready(Err(UpstreamError::Malformed(
                "101 to a request that did not ask for it".to_owned(),
            )));
        }
        let body = BodyReader::new(parsed.framing);
        self.keep_alive =
            parsed.keep_alive && self.switch.is_none() && !matches!(body, BodyReader::UntilClose);
        let granted = |s: &Switch| s.is_granted(parsed.code);
        if self.switch.as_ref().is_some_and(granted) {
            self.wire.push_body(self.held.take().unwrap_or_default());
            self.begins = true;
        }
        let end_of_stream = body.has_ended();
        self.response = Response::Body(body);
        Poll::Ready(Ok(ResponsePiece::Headers {
            headers: parsed.headers,
            end_of_stream,
        }))
    }
}

impl Upstream for H1Upstream {
    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        let (head, body) = write::request(headers, end_of_stream, self.switch.as_ref())?;
        self.to_head = headers.get(b":method").is_some_and(|m| m == "HEAD");
        self.request = body;
        self.wire.push(head);
        Ok(())
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        self.half_closed = self.switch.is_some() && end_of_stream;
        if let Some(held) = &mut self.held {
            held.append(data);
            return Ok(());
        }
        self.request.write(&mut self.wire, data, end_of_stream)
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort> {
        self.half_closed = self.switch.is_some();
        let trailers = Some(trailers).filter(|_| self.options.trailers);
        self.request.end(&mut self.wire, trailers)
    }

    fn queued(&self) -> usize {
        self.wire.queued() + self.held.as_ref().map_or(0, BodyBuffer::len)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let closed = |e: std::io::Error| UpstreamError::Closed(e.to_string());
        ready!(self.wire.poll_flush(context)).map_err(closed)?;
        if self.half_closed && self.held.is_none() {
            ready!(self.wire.poll_shutdown(context)).map_err(closed)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        loop {
            let Response::Body(body) = &mut self.response else {
                return self.poll_head(context);
            };
            let end = |trailers: HeaderMap, keep: bool| {
                if keep && !trailers.is_empty() {
                    ResponsePiece::Trailers(trailers)
                } else {
                    ResponsePiece::Body {
                        data: BodyBuffer::new(),
                        end_of_stream: true,
                    }
                }
            };
            match body.read(&mut self.wire.input).map_err(malformed)? {
                Read::Data(data) => {
                    return Poll::Ready(Ok(ResponsePiece::Body {
                        data,
                        end_of_stream: false,
                    }));
                }
                Read::End(trailers) => {
                    return Poll::Ready(Ok(end(trailers, self.options.trailers)));
                }
                Read::NeedsMore if self.begins => {
                    self.begins = false;
                    return Poll::Ready(Ok(ResponsePiece::Body {
                        data: BodyBuffer::new(),
                        end_of_stream: false,
                    }));
                }
                Read::NeedsMore => {}
            }
            if ready!(fill(&mut self.wire, context))? == 0 {
                let Response::Body(body) = &mut self.response else {
                    return Poll::Pending;
                };
                return Poll::Ready(match body.close() {
                    Ok(()) => Ok(end(HeaderMap::new(), false)),
                    Err(error) => Err(malformed(error)),
                });
            }
        }
    }

    fn has_more(&self) -> bool {
        matches!(&self.response, Response::Body(body) if body.has_more(&self.wire.input))
    }

    fn take_end(&mut self) -> bool {
        match &mut self.response {
            Response::Head(_) => false,
            Response::Body(body) => body.take_end(),
        }
    }

    fn reset(&mut self, _code: u32) {
        // Dropping the connection is all that HTTP/1 has.
        self.keep_alive = false;
    }
}

fn fill(wire: &mut Wire, context: &mut Context<'_>) -> Poll<Result<usize, UpstreamError>> {
    wire.poll_fill(context)
        .map_err(|e| UpstreamError::Closed(e.to_string()))
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn malformed(error: HeadError) -> UpstreamError {
    UpstreamError::Malformed(error.to_string())
}
