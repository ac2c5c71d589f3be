//! Connections that are passed on as they are, or through filters: Envoy's
//! `tcp_proxy`, with or without wasm filters in front of it.

mod chain;
mod copy;
mod relay;
mod view;

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use weir_abi::HeaderMap;

use self::relay::Relay;
use crate::cluster::{Cluster, EndpointRequest, OpenConnection, PickContext};
use crate::http::{Connection, UpstreamError};
use crate::istio::Istio;
use crate::stream::{ConnectionInfo, FilteredStream, Protocol, ResponseFlags, StreamInfo};
use crate::worker::{WorkerListener, WorkerShared};

/// What a listener does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TcpProxy {
    /// Index of the cluster in the generation; `None` if it has not been discovered.
    pub(crate) cluster: Option<usize>,
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
    connection: Connection,
    info: ConnectionInfo,
    proxy: TcpProxy,
    listener: &WorkerListener,
    shared: &Rc<WorkerShared>,
) {
    let mut info = StreamInfo::new(info, Protocol::Tcp, Arc::clone(&listener.facts));
    info.istio = listener.istio.as_ref().map(|_| Box::default());
    info.gates = Rc::clone(&listener.chain.gates);
    let record = FilteredStream::new(info, HeaderMap::new(), &[], 0);
    let serving = async {
        // Its end, whatever it was, is in the log.
        if !listener.chain.is_empty() {
            Relay::new(connection, &record, proxy, listener, shared)
                .run()
                .await;
        } else if !record.pass_connection_gates(0) {
            tracing::debug!("tcp: the connection is denied");
        } else if let Err(error) = serve_plain(connection, &record, proxy, shared).await {
            tracing::debug!("tcp: {error}");
        }
    };
    match &listener.istio {
        Some(istio) => counted(serving, istio, &record).await,
        None => serving.await,
    }
    record.finish();
    listener.log(&record);
}

/// Has a connection counted while it is open.
async fn counted(serving: impl Future<Output = ()>, istio: &Istio, record: &Rc<FilteredStream>) {
    let mut serving = pin!(serving);
    loop {
        let time = async {
            match istio.interval() {
                Some(interval) => sleep(interval).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = &mut serving => return,
            () = time => istio.still_open(record),
        }
    }
}

/// Without filters.
async fn serve_plain(
    connection: Connection,
    record: &FilteredStream,
    proxy: TcpProxy,
    shared: &WorkerShared,
) -> Result<(), Broken> {
    match connect(record, proxy, shared).await {
        Some(Connected {
            connection: upstream,
            counted: _counted,
            ..
        }) => copy::pass(connection, upstream, &record.info, proxy.idle_timeout).await,
        None => Ok(()),
    }
}

/// Has a connection end by a reset, as the other one has.
fn reset_on_drop(connection: &Connection) {
    if let Some(socket) = connection.socket() {
        socket.reset_on_drop();
    }
}

/// What counts a connection to an endpoint.
type Counted = (EndpointRequest, OpenConnection);

/// A connection to an endpoint.
struct Connected {
    connection: Connection,
    /// Bytes that may wait on it.
    buffer_limit: usize,
    /// Counts it for as long as it is there.
    counted: Counted,
}

/// A connection to an endpoint; why there is none stands in the record.
async fn connect(
    record: &FilteredStream,
    proxy: TcpProxy,
    shared: &WorkerShared,
) -> Option<Connected> {
    let info = &record.info;
    let Some(cluster) = cluster(record, proxy, shared) else {
        info.flag(ResponseFlags::NO_CLUSTER_FOUND);
        return None;
    };
    *info.cluster.borrow_mut() = Some(cluster.name.clone());
    if let Some(istio) = &info.istio {
        istio.goes_to(cluster);
    }
    info.cluster_endpoints.set(Some(cluster.size()));
    let destination = cluster.destination(&info.connection, &HeaderMap::new());
    let Some(endpoint) = cluster.pick(&PickContext {
        destination,
        ..PickContext::default()
    }) else {
        info.flag(ResponseFlags::NO_HEALTHY_UPSTREAM);
        return None;
    };
    info.upstream_metadata.replace(endpoint.metadata());
    let request = cluster.request(&endpoint);
    info.upstream_chosen(&endpoint.address, request.began());
    let error = match cluster.dial(&endpoint, info.connection.account()).await {
        Ok((connection, open)) => {
            info.upstream_ready(connection.local_address(), Instant::now());
            info.upstream_tls.replace(connection.tls().cloned());
            request.connected();
            return Some(Connected {
                connection,
                buffer_limit: cluster.buffer_limit.max(1),
                counted: (request, open),
            });
        }
        Err(error) => error,
    };
    tracing::debug!("tcp: {}: {error}", endpoint.address);
    request.failed(&error);
    if matches!(error, UpstreamError::Overflow) {
        info.flag(ResponseFlags::UPSTREAM_OVERFLOW);
        return None;
    }
    if let UpstreamError::Connect(cause) = error {
        info.upstream_failure.replace(cause);
    }
    info.flag(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
    // There is one attempt.
    info.flag(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
    None
}

/// Filter state by which a filter chooses the cluster (Envoy, `per_connection_cluster.h`).
const CLUSTER: &[u8] = b"envoy.tcp_proxy.cluster";

/// The cluster that a filter has chosen, if there is such, or else the listener's.
fn cluster<'s>(
    record: &FilteredStream,
    proxy: TcpProxy,
    shared: &'s WorkerShared,
) -> Option<&'s Rc<Cluster>> {
    match record.filter_state(CLUSTER) {
        Some(name) => shared.clusters.iter().find(|c| c.name.as_bytes() == name),
        None => shared.clusters.get(proxy.cluster?),
    }
}
