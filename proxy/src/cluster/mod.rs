//! Clusters: the endpoints behind a name, and a worker's connections to them.

mod dns;
mod retries;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::UniqueIDType;
use pingora_core::upstreams::peer::{BasicPeer, Peer};

use tokio::sync::watch;
use weir_config::UpstreamProtocol;

pub(crate) use self::dns::{DnsCluster, chosen, start as start_dns};
use self::dns::{Found, Resolved};
use self::retries::RetryLimit;
pub(crate) use self::retries::RetryPermit;
use crate::http::{
    AnyUpstream, CodecOptions, Connection, H1Upstream, H2Endpoint, RawUpstream, UpstreamError,
};
use crate::telemetry::ClusterMetrics;

/// A cluster as configured; shared by all workers.
#[derive(Debug)]
pub(crate) struct ClusterSpec {
    pub(crate) name: String,
    /// What it was made from.
    pub(crate) config: weir_config::Cluster,
    pub(crate) endpoints: EndpointsSpec,
    pub(crate) connect_timeout: Duration,
    pub(crate) protocol: UpstreamProtocol,
    /// How long a connection may wait for its next exchange.
    pub(crate) idle_timeout: Option<Duration>,
    /// Bytes that may wait on one connection.
    pub(crate) buffer_limit: usize,
    pub(crate) codec: CodecOptions,
    /// Retries under way, of all workers.
    pub(crate) retries: Arc<AtomicU32>,
}

/// Where the endpoints of a cluster come from.
#[derive(Debug, Clone)]
pub(crate) enum EndpointsSpec {
    Addresses(Vec<SocketAddr>),
    Names(Arc<DnsCluster>),
}

/// A cluster on one worker.
pub(crate) struct Cluster {
    pub(crate) name: Rc<str>,
    pub(crate) connect_timeout: Duration,
    /// Bytes that may wait on one connection.
    pub(crate) buffer_limit: usize,
    idle_timeout: Option<Duration>,
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    /// What tells of other endpoints, if anything does.
    changes: Option<RefCell<watch::Receiver<Found>>>,
    next: Cell<usize>,
    protocol: UpstreamProtocol,
    codec: Rc<CodecOptions>,
    retries: RetryLimit,
    pub(crate) metrics: Arc<ClusterMetrics>,
}

/// One endpoint of a cluster.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// The name that the address was found under.
    pub(crate) host: Option<Arc<str>>,
    idle_timeout: Option<Duration>,
    /// Requests that one connection carries.
    requests_max: Option<u32>,
    peer: BasicPeer,
    http2: H2Endpoint,
}

impl Cluster {
    /// `worker` is the worker's number: workers start their rounds at different
    /// endpoints.
    pub(crate) fn new(spec: &ClusterSpec, worker: usize, metrics: Arc<ClusterMetrics>) -> Self {
        let cluster = Self {
            name: spec.name.as_str().into(),
            connect_timeout: spec.connect_timeout,
            buffer_limit: spec.buffer_limit,
            idle_timeout: spec.idle_timeout,
            endpoints: RefCell::default(),
            changes: match &spec.endpoints {
                EndpointsSpec::Addresses(_) => None,
                EndpointsSpec::Names(names) => {
                    let mut changes = names.subscribe();
                    changes.mark_changed();
                    Some(RefCell::new(changes))
                }
            },
            next: Cell::new(worker),
            protocol: spec.protocol,
            codec: Rc::new(spec.codec.clone()),
            retries: RetryLimit::new(spec),
            metrics,
        };
        if let EndpointsSpec::Addresses(addresses) = &spec.endpoints {
            let endpoints = addresses.iter();
            let endpoints = endpoints.map(|address| cluster.endpoint(*address, None));
            let endpoints = endpoints.collect();
            cluster.endpoints.replace(endpoints);
        }
        cluster
    }

    fn endpoint(&self, address: SocketAddr, host: Option<Arc<str>>) -> Rc<Endpoint> {
        let mut peer = BasicPeer::new(&address.to_string());
        peer.options.connection_timeout = Some(self.connect_timeout);
        Rc::new(Endpoint {
            address,
            host,
            idle_timeout: self.idle_timeout,
            requests_max: self.codec.requests_max,
            peer,
            http2: H2Endpoint::default(),
        })
    }

    /// The next endpoint, in turn; `None` when there is none.
    pub(crate) fn pick(&self) -> Option<Rc<Endpoint>> {
        self.refresh();
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let endpoints = self.endpoints.borrow();
        let place = turn.checked_rem(endpoints.len())?;
        Some(Rc::clone(&endpoints[place]))
    }

    /// The next endpoint that is none of `tried`; where all are, any.
    pub(crate) fn pick_besides(&self, tried: &[SocketAddr]) -> Option<Rc<Endpoint>> {
        let mut found = self.pick()?;
        if tried.is_empty() {
            return Some(found);
        }
        for _ in 1..self.size() {
            if !tried.contains(&found.address) {
                break;
            }
            found = self.pick()?;
        }
        Some(found)
    }

    /// Begins a retry, if the cluster takes one more.
    pub(crate) fn begin_retry(&self) -> Option<RetryPermit> {
        self.retries.begin(self.metrics.active_requests())
    }

    /// Number of endpoints there are.
    pub(crate) fn size(&self) -> usize {
        self.refresh();
        self.endpoints.borrow().len()
    }

    /// Takes over what names have been found to stand for.
    fn refresh(&self) {
        let Some(changes) = &self.changes else {
            return;
        };
        let mut changes = changes.borrow_mut();
        if changes.has_changed().unwrap_or(false)
            && let Some(found) = &*changes.borrow_and_update()
        {
            let mut endpoints = self.endpoints.borrow_mut();
            // An endpoint that stays keeps its connections.
            let endpoint = |found: &Resolved| {
                let same = |e: &&Rc<Endpoint>| e.address == found.address && e.host == found.host;
                let known = endpoints.iter().find(same).cloned();
                known.unwrap_or_else(|| self.endpoint(found.address, found.host.clone()))
            };
            *endpoints = found.iter().map(endpoint).collect();
        }
    }
}

/// A worker's connections to endpoints.
pub(crate) struct Pool {
    connector: TransportConnector,
    /// Requests that connections have carried whose number is limited, by the
    /// descriptor.
    requests: RefCell<HashMap<UniqueIDType, u32>>,
}

/// A connection for one exchange.
pub(crate) struct Lease {
    pub(crate) upstream: AnyUpstream,
    /// Whether it carried an exchange before: the endpoint may have closed it
    /// in the meantime.
    pub(crate) reused: bool,
    pub(crate) local: Option<SocketAddr>,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            connector: TransportConnector::new(None),
            requests: RefCell::default(),
        }
    }

    /// A place for one exchange with an endpoint: on a connection that there is,
    /// or on a new one, which it certainly is when `fresh`.
    pub(crate) async fn connect(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        match cluster.protocol {
            UpstreamProtocol::Http1 => self.connect_h1(cluster, endpoint, fresh).await,
            UpstreamProtocol::Http2 => self.connect_h2(cluster, endpoint, fresh).await,
        }
    }

    async fn connect_h1(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let found = if fresh {
            let made = self.connector.new_stream(&endpoint.peer).await;
            made.map(|stream| (stream, false))
        } else {
            self.connector.get_stream(&endpoint.peer).await
        };
        if !found.as_ref().is_ok_and(|(_, reused)| *reused) {
            cluster.metrics.connected(found.is_ok());
        }
        let (stream, reused) = found.map_err(refused)?;
        if endpoint.requests_max.is_some() {
            let mut requests = self.requests.borrow_mut();
            let carried = requests.entry(stream.id()).or_default();
            *carried = if reused { *carried + 1 } else { 1 };
        }
        let local = local_address(&stream);
        let upstream = H1Upstream::new(stream.into(), Rc::clone(&cluster.codec));
        Ok(Lease {
            upstream: AnyUpstream::H1(Box::new(upstream)),
            reused,
            local,
        })
    }

    async fn connect_h2(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let shared = if fresh {
            endpoint.http2.stream_after_refusal(&cluster.codec)
        } else {
            endpoint.http2.stream(&cluster.codec)
        };
        if let Some(upstream) = shared {
            return Ok(Lease {
                upstream: AnyUpstream::H2(Box::new(upstream)),
                reused: !fresh,
                local: None,
            });
        }
        let mut local = None;
        let make = async || {
            let stream = self.connector.new_stream(&endpoint.peer).await;
            cluster.metrics.connected(stream.is_ok());
            let stream = stream.map_err(refused)?;
            local = local_address(&stream);
            Ok(Connection::from(stream))
        };
        let stream = endpoint.http2.fresh_stream(&cluster.codec, make).await;
        let (upstream, reused) = stream?;
        Ok(Lease {
            upstream: AnyUpstream::H2(Box::new(upstream)),
            // Who asked for a fresh one has tried before, and does not try again.
            reused: reused && !fresh,
            local,
        })
    }

    /// A new connection for what is in a tunnel.
    pub(crate) async fn connect_raw(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
    ) -> Result<Lease, UpstreamError> {
        let stream = self.connector.new_stream(&endpoint.peer).await;
        cluster.metrics.connected(stream.is_ok());
        let stream = stream.map_err(refused)?;
        let local = local_address(&stream);
        let upstream = RawUpstream::new(stream.into());
        Ok(Lease {
            upstream: AnyUpstream::Raw(Box::new(upstream)),
            reused: false,
            local,
        })
    }

    /// Takes a connection back for the next exchange, if it can carry one.
    pub(crate) fn release(&self, endpoint: &Endpoint, upstream: H1Upstream) {
        if let Some(stream) = upstream.reuse().and_then(Connection::into_pingora) {
            let carried = self.requests.borrow().get(&stream.id()).copied();
            if let (Some(max), Some(carried)) = (endpoint.requests_max, carried)
                && carried >= max
            {
                return;
            }
            let key = endpoint.peer.reuse_hash();
            self.connector
                .release_stream(stream, key, endpoint.idle_timeout);
        }
    }
}

fn local_address(stream: &pingora_core::protocols::Stream) -> Option<SocketAddr> {
    let digest = stream.get_socket_digest();
    digest.and_then(|d| d.local_addr()?.as_inet().copied())
}

#[allow(clippy::needless_pass_by_value, clippy::boxed_local)] // For `map_err`.
fn refused(error: Box<pingora_core::Error>) -> UpstreamError {
    match error.etype() {
        pingora_core::ErrorType::ConnectTimedout => UpstreamError::ConnectTimeout,
        // In the system's words, as Envoy has them.
        pingora_core::ErrorType::ConnectRefused => {
            UpstreamError::Connect("delayed connect error: Connection refused".to_owned())
        }
        pingora_core::ErrorType::ConnectNoRoute => {
            UpstreamError::Connect("immediate connect error: Network is unreachable".to_owned())
        }
        _ => UpstreamError::Connect(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_taken_in_turn() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, endpoints: [127.0.0.1:1] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let spec = ClusterSpec {
            name: "c".to_owned(),
            config: config.clusters[0].clone(),
            endpoints: EndpointsSpec::Addresses(vec![address(1), address(2), address(3)]),
            connect_timeout: Duration::from_secs(1),
            protocol: UpstreamProtocol::Http1,
            idle_timeout: None,
            buffer_limit: 1,
            codec: CodecOptions::default(),
            retries: Arc::default(),
        };
        let cluster = Cluster::new(&spec, 1, ClusterMetrics::new("c"));
        let ports: Vec<u16> = (0..4)
            .filter_map(|_| cluster.pick())
            .map(|endpoint| endpoint.address.port())
            .collect();
        assert_eq!(ports, [2, 3, 1, 2]);
        let tried = [address(3), address(1)];
        let other = |tried: &[_]| cluster.pick_besides(tried).map(|e| e.address.port());
        assert_eq!(other(&tried), Some(2));
        assert!(other(&[address(1), address(2), address(3)]).is_some());
    }
}
