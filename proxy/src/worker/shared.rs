//! What the connections and streams of a worker share: the worker's own life, and
//! what belongs to one generation of the configuration on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use weir_abi::HeaderMap;
use weir_config::{Address, Callouts, HttpOptions, OriginalSrc, ProxyProtocol};

use crate::callout::ClusterNames;
use crate::cluster::{Cluster, Pool};
use crate::connection_limit::ConnectionLimit;
use crate::filter::Plugin;
use crate::gate::Gate;
use crate::generation::{OriginalDst, Terms};
use crate::http::CodecOptions;
use crate::istio::Istio;
use crate::listener::{ChainMatcher, Inspection};
use crate::rollout::Link;
use crate::route::RouteTable;
use crate::socket::SocketListener;
use crate::stream::{ConnectionInfo, Facts, FilteredStream, LogView};
use crate::tcp::TcpProxy;
use crate::telemetry::{AccessLog, GenerationCells, ListenerMetrics, WorkerMetrics};
use crate::tls::DownstreamTls;
use crate::trace::Tracer;

/// A worker's own life, whatever it serves.
pub(crate) struct Life {
    pub(super) draining: watch::Receiver<bool>,
    /// Another process accepts connections in place of this one.
    pub(super) replaced: watch::Receiver<bool>,
    /// The first descriptor that is not for a client's connection.
    pub(super) first_kept: Option<RawFd>,
    /// Connections and streams.
    pub(super) alive: Cell<usize>,
    pub(super) ended: Notify,
}

/// What all streams of one generation on one worker use.
pub(crate) struct WorkerShared {
    pub(crate) clusters: Vec<Rc<Cluster>>,
    /// Where each stands among `clusters`.
    pub(crate) names: Arc<ClusterNames>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) callouts: Callouts,
    /// Decides which requests get spans, if any do.
    pub(crate) tracer: Option<Arc<Tracer>>,
    pub(super) life: Rc<Life>,
    /// The generation's numbers, of this worker.
    pub(super) cells: Arc<GenerationCells>,
    /// Says that its streams have had long enough.
    pub(super) over: watch::Sender<bool>,
    /// The date header of the second for which it was made.
    pub(super) date: RefCell<(u64, Bytes)>,
}

impl WorkerShared {
    /// Whether the process is on its way out.
    pub(crate) fn is_draining(&self) -> bool {
        *self.life.draining.borrow()
    }

    /// The time, as the `date` header has it.
    pub(crate) fn date(&self) -> Bytes {
        let now = SystemTime::now();
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let second = since.unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, httpdate::fmt_http_date(now).into());
        }
        date.1.clone()
    }

    /// Whether the streams of the generation have had long enough.
    pub(super) fn has_ended(&self) -> bool {
        *self.over.borrow()
    }

    /// Returns when the streams of the generation have had long enough.
    pub(super) async fn is_over(&self) {
        let mut over = self.over.subscribe();
        // It is there as long as anybody waits.
        let _ = over.wait_for(|over| *over).await;
    }
}

/// What a worker serves now, and what it is about to.
pub(crate) struct Latest {
    serving: RefCell<Rc<WorkerShared>>,
    coming: RefCell<Option<Rc<WorkerShared>>>,
}

impl Latest {
    pub(super) fn new(shared: Rc<WorkerShared>) -> Rc<Self> {
        Rc::new(Self {
            serving: RefCell::new(shared),
            coming: RefCell::default(),
        })
    }

    /// What it serves now.
    pub(crate) fn serving(&self) -> Rc<WorkerShared> {
        Rc::clone(&self.serving.borrow())
    }

    /// What it is about to serve, if it is.
    pub(super) fn set_coming(&self, shared: Option<Rc<WorkerShared>>) {
        self.coming.replace(shared);
    }

    /// It serves this from now on.
    pub(super) fn set_serving(&self, shared: Rc<WorkerShared>) {
        self.coming.take();
        self.serving.replace(shared);
    }

    /// The cluster of that name, as it is now; one that is only to come will do for
    /// filters that begin before it does.
    pub(crate) fn cluster(&self, name: &[u8]) -> Option<(Rc<WorkerShared>, usize)> {
        let find = |shared: &Rc<WorkerShared>| Some((Rc::clone(shared), shared.names.find(name)?));
        let serving = find(&self.serving.borrow());
        serving.or_else(|| self.coming.borrow().as_ref().and_then(find))
    }
}

/// Filters, in their order.
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    /// Those of Weir's own between them.
    pub(crate) gates: Rc<[Gate]>,
}

impl Chain {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

/// A filter chain of a listener on one worker, as one generation has it.
pub(crate) struct WorkerListener {
    /// Its filters.
    pub(crate) chain: Chain,
    /// The chains of routes that do not have the listener's.
    pub(super) chains: Vec<Chain>,
    /// What connections of HTTP pass before they are served.
    pub(super) entry: Vec<Gate>,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) codec: Rc<CodecOptions>,
    pub(crate) http: Arc<HttpOptions>,
    /// Bytes that one filter may hold of a body.
    pub(crate) buffer_limit: usize,
    pub(crate) facts: Arc<Facts>,
    pub(super) tls: Option<Arc<DownstreamTls>>,
    pub(crate) tcp: Option<TcpProxy>,
    pub(crate) metrics: Arc<ListenerMetrics>,
    /// What it does for Istio, if it does.
    pub(crate) istio: Option<Rc<Istio>>,
    pub(super) access_log: Option<AccessLog>,
    /// Plugins that log every stream.
    pub(super) access_loggers: Vec<Plugin>,
    /// Whether its connections are to end: there is no such listener any more.
    pub(super) retired: watch::Receiver<bool>,
}

impl WorkerListener {
    /// Logs a complete stream wherever it is to be logged.
    pub(crate) fn log(&self, stream: &Rc<FilteredStream>) {
        if let Some(istio) = &self.istio {
            istio.complete(stream);
        }
        if let Some(log) = &self.access_log {
            log.write(stream);
        }
        for logger in &self.access_loggers {
            logger.log(Rc::new(LogView(Rc::clone(stream))));
        }
    }

    /// The filters for a request, by the route that it takes when it comes.
    pub(crate) fn chain_for(&self, request: &HeaderMap) -> &Chain {
        if self.chains.is_empty() {
            return &self.chain;
        }
        let route = self.routes.find(request);
        let chain = route.and_then(|route| self.chains.get(route.chain?));
        chain.unwrap_or(&self.chain)
    }

    /// Whether a connection of HTTP is served.
    pub(super) fn admits(&self, connection: &ConnectionInfo) -> bool {
        let admits = self.entry.iter().all(|gate| gate.admits(connection));
        if !admits {
            let (listener, peer) = (self.metrics.name(), &connection.direct);
            tracing::debug!(listener, %peer, "the connection is denied");
        }
        admits
    }

    /// Whether requests may say themselves how they are tried: Envoy's headers are not
    /// taken from those outside, or are meant to be.
    pub(crate) fn takes_envoy_headers(&self) -> bool {
        let http = &self.http;
        http.envoy_headers || http.strip_envoy_headers || http.use_remote_address
    }

    /// Whether its connections are to end when they have said what they were about
    /// to.
    pub(crate) fn is_retired(&self) -> bool {
        *self.retired.borrow()
    }
}

/// What serves the streams that begin now.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) listener: Rc<WorkerListener>,
    pub(super) shared: Rc<WorkerShared>,
}

/// A filter chain that stays while generations come and go; its connections look here
/// for what serves them.
pub(super) struct Slot {
    current: RefCell<Option<Served>>,
    pub(super) terms: Terms,
    pub(super) retired: watch::Sender<bool>,
}

impl Slot {
    pub(super) fn new(terms: &Terms) -> Rc<Self> {
        Rc::new(Self {
            current: RefCell::default(),
            terms: terms.clone(),
            retired: watch::Sender::new(false),
        })
    }

    /// What serves a stream that begins now; `None` before anything does.
    pub(super) fn current(&self) -> Option<Served> {
        self.current.borrow().clone()
    }

    pub(super) fn serve(&self, served: Served) {
        self.current.replace(Some(served));
    }

    /// Has its connections end.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
    }
}

/// How a listener takes connections, as one generation has it.
pub(super) struct Entrance {
    pub(super) metrics: Arc<ListenerMetrics>,
    pub(super) worker: Arc<WorkerMetrics>,
    pub(super) max_connections: Option<NonZeroUsize>,
    pub(super) connections: Arc<ConnectionLimit>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) inspection: Option<Inspection>,
    pub(super) original_dst: OriginalDst,
    pub(super) original_src: Option<OriginalSrc>,
    /// Where it is bound.
    pub(super) address: Address,
    /// Which of `slots` a connection is for.
    pub(super) matcher: Arc<ChainMatcher>,
    pub(super) slots: Vec<Rc<Slot>>,
    /// There is no such listener any more: the same in all its generations.
    pub(super) retired: Rc<watch::Sender<bool>>,
}

impl Entrance {
    /// Has its connections end.
    pub(super) fn retire(&self) {
        self.retired.send_replace(true);
        self.slots.iter().for_each(|slot| slot.retire());
    }
}

/// What accepts connections on one address.
pub(super) struct Acceptor {
    /// Where new connections come in.
    pub(super) entrance: RefCell<Rc<Entrance>>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) sockets: Vec<SocketListener>,
}

impl Acceptor {
    /// Where new connections come in now.
    pub(super) fn entrance(&self) -> Rc<Entrance> {
        Rc::clone(&self.entrance.borrow())
    }
}

/// The listeners of a worker by their addresses, for connections that were for one and
/// have come in by another. It stays while they end.
#[derive(Default)]
pub(super) struct Directory(RefCell<HashMap<Address, Rc<Entrance>>>);

impl Directory {
    pub(super) fn replace(&self, all: HashMap<Address, Rc<Entrance>>) {
        self.0.replace(all);
    }

    /// The listener with this address, or else with its port and any address.
    pub(super) fn find(&self, address: &Address) -> Option<Rc<Entrance>> {
        let any = |address: SocketAddr| {
            let ip: IpAddr = match address {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            Address::Ip(SocketAddr::new(ip, address.port()))
        };
        let all = self.0.borrow();
        let of_any = || all.get(&any(address.inet()?));
        all.get(address).or_else(of_any).cloned()
    }
}

/// Keeps the worker from ending: a connection, or a stream of one, is alive.
pub(super) struct Alive {
    life: Rc<Life>,
    /// Of a stream.
    generation: Option<Rc<WorkerShared>>,
}

impl Alive {
    pub(super) fn connection(life: &Rc<Life>) -> Self {
        life.alive.set(life.alive.get() + 1);
        Self {
            life: Rc::clone(life),
            generation: None,
        }
    }

    pub(super) fn stream(shared: &Rc<WorkerShared>) -> Self {
        shared.cells.stream_began();
        let mut alive = Self::connection(&shared.life);
        alive.generation = Some(Rc::clone(shared));
        alive
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(generation) = &self.generation {
            generation.cells.stream_ended();
        }
        let life = &self.life;
        life.alive.set(life.alive.get() - 1);
        life.ended.notify_one();
    }
}
