//! Clusters: the endpoints behind a name, whether they are healthy, which of them a
//! request goes to, and a worker's connections to them.
//!
//! What the process knows of a cluster is in its [`ClusterSpec`], which is there as
//! long as the cluster's configuration is the same. Tasks off the workers look names
//! up, check endpoints and eject outliers; what comes of it reaches the workers as a
//! [`Snapshot`]. A [`Cluster`] is a worker's own: which endpoint comes next, and the
//! connections to each.

mod account;
mod balancer;
mod breakers;
mod cluster_tls;
mod control;
mod counted;
mod dial;
mod dns;
mod eds;
mod hash_table;
mod health;
mod idle;
mod lane;
mod member;
mod members;
mod original_dst;
mod outlier;
mod pool;
mod priorities;
mod request;
mod scheduler;
mod spec;
#[cfg(test)]
mod tests;
mod tls;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_core::upstreams::peer::{BasicPeer, HttpPeer};
use tokio::sync::watch;
use weir_config::Address;

pub(crate) use self::account::{Account, Source};
pub(crate) use self::balancer::PickContext;
use self::balancer::{Balancer, Policy};
pub(crate) use self::breakers::Permit as RetryPermit;
use self::breakers::{Breakers, Share};
pub(crate) use self::cluster_tls::ClusterTls;
pub(crate) use self::control::start as start_clusters;
pub(crate) use self::counted::OpenConnection;
pub(crate) use self::hash_table::{hash, hash_from};
use self::lane::{Lane, Lanes};
pub(crate) use self::member::{Flag, Member};
use self::members::Snapshot;
use self::original_dst::OriginalDestinations;
pub(crate) use self::pool::{Lease, Place, Pool};
pub(crate) use self::request::EndpointRequest;
pub(crate) use self::spec::ClusterSpec;
use self::tls::EndpointTls;
use crate::http::CodecOptions;
use crate::proxy_protocol::Originator;
use crate::telemetry::{ClusterMetrics, EndpointCells};

/// The clusters that are served.
pub(crate) type Clusters = Arc<ArcSwap<Vec<Arc<ClusterSpec>>>>;

/// A cluster on one worker.
pub(crate) struct Cluster {
    pub(crate) name: Rc<str>,
    /// Bytes that may wait on one connection.
    pub(crate) buffer_limit: usize,
    spec: Arc<ClusterSpec>,
    /// What tells of other endpoints, or of other health.
    changes: RefCell<watch::Receiver<Arc<Snapshot>>>,
    balancer: RefCell<Balancer>,
    /// In place of what it knows.
    original: Option<OriginalDestinations>,
    turn: Cell<usize>,
    codec: Rc<CodecOptions>,
    breakers: WorkerBreakers,
    pub(crate) metrics: Arc<ClusterMetrics>,
}

/// A worker's part in a cluster's limits.
struct WorkerBreakers {
    connections: Arc<Share>,
    pending: Arc<Share>,
    requests: Arc<Share>,
    retries: Arc<Share>,
}

/// One endpoint of a cluster.
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// The name that the address was found under.
    pub(crate) host: Option<Arc<str>>,
    spec: Arc<ClusterSpec>,
    pub(crate) member: Arc<Member>,
    cells: Arc<EndpointCells>,
    /// Requests that one connection carries.
    requests_max: Option<u32>,
    /// For pingora to connect to, where nothing else comes first on a connection, and it
    /// may be made from any address.
    peer: Option<BasicPeer>,
    tls: Option<EndpointTls>,
    lane: Rc<Lane>,
    /// Those of clients, if it is to know who they are.
    lanes: RefCell<Lanes>,
}

impl Endpoint {
    /// What is said of it, if anything is.
    pub(crate) fn metadata(&self) -> Option<Arc<weir_config::Metadata>> {
        self.member.about.metadata.clone()
    }

    /// The connections that serve requests of `account`.
    fn lane(&self, mut account: Account) -> Rc<Lane> {
        if self.spec.config.proxy_protocol.is_none() {
            account.originator = Originator::Proxy;
        }
        if self.address.inet().is_none() {
            account.source = None;
        }
        if account == Account::OWN {
            return Rc::clone(&self.lane);
        }
        self.lanes.borrow_mut().get(account, &self.lane)
    }

    fn weight(&self) -> u32 {
        self.member.about.weight
    }
}

impl Cluster {
    /// What is said of it.
    pub(crate) fn metadata(&self) -> &weir_config::Metadata {
        &self.spec.config.metadata
    }

    /// `worker` is the worker's number: workers start their rounds at different
    /// endpoints.
    pub(crate) fn new(
        spec: &Arc<ClusterSpec>,
        worker: usize,
        metrics: Arc<ClusterMetrics>,
    ) -> Self {
        if !spec.tls.is_plain() {
            metrics.tls.speak();
        }
        let mut changes = spec.members.subscribe();
        changes.mark_changed();
        let policy = Policy {
            policy: spec.config.lb_policy,
            least_request: spec.config.least_request,
            slow_start: spec.config.slow_start,
        };
        let Breakers {
            connections,
            pending,
            requests,
            retries,
            ..
        } = &spec.breakers;
        Self {
            name: spec.name.as_str().into(),
            buffer_limit: spec.buffer_limit,
            changes: RefCell::new(changes),
            balancer: RefCell::new(Balancer::new(policy, Arc::default(), Vec::new())),
            original: spec
                .config
                .original_dst
                .as_ref()
                .map(|_| OriginalDestinations::new()),
            turn: Cell::new(worker),
            codec: Rc::new(spec.codec.clone()),
            breakers: WorkerBreakers {
                connections: Share::of(connections),
                pending: Share::of(pending),
                requests: Share::of(requests),
                retries: Share::of(retries),
            },
            metrics,
            spec: Arc::clone(spec),
        }
    }

    fn endpoint(&self, member: &Arc<Member>) -> Rc<Endpoint> {
        let address = member.about.address.clone();
        let host = member.about.host.clone();
        let tls = self.spec.tls.of(member.about.metadata.as_deref());
        let tls = tls.map(|tls| EndpointTls::new(tls, host.as_deref(), &address));
        let config = &self.spec.config;
        let is_plain = tls.is_none()
            && config.proxy_protocol.is_none()
            && config.bind == weir_config::Bind::default();
        let peer = address.inet().filter(|_| is_plain).map(|address| {
            let mut peer = BasicPeer::new(&address.to_string());
            peer.options.connection_timeout = Some(self.spec.connect_timeout);
            peer.options
                .tcp_keepalive
                .clone_from(&self.spec.tcp_keepalive);
            peer
        });
        // By address, by name and way of encryption, and by cluster, with all its settings.
        let name = tls.as_ref().map(EndpointTls::pool_key);
        let mut name = name.unwrap_or_default();
        let at = address.inet().unwrap_or_else(|| {
            name.push_str(&address.written());
            SocketAddr::from(([0, 0, 0, 0], 0))
        });
        let mut pooled = HttpPeer::new(at, false, name);
        pooled.group_key = self.spec.id;
        Rc::new(Endpoint {
            tls,
            address,
            host,
            spec: Arc::clone(&self.spec),
            cells: member.cells(),
            member: Arc::clone(member),
            requests_max: self.codec.requests_max,
            peer,
            lane: Lane::new(Account::OWN, pooled),
            lanes: RefCell::default(),
        })
    }

    /// The endpoint that a request goes to; `None` when there is none.
    pub(crate) fn pick(&self, context: &PickContext<'_>) -> Option<Rc<Endpoint>> {
        if let Some(original) = &self.original {
            return Some(original.pick(self, context.destination?));
        }
        self.refresh();
        let choice = self.balancer.borrow().pick(context, &self.turn)?;
        if choice.is_panic {
            self.metrics.panic();
        }
        Some(choice.endpoint)
    }

    /// Counts a request to an endpoint for as long as the guard lives.
    pub(crate) fn request(&self, endpoint: &Rc<Endpoint>) -> EndpointRequest {
        EndpointRequest::new(self.metrics.request(), endpoint)
    }

    /// Begins a retry, if the cluster takes one more.
    pub(crate) fn begin_retry(&self) -> Option<RetryPermit> {
        self.spec.breakers.begin_retry(&self.breakers.retries)
    }

    /// Number of endpoints there are.
    pub(crate) fn size(&self) -> usize {
        self.refresh();
        self.balancer.borrow().endpoints.len()
    }

    /// Takes over what has become of the endpoints.
    fn refresh(&self) {
        let mut changes = self.changes.borrow_mut();
        if !changes.has_changed().unwrap_or(false) {
            return;
        }
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let mut balancer = self.balancer.borrow_mut();
        // An endpoint that stays keeps its connections.
        let known = balancer.endpoints.iter();
        let known: HashMap<_, _> = known.map(|e| (Arc::as_ptr(&e.member), e)).collect();
        let endpoint = |member: &Arc<Member>| {
            let known = known.get(&Arc::as_ptr(member));
            known.map_or_else(|| self.endpoint(member), |known| Rc::clone(known))
        };
        let endpoints = snapshot.members.iter().map(endpoint).collect();
        *balancer = balancer.renewed(snapshot, endpoints);
    }
}
