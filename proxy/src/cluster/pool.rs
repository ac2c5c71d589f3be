//! [`Pool`]: a worker's connections to endpoints.

use std::rc::Rc;

use pingora_core::connectors::TransportConnector;
use tokio::time::timeout;
use weir_config::{Address, UpstreamProtocol};

use super::breakers::Permit;
use super::counted::OpenConnection;
use super::idle::Idle;
use super::lane::Lane;
use super::{Account, Cluster, Endpoint};
use crate::http::{AnyUpstream, Connection, H1Upstream, H2Upstream, RawUpstream, UpstreamError};
use crate::limits::CONNECTIONS_INTERVAL;
use crate::stream::Protocol;
use crate::telemetry::PendingRequest;
use crate::tls::Purpose;

/// A worker's connections to endpoints.
pub(crate) struct Pool {
    connector: TransportConnector,
    /// Connections that wait for an exchange.
    idle: Idle,
    /// Those that are for one client each. They are of no use to anybody else when it has
    /// gone, and must not take the place of those that are.
    idle_of_clients: Idle,
}

/// A connection for one exchange.
pub(crate) struct Lease {
    pub(crate) upstream: AnyUpstream,
    /// Whether it carried an exchange before: the endpoint may have closed it
    /// in the meantime.
    pub(crate) reused: bool,
    pub(crate) local: Option<Address>,
    pub(crate) place: Place,
}

/// A request's place among those that there may be. Goes when the connection has
/// been given back.
pub(crate) struct Place {
    _permit: Permit,
    lane: Rc<Lane>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.traffic.freed.notify_one();
    }
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            connector: TransportConnector::new(None),
            idle: Idle::new(),
            idle_of_clients: Idle::new(),
        }
    }

    /// A place for one exchange of `account` with an endpoint, whose client speaks
    /// `client`: on a connection that
    /// there is, or on a new one, which it certainly is when `fresh`.
    pub(crate) async fn connect(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        (account, client): (Account, Protocol),
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let lane = endpoint.lane(account);
        let is_http2 = match cluster.spec.protocol {
            UpstreamProtocol::Http1 => false,
            UpstreamProtocol::Http2 => true,
            UpstreamProtocol::Downstream => client == Protocol::Http2,
        };
        if is_http2 {
            self.connect_h2(cluster, endpoint, lane, fresh).await
        } else {
            self.connect_h1(cluster, endpoint, lane, fresh).await
        }
    }

    async fn connect_h1(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        lane: Rc<Lane>,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let idle = if fresh { None } else { self.idle(&lane) };
        let (mut connection, reused) = match idle {
            Some(connection) => (connection, true),
            None => {
                let _waiting = cluster.waiting()?;
                let reuse = || self.idle(&lane);
                match open_or(cluster, &lane, reuse).await {
                    Found::Freed(connection) => (connection, true),
                    Found::Permit(permit) => {
                        let opened = self.open(cluster, endpoint, &lane, permit, Purpose::Http1);
                        (opened.await?, false)
                    }
                }
            }
        };
        let place = match cluster.place(&lane) {
            Ok(place) => place,
            Err(error) => {
                self.keep(endpoint, &lane, connection);
                lane.traffic.freed.notify_one();
                return Err(error);
            }
        };
        connection.begin_exchange();
        let local = connection.local_address();
        let upstream = H1Upstream::new(connection, Rc::clone(&cluster.codec));
        Ok(Lease {
            upstream: AnyUpstream::H1(Box::new(upstream)),
            reused,
            local,
            place,
        })
    }

    async fn connect_h2(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        lane: Rc<Lane>,
        fresh: bool,
    ) -> Result<Lease, UpstreamError> {
        let lease = |upstream: H2Upstream, reused, local| {
            Ok(Lease {
                upstream: AnyUpstream::H2(Box::new(upstream)),
                reused,
                local,
                place: cluster.place(&lane)?,
            })
        };
        let shared = if fresh {
            lane.http2.stream_after_refusal(&cluster.codec)
        } else {
            lane.http2.stream(&cluster.codec)
        };
        if let Some(upstream) = shared {
            return lease(upstream, !fresh, None);
        }
        let _waiting = cluster.waiting()?;
        let reuse = || lane.http2.stream(&cluster.codec);
        // Who waits for a connection that is being made shares it, mostly.
        let permit = if lane.http2.is_connecting() {
            None
        } else {
            match open_or(cluster, &lane, reuse).await {
                Found::Freed(upstream) => {
                    // Where there is room for one stream, there is mostly for another.
                    lane.traffic.freed.notify_one();
                    return lease(upstream, !fresh, None);
                }
                Found::Permit(permit) => Some(permit),
            }
        };
        let mut local = None;
        let make = async || {
            let permit = permit.or_else(|| cluster.breakers.connections.acquire());
            let permit = permit.ok_or_else(|| {
                cluster.metrics.pending_overflow();
                UpstreamError::Overflow
            })?;
            let opened = self.open(cluster, endpoint, &lane, permit, Purpose::Http2);
            let connection = opened.await?;
            local = connection.local_address();
            Ok(connection)
        };
        let stream = lane.http2.fresh_stream(&cluster.codec, make).await;
        let (upstream, reused) = stream?;
        // Who asked for a fresh one has tried before, and does not try again.
        lease(upstream, reused && !fresh, local)
    }

    /// A new connection for what is in a tunnel.
    pub(crate) async fn connect_raw(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        account: Account,
    ) -> Result<Lease, UpstreamError> {
        let lane = endpoint.lane(account);
        let permit = cluster.breakers.connections.acquire();
        let permit = permit.ok_or_else(|| {
            cluster.metrics.connections_overflow();
            UpstreamError::Overflow
        })?;
        let place = cluster.place(&lane)?;
        let opened = self.open(cluster, endpoint, &lane, permit, Purpose::Raw);
        let connection = opened.await?;
        let local = connection.local_address();
        let upstream = RawUpstream::new(connection);
        Ok(Lease {
            upstream: AnyUpstream::Raw(Box::new(upstream)),
            reused: false,
            local,
            place,
        })
    }

    /// Where connections of a lane wait.
    fn waiting(&self, lane: &Lane) -> &Idle {
        if lane.account.is_of_client() {
            &self.idle_of_clients
        } else {
            &self.idle
        }
    }

    /// A connection that waits for an exchange.
    fn idle(&self, lane: &Lane) -> Option<Connection> {
        self.waiting(lane).take(lane.key)
    }

    /// Makes a connection.
    async fn open(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        lane: &Lane,
        permit: Permit,
        purpose: Purpose,
    ) -> Result<Connection, UpstreamError> {
        let _opening = Opening::new(lane);
        let peer = endpoint.peer.as_ref();
        let Some(peer) = peer.filter(|_| lane.account.source.is_none()) else {
            let dialled = cluster.dialled(endpoint, lane, permit, purpose).await;
            let (mut connection, open) = dialled?;
            connection.hold(Box::new(open));
            return Ok(connection);
        };
        match self.connector.new_stream(peer).await {
            Ok(stream) => {
                let open = cluster.opened(endpoint, lane, permit);
                let mut connection = Connection::from(stream);
                connection.hold(Box::new(open));
                Ok(connection)
            }
            Err(error) => {
                let error = refused(error);
                cluster.failed_to_connect(endpoint, &error);
                Err(error)
            }
        }
    }

    /// Takes a connection back for the next exchange like the one at `place`, if it can
    /// carry one.
    pub(crate) fn release(&self, endpoint: &Endpoint, place: &Place, upstream: H1Upstream) {
        if let Some(connection) = upstream.reuse() {
            if endpoint
                .requests_max
                .is_some_and(|max| connection.exchanges() >= max)
            {
                return;
            }
            self.keep(endpoint, &place.lane, connection);
        }
    }

    fn keep(&self, endpoint: &Endpoint, lane: &Lane, connection: Connection) {
        let idle_timeout = endpoint.spec.idle_timeout;
        self.waiting(lane).keep(lane.key, connection, idle_timeout);
    }
}

/// A connection to an endpoint is being made, as long as this lives.
struct Opening<'l>(&'l Lane);

impl<'l> Opening<'l> {
    fn new(lane: &'l Lane) -> Self {
        lane.opening.set(lane.opening.get() + 1);
        Self(lane)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let Self(lane) = self;
        lane.opening.set(lane.opening.get() - 1);
        // Perhaps it is not there after all.
        lane.traffic.freed.notify_one();
    }
}

/// What there is for a request that found no connection.
enum Found<T> {
    /// A new one may be made.
    Permit(Permit),
    /// One has become free meanwhile.
    Freed(T),
}

/// Leave to make a connection or, as long as there are as many as there may be, one
/// that becomes free: `reuse` looks for it. As in Envoy, a lane without any gets one in
/// any case.
async fn open_or<T>(cluster: &Cluster, lane: &Lane, reuse: impl Fn() -> Option<T>) -> Found<T> {
    let connections = &cluster.breakers.connections;
    if let Some(permit) = connections.acquire() {
        return Found::Permit(permit);
    }
    cluster.metrics.connections_overflow();
    loop {
        let freed = lane.traffic.freed.notified();
        if lane.is_empty() {
            return Found::Permit(connections.take());
        }
        // What ends on another worker, or at another endpoint, wakes nobody here.
        let _ = timeout(CONNECTIONS_INTERVAL, freed).await;
        if let Some(found) = reuse() {
            return Found::Freed(found);
        }
        if let Some(permit) = connections.acquire() {
            return Found::Permit(permit);
        }
    }
}

impl Cluster {
    /// A connection that is not for HTTP.
    pub(crate) async fn dial(
        &self,
        endpoint: &Endpoint,
        account: Account,
    ) -> Result<(Connection, OpenConnection), UpstreamError> {
        let Some(permit) = self.breakers.connections.acquire() else {
            self.metrics.connections_overflow();
            return Err(UpstreamError::Overflow);
        };
        let lane = endpoint.lane(account);
        self.dialled(endpoint, &lane, permit, Purpose::Raw).await
    }

    async fn dialled(
        &self,
        endpoint: &Endpoint,
        lane: &Lane,
        permit: Permit,
        purpose: Purpose,
    ) -> Result<(Connection, OpenConnection), UpstreamError> {
        match endpoint.dial(self, &lane.account, purpose).await {
            Ok(connection) => Ok((connection, self.opened(endpoint, lane, permit))),
            Err(error) => {
                self.failed_to_connect(endpoint, &error);
                Err(error)
            }
        }
    }

    /// A request waits for a connection as long as this lives, if it may.
    fn waiting(&self) -> Result<Waiting, UpstreamError> {
        let Some(permit) = self.breakers.pending.acquire() else {
            self.metrics.pending_overflow();
            return Err(UpstreamError::Overflow);
        };
        Ok(Waiting {
            _permit: permit,
            _metrics: self.metrics.pending(),
        })
    }

    /// A place for a request, if there is one.
    fn place(&self, lane: &Rc<Lane>) -> Result<Place, UpstreamError> {
        let Some(permit) = self.breakers.requests.acquire() else {
            self.metrics.pending_overflow();
            return Err(UpstreamError::Overflow);
        };
        Ok(Place {
            _permit: permit,
            lane: Rc::clone(lane),
        })
    }

    fn opened(&self, endpoint: &Endpoint, lane: &Lane, permit: Permit) -> OpenConnection {
        OpenConnection::new(permit, &endpoint.cells, &self.metrics, &lane.traffic)
    }

    fn failed_to_connect(&self, endpoint: &Endpoint, error: &UpstreamError) {
        let in_time = !matches!(error, UpstreamError::ConnectTimeout);
        self.metrics.connect_failure(!in_time);
        endpoint.cells.connect_failures.add(1);
    }
}

/// A request that waits for a connection.
struct Waiting {
    _permit: Permit,
    _metrics: PendingRequest,
}

/// In the system's words, as Envoy has them.
pub(super) const UNREACHABLE: &str = "immediate connect error: Network is unreachable";
pub(super) const REFUSED: &str = "delayed connect error: Connection refused";

#[allow(clippy::needless_pass_by_value, clippy::boxed_local)] // For `map_err`.
fn refused(error: Box<pingora_core::Error>) -> UpstreamError {
    match error.etype() {
        pingora_core::ErrorType::ConnectTimedout => UpstreamError::ConnectTimeout,
        pingora_core::ErrorType::ConnectRefused => UpstreamError::Connect(REFUSED.to_owned()),
        pingora_core::ErrorType::ConnectNoRoute => UpstreamError::Connect(UNREACHABLE.to_owned()),
        _ => UpstreamError::Connect(error.to_string()),
    }
}
