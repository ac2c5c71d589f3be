//! Clusters: the endpoints behind a name, and a worker's connections to them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream as Connection;
use pingora_core::upstreams::peer::{BasicPeer, Peer};

use crate::http::{H1Upstream, UpstreamError};
use crate::limits::UPSTREAM_IDLE_TIMEOUT;

/// A cluster as configured; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSpec {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<SocketAddr>,
    pub(crate) connect_timeout: Duration,
}

/// A cluster on one worker.
pub(crate) struct Cluster {
    pub(crate) name: String,
    endpoints: Vec<Endpoint>,
    next: Cell<usize>,
}

/// One endpoint of a cluster.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    peer: BasicPeer,
}

impl Cluster {
    /// `worker` is the worker's number: workers start their rounds at different
    /// endpoints.
    pub(crate) fn new(spec: &ClusterSpec, worker: usize) -> Self {
        let endpoint = |address: &SocketAddr| {
            let mut peer = BasicPeer::new(&address.to_string());
            peer.options.connection_timeout = Some(spec.connect_timeout);
            Endpoint {
                address: *address,
                peer,
            }
        };
        Self {
            name: spec.name.clone(),
            endpoints: spec.endpoints.iter().map(endpoint).collect(),
            next: Cell::new(worker),
        }
    }

    /// Place of the next endpoint, in turn; `None` when there is none.
    pub(crate) fn pick(&self) -> Option<usize> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        turn.checked_rem(self.endpoints.len())
    }

    /// The endpoint at a place that [`Cluster::pick`] gave.
    pub(crate) fn endpoint(&self, place: usize) -> &Endpoint {
        &self.endpoints[place]
    }
}

/// A worker's connections to endpoints.
pub(crate) struct Pool {
    connector: TransportConnector,
}

/// A connection for one exchange.
pub(crate) struct Lease {
    pub(crate) upstream: Box<H1Upstream>,
    /// Whether it carried an exchange before: the endpoint may have closed it
    /// in the meantime.
    pub(crate) reused: bool,
    pub(crate) local: Option<SocketAddr>,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            connector: TransportConnector::new(None),
        }
    }

    /// An idle connection to `endpoint`, or else a new one.
    pub(crate) async fn connect(&self, endpoint: &Endpoint) -> Result<Lease, UpstreamError> {
        let found = self.connector.get_stream(&endpoint.peer).await;
        found.map(|(c, reused)| lease(c, reused)).map_err(refused)
    }

    /// A new connection to `endpoint`.
    pub(crate) async fn connect_new(&self, endpoint: &Endpoint) -> Result<Lease, UpstreamError> {
        let made = self.connector.new_stream(&endpoint.peer).await;
        made.map(|c| lease(c, false)).map_err(refused)
    }

    /// Takes a connection back for the next exchange.
    pub(crate) async fn release(&self, endpoint: &Endpoint, upstream: Box<H1Upstream>) {
        if let Some(connection) = upstream.reuse().await {
            let key = endpoint.peer.reuse_hash();
            self.connector
                .release_stream(connection, key, Some(UPSTREAM_IDLE_TIMEOUT));
        }
    }
}

fn lease(connection: Connection, reused: bool) -> Lease {
    let digest = connection.get_socket_digest();
    let local = digest.and_then(|d| d.local_addr()?.as_inet().copied());
    Lease {
        upstream: Box::new(H1Upstream::new(connection)),
        reused,
        local,
    }
}

#[allow(clippy::needless_pass_by_value, clippy::boxed_local)] // For `map_err`.
fn refused(error: Box<pingora_core::Error>) -> UpstreamError {
    UpstreamError::Connect(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_in_turn() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let spec = ClusterSpec {
            name: "c".to_owned(),
            endpoints: vec![address(1), address(2), address(3)],
            connect_timeout: Duration::from_secs(1),
        };
        let cluster = Cluster::new(&spec, 1);
        let ports: Vec<u16> = (0..4)
            .filter_map(|_| cluster.pick())
            .map(|place| cluster.endpoint(place).address.port())
            .collect();
        assert_eq!(ports, [2, 3, 1, 2]);
    }
}
