//! [`TlsConnection`]: an encrypted connection, to a client or an endpoint.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;
use weir_config::Address;

use super::facts::TlsFacts;
use crate::socket::SocketStream;

/// An encrypted connection, and what was agreed on it.
#[derive(Debug)]
pub(crate) struct TlsConnection {
    stream: TlsStream<SocketStream>,
    facts: Arc<TlsFacts>,
}

impl TlsConnection {
    pub(super) fn new(stream: TlsStream<SocketStream>, facts: TlsFacts) -> Self {
        Self {
            stream,
            facts: Arc::new(facts),
        }
    }

    pub(crate) fn facts(&self) -> &Arc<TlsFacts> {
        &self.facts
    }

    /// What carries it.
    pub(crate) fn socket(&self) -> &SocketStream {
        self.stream.get_ref().0
    }

    pub(crate) fn local_address(&self) -> Option<Address> {
        self.socket().local_address()
    }
}

impl AsyncRead for TlsConnection {
    /// An end without notice is one all the same, as in Envoy: what must not be cut
    /// short has a length of its own.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
