//! Connections that are passed on as they are: Envoy's `tcp_proxy`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use weir_abi::HeaderMap;

use crate::limits::TCP_CHUNK_BYTES;
use crate::stream::{ConnectionInfo, FilteredStream, Protocol, ResponseFlags, StreamInfo, count};
use crate::telemetry::UpstreamRequest;
use crate::worker::{WorkerListener, WorkerShared};

/// What a listener does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcpProxy {
    /// Index of the cluster in the generation.
    pub(crate) cluster: usize,
    /// How long nothing may move; `None` for no limit.
    pub(crate) idle_timeout: Option<Duration>,
}

/// Why a connection is passed on no further.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("nothing has moved for too long")]
    Idle,
}

/// Passes `connection` on to an endpoint, until both sides have said all they
/// had to, and logs it.
pub(crate) async fn serve(
    connection: TcpStream,
    info: ConnectionInfo,
    proxy: TcpProxy,
    listener: &WorkerListener,
    shared: &Rc<WorkerShared>,
) {
    let info = StreamInfo::new(info, Protocol::Tcp, Arc::clone(&listener.facts));
    let stream = FilteredStream::new(info, HeaderMap::new(), &[], 0);
    match connect(&stream, proxy, shared).await {
        Ok((upstream, _active)) => {
            // Its end, whatever it was, is in the log.
            if let Err(error) = pass(connection, upstream, &stream, proxy.idle_timeout).await {
                tracing::debug!("tcp: {error}");
            }
        }
        Err(flag) => stream.info.flag(flag),
    }
    stream.finish();
    listener.log(&stream);
}

/// A connection to an endpoint, or the flag that tells why there is none.
async fn connect(
    stream: &FilteredStream,
    proxy: TcpProxy,
    shared: &WorkerShared,
) -> Result<(TcpStream, UpstreamRequest), ResponseFlags> {
    let cluster = &shared.clusters[proxy.cluster];
    let info = &stream.info;
    *info.cluster.borrow_mut() = Some(cluster.name.clone());
    let endpoint = cluster.pick().ok_or(ResponseFlags::NO_HEALTHY_UPSTREAM)?;
    info.upstream.set(Some(endpoint.address));
    info.upstream_attempts.set(1);
    let active = cluster.metrics.request();
    let connecting = TcpStream::connect(endpoint.address);
    let connected = timeout(cluster.connect_timeout, connecting).await;
    cluster.metrics.connected(matches!(connected, Ok(Ok(_))));
    match connected {
        Ok(Ok(upstream)) => {
            info.upstream_local.set(upstream.local_addr().ok());
            return Ok((upstream, active));
        }
        Ok(Err(error)) => tracing::debug!("tcp: {}: {error}", endpoint.address),
        Err(_) => tracing::debug!("tcp: {}: no connection in time", endpoint.address),
    }
    active.failure();
    Err(ResponseFlags::UPSTREAM_CONNECTION_FAILURE)
}

/// Copies both ways. An end of one direction is passed on, and the other goes
/// on until its own.
async fn pass(
    mut client: TcpStream,
    mut upstream: TcpStream,
    stream: &FilteredStream,
    idle_timeout: Option<Duration>,
) -> Result<(), Broken> {
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_upstream, to_upstream) = upstream.split();
    let moved = std::cell::Cell::new(Instant::now());
    let info = &stream.info;
    let there = copy(from_client, to_upstream, &info.bytes_received, &moved);
    let back = copy(from_upstream, to_client, &info.bytes_sent, &moved);
    let both = async { tokio::try_join!(there, back) };
    let idle = async {
        let Some(limit) = idle_timeout else {
            return std::future::pending().await;
        };
        while moved.get().elapsed() < limit {
            sleep_until(moved.get() + limit).await;
        }
    };
    tokio::select! {
        result = both => {
            result?;
            Ok(())
        }
        () = idle => Err(Broken::Idle),
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &std::cell::Cell<u64>,
    moved: &std::cell::Cell<Instant>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; TCP_CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        if read == 0 {
            return to.shutdown().await;
        }
        count(counter, read);
        to.write_all(&buffer[..read]).await?;
        moved.set(Instant::now());
    }
}
