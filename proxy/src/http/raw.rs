//! [`RawUpstream`]: a connection to an endpoint that carries what is in a tunnel,
//! and no HTTP of its own.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use weir_abi::{BodyBuffer, HeaderMap};

use super::fields::HeadError;
use super::wire::Wire;
use super::{Connection, ResponsePiece, TooShort, Upstream, UpstreamError};
use crate::tls::TlsFacts;

/// A tunnel's end. To the request that asked for it, it answers that there is
/// one; everything behind that are bytes.
pub(crate) struct RawUpstream {
    wire: Wire,
    answered: bool,
    /// The client has ended its half.
    half_closed: bool,
}

impl RawUpstream {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            wire: Wire::new(connection),
            answered: false,
            half_closed: false,
        }
    }

    /// What was agreed on the connection, if it is encrypted.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        self.wire.tls()
    }
}

impl Upstream for RawUpstream {
    fn send_headers(&mut self, _: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        self.half_closed = end_of_stream;
        Ok(())
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        self.wire.push_body(data);
        self.half_closed |= end_of_stream;
        Ok(())
    }

    fn send_trailers(&mut self, _: &HeaderMap) -> Result<(), TooShort> {
        self.half_closed = true;
        Ok(())
    }

    fn queued(&self) -> usize {
        self.wire.queued()
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        ready!(self.wire.poll_flush(context)).map_err(closed)?;
        if self.half_closed {
            ready!(self.wire.poll_shutdown(context)).map_err(closed)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        if !self.answered {
            self.answered = true;
            let status = [(":status", "200")];
            return Poll::Ready(Ok(ResponsePiece::Headers {
                headers: status.into_iter().collect(),
                end_of_stream: false,
            }));
        }
        let read = ready!(self.wire.poll_fill(context)).map_err(closed)?;
        let data = self.wire.input.split().freeze();
        Poll::Ready(Ok(ResponsePiece::Body {
            data: data.into(),
            end_of_stream: read == 0,
        }))
    }

    fn reset(&mut self, _code: u32) {
        // It is broken off when the connection is dropped.
    }
}

#[allow(clippy::needless_pass_by_value)] // For `map_err`.
fn closed(error: io::Error) -> UpstreamError {
    UpstreamError::Closed(error.to_string())
}
