//! [`SendQueue`]: what waits for room in a stream's flow-control window.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use weir_abi::BodyBuffer;

use crate::http::TooShort;
use crate::http::length::DeclaredLength;

/// The sending half of a stream.
pub(super) struct SendQueue {
    stream: SendStream<Bytes>,
    body: BodyBuffer,
    length: DeclaredLength,
    end: End,
}

/// How the message ends.
enum End {
    /// It has not ended.
    Open,
    /// With the last of the queue.
    Body,
    Trailers(http::HeaderMap),
    /// The end has been handed over.
    Sent,
}

impl SendQueue {
    /// `ended`: the headers were the end.
    pub(super) fn new(stream: SendStream<Bytes>, length: DeclaredLength, ended: bool) -> Self {
        Self {
            stream,
            body: BodyBuffer::new(),
            length,
            end: if ended { End::Sent } else { End::Open },
        }
    }

    pub(super) fn body(&mut self, mut data: BodyBuffer, end: bool) -> Result<(), TooShort> {
        if !matches!(self.end, End::Open) {
            return Ok(());
        }
        self.length.admit(&mut data);
        self.body.append(data);
        if end {
            self.length.finish()?;
            self.end = End::Body;
        }
        Ok(())
    }

    pub(super) fn trailers(&mut self, trailers: http::HeaderMap) -> Result<(), TooShort> {
        if matches!(self.end, End::Open) {
            self.length.finish()?;
            self.end = if trailers.is_empty() {
                End::Body
            } else {
                End::Trailers(trailers)
            };
        }
        Ok(())
    }

    pub(super) fn queued(&self) -> usize {
        self.body.len()
    }

    /// Hands over as much as there is room for; ready when nothing is left.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while !self.body.is_empty() {
            self.stream.reserve_capacity(self.body.len());
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(context)) {
                    Some(capacity) => _ = capacity?,
                    None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                }
            }
            let chunk = self.body.pop_up_to(self.stream.capacity());
            let last = self.body.is_empty() && matches!(self.end, End::Body);
            self.stream.send_data(chunk, last)?;
            if last {
                self.end = End::Sent;
            }
        }
        match std::mem::replace(&mut self.end, End::Sent) {
            End::Open => self.end = End::Open,
            End::Body => self.stream.send_data(Bytes::new(), true)?,
            End::Trailers(trailers) => self.stream.send_trailers(trailers)?,
            End::Sent => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the peer resets the stream.
    pub(super) fn poll_reset(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(context)
    }

    pub(super) fn reset(&mut self, code: u32) {
        self.stream.send_reset(Reason::from(code));
    }
}
