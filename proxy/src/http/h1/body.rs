//! The body of a message as it comes.

use bytes::BytesMut;
use weir_abi::{BodyBuffer, HeaderMap};

use super::super::fields::HeadError;
use super::chunked::{Chunked, Step};

/// How a message says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) enum BodyReader {
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    /// All of the body has been told, its end has not.
    AtEnd(HeaderMap),
    /// The end has been told.
    Ended,
}

/// What the input comes to.
#[derive(Debug)]
pub(super) enum Read {
    Data(BodyBuffer),
    /// The end, with trailers, of which there may be none.
    End(HeaderMap),
    NeedsMore,
}

impl BodyReader {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Ended,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Whether `input` has more of the body, or the end is still to be told.
    pub(super) fn has_more(&self, input: &[u8]) -> bool {
        match self {
            Self::Length(_) | Self::Chunked(_) | Self::UntilClose => !input.is_empty(),
            Self::AtEnd(_) => true,
            Self::Ended => false,
        }
    }

    /// Takes what `input` has of the body. The end comes by itself, after the
    /// last data.
    ///
    /// # Errors
    /// When the coding is broken.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Read, HeadError> {
        match self {
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(input.len(), |n| n.min(input.len()));
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::AtEnd(HeaderMap::new());
                }
                Ok(data(input.split_to(n).freeze().into()))
            }
            Self::Chunked(chunked) => {
                let mut body = BodyBuffer::new();
                if !input.is_empty()
                    && let Step::End(trailers) = chunked.decode(input, &mut body)?
                {
                    if body.is_empty() {
                        *self = Self::Ended;
                        return Ok(Read::End(trailers));
                    }
                    *self = Self::AtEnd(trailers);
                }
                Ok(data(body))
            }
            Self::UntilClose => Ok(data(input.split().freeze().into())),
            Self::AtEnd(trailers) => {
                let trailers = std::mem::take(trailers);
                *self = Self::Ended;
                Ok(Read::End(trailers))
            }
            Self::Ended => Ok(Read::NeedsMore),
        }
    }

    /// Whether all of the body has been told and no trailers follow; its end is told with
    /// that.
    pub(super) fn take_end(&mut self) -> bool {
        let ends = matches!(self, Self::AtEnd(trailers) if trailers.is_empty());
        if ends {
            *self = Self::Ended;
        }
        ends
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// When the body has not.
    pub(super) fn close(&mut self) -> Result<(), HeadError> {
        match self {
            Self::UntilClose => {
                *self = Self::Ended;
                Ok(())
            }
            _ => Err(HeadError::Malformed("the body ends too early")),
        }
    }
}

fn data(body: BodyBuffer) -> Read {
    if body.is_empty() {
        Read::NeedsMore
    } else {
        Read::Data(body)
    }
}
