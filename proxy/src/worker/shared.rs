//! What the connections and streams of a worker share: the worker's own life, and
//! what belongs to one generation of the configuration on it.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use weir_abi::HeaderMap;
use weir_config::{Callouts, HttpOptions, ProxyProtocol};

use crate::callout::ClusterNames;
use crate::cluster::{Cluster, Pool};
use crate::connection_limit::ConnectionLimit;
use crate::filter::Plugin;
use crate::generation::ListenerSpec;
use crate::http::CodecOptions;
use crate::rollout::Link;
use crate::route::RouteTable;
use crate::socket::SocketListener;
use crate::stream::{Facts, FilteredStream, LogView};
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
    pub(crate) metrics: Arc<WorkerMetrics>,
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

/// A listener on one worker, as one generation has it.
pub(crate) struct WorkerListener {
    /// Its filters.
    pub(crate) chain: Vec<Link>,
    /// The chains of routes that do not have the listener's.
    pub(super) chains: Vec<Vec<Link>>,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) codec: Rc<CodecOptions>,
    pub(crate) http: Arc<HttpOptions>,
    /// Bytes that one filter may hold of a body.
    pub(crate) buffer_limit: usize,
    pub(crate) facts: Arc<Facts>,
    pub(super) tls: Option<Arc<DownstreamTls>>,
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    pub(super) max_connections: Option<NonZeroUsize>,
    pub(super) connections: Arc<ConnectionLimit>,
    pub(crate) tcp: Option<TcpProxy>,
    pub(crate) metrics: Arc<ListenerMetrics>,
    pub(super) access_log: Option<AccessLog>,
    /// Plugins that log every stream.
    pub(super) access_loggers: Vec<Plugin>,
    /// Whether its connections are to end: there is no such listener any more.
    pub(super) retired: watch::Receiver<bool>,
}

impl WorkerListener {
    /// Logs a complete stream wherever it is to be logged.
    pub(crate) fn log(&self, stream: &Rc<FilteredStream>) {
        if let Some(log) = &self.access_log {
            log.write(stream);
        }
        for logger in &self.access_loggers {
            logger.log(Rc::new(LogView(Rc::clone(stream))));
        }
    }

    /// The filters for a request, by the route that it takes when it comes.
    pub(crate) fn chain_for(&self, request: &HeaderMap) -> &[Link] {
        if self.chains.is_empty() {
            return &self.chain;
        }
        let route = self.routes.find(request);
        let chain = route.and_then(|route| self.chains.get(route.chain?));
        chain.unwrap_or(&self.chain)
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

/// A listener that stays while generations come and go; its connections look here
/// for what serves them.
pub(super) struct Slot {
    current: RefCell<Option<Served>>,
    pub(super) http: Arc<HttpOptions>,
    pub(super) is_tcp: bool,
    pub(super) tls: Option<Arc<DownstreamTls>>,
    pub(super) retired: watch::Sender<bool>,
}

impl Slot {
    pub(super) fn new(spec: &ListenerSpec) -> Rc<Self> {
        Rc::new(Self {
            current: RefCell::default(),
            http: Arc::clone(&spec.http),
            is_tcp: spec.tcp.is_some(),
            tls: spec.tls.clone(),
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

/// What accepts connections on one address.
pub(super) struct Acceptor {
    /// Where new connections belong.
    pub(super) slot: RefCell<Rc<Slot>>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) sockets: Vec<SocketListener>,
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
