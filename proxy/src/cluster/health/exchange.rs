//! One request and its whole response, on a connection to an endpoint.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use weir_abi::{BodyBuffer, HeaderMap};

use crate::http::{ResponsePiece, Upstream, UpstreamError};
use crate::limits::HEALTH_CHECK_BODY_BYTES;

/// A response.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    /// What there was of it, up to a limit.
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
}

/// Sends a request and reads the response to its end.
///
/// # Errors
/// When there is no response, or not all of it.
pub(super) async fn exchange(
    upstream: &mut impl Upstream,
    headers: &HeaderMap,
    body: Option<Bytes>,
) -> Result<Answer, UpstreamError> {
    let malformed = |error: &dyn ToString| UpstreamError::Malformed(error.to_string());
    let bodiless = body.is_none();
    let sent = upstream.send_headers(headers, bodiless);
    sent.map_err(|error| malformed(&error))?;
    if let Some(body) = body {
        let sent = upstream.send_body(BodyBuffer::from(body), true);
        sent.map_err(|error| malformed(&error))?;
    }
    let mut answer = Answer::default();
    let mut unflushed = true;
    loop {
        let piece = poll_fn(|context| {
            if unflushed && upstream.poll_flush(context).is_ready() {
                // If it failed, reading tells.
                unflushed = false;
            }
            match upstream.poll_read(context) {
                Poll::Ready(piece) => Poll::Ready(piece),
                Poll::Pending => Poll::Pending,
            }
        });
        let ended = match piece.await? {
            ResponsePiece::Informational(_) => false,
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            } => {
                answer.headers = headers;
                end_of_stream
            }
            ResponsePiece::Body {
                mut data,
                end_of_stream,
            } => {
                while let Some(chunk) = data.pop() {
                    let room = HEALTH_CHECK_BODY_BYTES.saturating_sub(answer.body.len());
                    let chunk = &chunk[..chunk.len().min(room)];
                    answer.body.extend_from_slice(chunk);
                }
                end_of_stream
            }
            ResponsePiece::Trailers(trailers) => {
                answer.trailers = trailers;
                true
            }
        };
        if ended {
            return Ok(answer);
        }
    }
}
