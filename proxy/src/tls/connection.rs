//! [`TlsConnection`]: an encrypted connection, to a client or an endpoint.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;
use weir_config::Address;

use super::facts::TlsFacts;
use crate::socket::SocketStream;

/// An encrypted connection, and what was agreed on it. It may wait in one of
/// pingora's pools.
#[derive(Debug)]
pub(crate) struct TlsConnection {
    stream: TlsStream<SocketStream>,
    facts: Arc<TlsFacts>,
    /// Goes when the connection does.
    guard: Option<Guard>,
}

/// Tells its end.
pub(crate) type Guard = Box<dyn fmt::Debug + Send + Sync>;

impl TlsConnection {
    pub(super) fn new(stream: TlsStream<SocketStream>, facts: TlsFacts) -> Self {
        Self {
            stream,
            facts: Arc::new(facts),
            guard: None,
        }
    }

    /// Keeps `guard` as long as the connection is there.
    pub(crate) fn hold(&mut self, guard: Guard) {
        self.guard = Some(guard);
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

#[async_trait]
impl Shutdown for TlsConnection {
    async fn shutdown(&mut self) {
        if let Err(error) = self.stream.shutdown().await {
            tracing::debug!("TLS: {error}");
        }
    }
}

impl UniqueID for TlsConnection {
    fn id(&self) -> UniqueIDType {
        self.socket().as_raw_fd()
    }
}

impl Ssl for TlsConnection {}

impl GetTimingDigest for TlsConnection {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TlsConnection {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for TlsConnection {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for TlsConnection {}
