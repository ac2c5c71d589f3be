//! [`AnyUpstream`]: an exchange with an endpoint, whatever it speaks.

use std::sync::Arc;
use std::task::{Context, Poll};

use weir_abi::{BodyBuffer, HeaderMap};

use super::fields::HeadError;
use super::{
    H1Upstream, H2Upstream, RawUpstream, ResponsePiece, Switch, TooShort, Upstream, UpstreamError,
};
use crate::tls::TlsFacts;

/// One exchange with an endpoint.
pub(crate) enum AnyUpstream {
    H1(Box<H1Upstream>),
    H2(Box<H2Upstream>),
    Raw(Box<RawUpstream>),
}

impl AnyUpstream {
    /// The request asks to switch protocols.
    pub(crate) fn set_switch(&mut self, switch: Switch) {
        match self {
            Self::H1(upstream) => upstream.set_switch(switch),
            Self::H2(upstream) => upstream.set_switch(switch),
            // It has been granted.
            Self::Raw(_) => {}
        }
    }
}

impl AnyUpstream {
    /// What was agreed on its connection, if that is encrypted.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        match self {
            Self::H1(upstream) => upstream.tls(),
            Self::H2(upstream) => upstream.tls(),
            Self::Raw(upstream) => upstream.tls(),
        }
    }
}

macro_rules! either {
    ($self:expr, $upstream:ident => $call:expr) => {
        match $self {
            AnyUpstream::H1($upstream) => $call,
            AnyUpstream::H2($upstream) => $call,
            AnyUpstream::Raw($upstream) => $call,
        }
    };
}

impl Upstream for AnyUpstream {
    fn send_headers(&mut self, headers: &HeaderMap, end_of_stream: bool) -> Result<(), HeadError> {
        either!(self, u => u.send_headers(headers, end_of_stream))
    }

    fn send_body(&mut self, data: BodyBuffer, end_of_stream: bool) -> Result<(), TooShort> {
        either!(self, u => u.send_body(data, end_of_stream))
    }

    fn send_trailers(&mut self, trailers: &HeaderMap) -> Result<(), TooShort> {
        either!(self, u => u.send_trailers(trailers))
    }

    fn queued(&self) -> usize {
        either!(self, u => u.queued())
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        either!(self, u => u.poll_flush(context))
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponsePiece, UpstreamError>> {
        either!(self, u => u.poll_read(context))
    }

    fn has_more(&self) -> bool {
        either!(self, u => u.has_more())
    }

    fn take_end(&mut self) -> bool {
        either!(self, u => u.take_end())
    }

    fn reset(&mut self, code: u32) {
        either!(self, u => u.reset(code));
    }
}
