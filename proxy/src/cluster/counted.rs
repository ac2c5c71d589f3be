//! [`Counted`]: a connection that is counted for as long as it is there, whoever has
//! it: an exchange, or pingora's pool.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::breakers::Permit;
use super::lane::Traffic;
use crate::telemetry::{ClusterMetrics, EndpointCells};

/// A connection to an endpoint is open, as long as this lives.
pub(crate) struct OpenConnection {
    _permit: Permit,
    cells: Arc<EndpointCells>,
    metrics: Arc<ClusterMetrics>,
    /// Of its lane.
    traffic: Arc<Traffic>,
}

impl OpenConnection {
    pub(super) fn new(
        permit: Permit,
        cells: &Arc<EndpointCells>,
        metrics: &Arc<ClusterMetrics>,
        traffic: &Arc<Traffic>,
    ) -> Self {
        cells.connections.add(1);
        cells.active_connections.add(1);
        metrics.connection();
        traffic.open.add(1);
        Self {
            _permit: permit,
            cells: Arc::clone(cells),
            metrics: Arc::clone(metrics),
            traffic: Arc::clone(traffic),
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.cells.active_connections.subtract(1);
        self.metrics.connection_ended();
        self.traffic.open.subtract(1);
        self.traffic.freed.notify_one();
    }
}

impl fmt::Debug for OpenConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenConnection")
    }
}

/// A connection in pingora's form.
#[derive(Debug)]
pub(super) struct Counted {
    stream: Stream,
    _open: OpenConnection,
}

impl Counted {
    pub(super) fn stream(stream: Stream, open: OpenConnection) -> Stream {
        Box::new(Self {
            stream,
            _open: open,
        })
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
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
impl Shutdown for Counted {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Counted {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

// There is no TLS to endpoints.
impl Ssl for Counted {}

impl GetTimingDigest for Counted {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Counted {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Counted {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

#[async_trait]
impl Peek for Counted {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        self.stream.try_peek(buffer).await
    }
}
