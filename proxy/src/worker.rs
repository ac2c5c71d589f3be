//! Workers: one thread each, with its own runtime, VMs, connections and timers.
//! A connection and all its streams live and die on the worker that accepted
//! it; workers share nothing that they write.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;
use weir_config::{Callouts, Codec, HttpOptions};

use crate::cluster::{Cluster, ClusterSpec, Pool};
use crate::exchange::Exchange;
use crate::filter::{FilterVm, Plugin, StartError};
use crate::generation::{Generation, ListenerSpec};
use crate::http::{
    CodecOptions, Connection, Downstream, H1Downstream, H2Downstream, Next, accept_h2,
};
use crate::limits::{DRAIN_IDLE_GRACE, LISTEN_BACKLOG, VM_CARE_INTERVAL};
use crate::route::RouteTable;
use crate::stream::{ConnectionInfo, Facts, FilteredStream, LogView};
use crate::tcp::{self, TcpProxy};
use crate::telemetry::{AccessLog, ListenerMetrics, WorkerMetrics};

/// What a worker is started with.
pub(crate) struct WorkerSpec {
    pub(crate) number: usize,
    pub(crate) generation: Arc<Generation>,
    /// A bound socket for each listener of the generation.
    pub(crate) sockets: Vec<Socket>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Where each listener of the generation logs.
    pub(crate) access_logs: Vec<Option<AccessLog>>,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("a filter does not start: {0}")]
    Filter(#[from] StartError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What all connections of a worker use.
pub(crate) struct WorkerShared {
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) pool: Pool,
    pub(crate) callouts: Callouts,
    pub(crate) metrics: Arc<WorkerMetrics>,
    draining: watch::Receiver<bool>,
    /// Connections and streams.
    alive: Cell<usize>,
    ended: Notify,
    /// The date header of the second for which it was made.
    date: RefCell<(u64, Bytes)>,
}

impl WorkerShared {
    /// Whether the process is on its way out.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
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
}

/// A listener on one worker.
pub(crate) struct WorkerListener {
    pub(crate) plugins: Vec<Rc<Plugin>>,
    pub(crate) routes: Arc<RouteTable>,
    pub(crate) codec: Rc<CodecOptions>,
    pub(crate) http: Arc<HttpOptions>,
    /// Bytes that one filter may hold of a body.
    pub(crate) buffer_limit: usize,
    pub(crate) facts: Arc<Facts>,
    pub(crate) tcp: Option<TcpProxy>,
    pub(crate) metrics: Arc<ListenerMetrics>,
    access_log: Option<AccessLog>,
    /// Plugins that log every stream.
    access_loggers: Vec<Plugin>,
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
}

/// Runs a worker on this thread until it has drained. `report` is called twice:
/// once every filter runs, and, after `open` says so, once connections are
/// accepted; or once with the error that ended it.
pub(crate) fn run(
    spec: WorkerSpec,
    draining: watch::Receiver<bool>,
    open: watch::Receiver<bool>,
    report: impl Fn(Result<(), WorkerError>),
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return report(Err(error.into())),
    };
    LocalSet::new().block_on(&runtime, async {
        match Worker::start(spec, draining) {
            Ok(worker) => {
                report(Ok(()));
                worker.serve(open, report).await;
            }
            Err(error) => report(Err(error)),
        }
    });
}

struct Worker {
    shared: Rc<WorkerShared>,
    vms: Rc<[Rc<FilterVm>]>,
    listeners: Vec<(Socket, Rc<WorkerListener>)>,
}

impl Worker {
    fn start(spec: WorkerSpec, draining: watch::Receiver<bool>) -> Result<Self, WorkerError> {
        let generation = &spec.generation;
        let cluster = |c: &ClusterSpec| Cluster::new(c, spec.number, spec.metrics.cluster(&c.name));
        let shared = Rc::new(WorkerShared {
            clusters: generation.clusters.iter().map(cluster).collect(),
            pool: Pool::new(),
            callouts: generation.callouts,
            metrics: Arc::clone(&spec.metrics),
            draining,
            alive: Cell::new(0),
            ended: Notify::new(),
            date: RefCell::default(),
        });
        let vms = generation
            .vms
            .iter()
            .map(|vm| {
                let metrics = Rc::new(spec.metrics.vm(vm));
                FilterVm::start(Arc::clone(vm), metrics, Some(Rc::clone(&shared))).map(Rc::new)
            })
            .collect::<Result<Rc<[_]>, _>>()?;
        let listener = |socket: &Socket, listener: &ListenerSpec, access_log| {
            let bound = socket.local_addr().ok().and_then(|a| a.as_socket());
            let address = bound.unwrap_or(listener.address);
            let plugin = |place: &(usize, usize)| Plugin::new(Rc::clone(&vms[place.0]), place.1);
            Rc::new(WorkerListener {
                plugins: listener
                    .filters
                    .iter()
                    .map(|p| Rc::new(plugin(p)))
                    .collect(),
                access_loggers: listener.access_loggers.iter().map(plugin).collect(),
                routes: Arc::clone(&listener.routes),
                tcp: listener.tcp,
                metrics: spec
                    .metrics
                    .listener(&listener.name, address, listener.tcp.is_some()),
                access_log,
                codec: Rc::new(CodecOptions::of_listener(&listener.http)),
                http: Arc::clone(&listener.http),
                buffer_limit: listener.buffer_limit,
                facts: Arc::clone(&listener.facts),
            })
        };
        let listeners = generation.listeners.iter().zip(spec.access_logs);
        let listeners = spec.sockets.into_iter().zip(listeners);
        let listeners = listeners.map(|(socket, (spec, access_log))| {
            let listener = listener(&socket, spec, access_log);
            (socket, listener)
        });
        let listeners = listeners.collect();
        Ok(Self {
            shared,
            vms,
            listeners,
        })
    }

    /// Serves until the process drains and all connections are gone.
    async fn serve(
        self,
        mut open: watch::Receiver<bool>,
        report: impl Fn(Result<(), WorkerError>),
    ) {
        // An error means that the server is gone.
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let mut accepting = Vec::new();
        for (socket, listener) in self.listeners {
            match listen(socket) {
                Ok(tcp) => {
                    let accept = accept_loop(tcp, listener, Rc::clone(&self.shared));
                    accepting.push(tokio::task::spawn_local(accept));
                }
                Err(error) => return report(Err(error.into())),
            }
        }
        report(Ok(()));
        self.vms.iter().for_each(FilterVm::prepare_spare);
        let keeper = tokio::task::spawn_local(look_after(Rc::clone(&self.vms)));
        for task in accepting {
            if let Err(error) = task.await {
                tracing::error!("a listener ended: {error}");
            }
        }
        while self.shared.alive.get() > 0 {
            self.shared.ended.notified().await;
        }
        keeper.abort();
        for vm in self.vms.iter() {
            vm.stop();
        }
    }
}

/// Looks after the worker's VMs, now and then.
async fn look_after(vms: Rc<[Rc<FilterVm>]>) {
    loop {
        vms.iter().for_each(FilterVm::look_after);
        sleep(VM_CARE_INTERVAL).await;
    }
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until the process drains.
async fn accept_loop(tcp: TcpListener, listener: Rc<WorkerListener>, shared: Rc<WorkerShared>) {
    let mut draining = shared.draining.clone();
    loop {
        tokio::select! {
            biased;
            accepted = tcp.accept() => match accepted {
                Ok((connection, peer)) => spawn_connection(connection, peer, &listener, &shared),
                Err(error) => {
                    // Out of descriptors, mostly: closing connections will help.
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(crate::limits::ACCEPT_RETRY).await;
                }
            },
            // Connections that the kernel has accepted already come first.
            _ = draining.wait_for(|draining| *draining) => return,
        }
    }
}

fn spawn_connection(
    connection: TcpStream,
    peer: SocketAddr,
    listener: &Rc<WorkerListener>,
    shared: &Rc<WorkerShared>,
) {
    let Ok(local) = connection.local_addr() else {
        return;
    };
    let info = ConnectionInfo {
        id: shared.metrics.next_connection_id(),
        peer,
        local,
        filter_state: Rc::default(),
    };
    let guard = (listener.metrics.connection(), Alive::new(shared));
    let (listener, shared) = (Rc::clone(listener), Rc::clone(shared));
    tokio::task::spawn_local(async move {
        match listener.tcp {
            Some(proxy) => tcp::serve(connection, info, proxy, &listener, &shared).await,
            None => serve_connection(connection, info, &listener, &shared).await,
        }
        drop(guard);
    });
}

/// Keeps the worker from ending: a connection, or a stream of one, is alive.
struct Alive(Rc<WorkerShared>);

impl Alive {
    fn new(shared: &Rc<WorkerShared>) -> Self {
        shared.alive.set(shared.alive.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.alive.set(shared.alive.get() - 1);
        shared.ended.notify_one();
    }
}

/// Serves one exchange after the other on a client's connection.
async fn serve_connection(
    connection: TcpStream,
    info: ConnectionInfo,
    listener: &Rc<WorkerListener>,
    shared: &Rc<WorkerShared>,
) {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    let http = &listener.http;
    if http.codec == Codec::Http2 {
        return serve_http2(connection.into(), info, listener, shared).await;
    }
    let mut downstream = H1Downstream::new(
        connection.into(),
        Rc::clone(&listener.codec),
        http.codec == Codec::Auto,
    );
    loop {
        let readable = tokio::select! {
            readable = downstream.readable() => readable,
            () = idle_while_draining(shared) => false,
            () = passed(http.idle_timeout) => false,
        };
        if !readable {
            return;
        }
        let next = tokio::select! {
            next = downstream.read_request() => next,
            () = passed(http.request_headers_timeout.or(http.idle_timeout)) => {
                downstream.time_out()
            }
        };
        match next {
            Next::Closed => return,
            Next::Http2 => {
                return serve_http2(downstream.into_connection(), info, listener, shared).await;
            }
            next => serve_exchange(&mut downstream, next, info.clone(), listener, shared).await,
        }
        if !downstream.is_reusable() {
            let patience = http.delayed_close_timeout.unwrap_or_default();
            return downstream.close(patience).await;
        }
    }
}

/// Returns when `limit` is over; without a limit, never.
async fn passed(limit: Option<Duration>) {
    match limit {
        Some(limit) => sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Serves what came on a connection or stream.
async fn serve_exchange<D: Downstream>(
    downstream: &mut D,
    next: Next,
    info: ConnectionInfo,
    listener: &WorkerListener,
    shared: &Rc<WorkerShared>,
) {
    match next {
        Next::Request(mut head, mut expects_continue) => {
            if expects_continue && listener.http.proxy_100_continue {
                head.headers.add("expect", "100-continue");
                expects_continue = false;
            }
            let exchange = Exchange::new(downstream, shared, listener, info, head);
            exchange.run(expects_continue).await;
        }
        Next::Rejected(error, head) => {
            let exchange = Exchange::new(downstream, shared, listener, info, head);
            exchange.reject(&error).await;
        }
        Next::Http2 | Next::Closed => {}
    }
}

/// Serves the streams of a client's HTTP/2 connection, each by a task of its own.
async fn serve_http2(
    connection: Connection,
    info: ConnectionInfo,
    listener: &Rc<WorkerListener>,
    shared: &Rc<WorkerShared>,
) {
    let mut draining = shared.draining.clone();
    let drained = async move {
        // An error means that the server is gone, too.
        let _ = draining.wait_for(|draining| *draining).await;
    };
    let begin = |mut stream: H2Downstream, next| {
        let (info, listener, shared) = (info.clone(), Rc::clone(listener), Rc::clone(shared));
        let alive = Alive::new(&shared);
        tokio::task::spawn_local(async move {
            serve_exchange(&mut stream, next, info, &listener, &shared).await;
            drop(alive);
        });
    };
    let idle = listener.http.idle_timeout;
    if let Err(error) = accept_h2(connection, &listener.codec, drained, idle, begin).await {
        tracing::debug!("HTTP/2 connection: {error}");
    }
}

/// Returns a while after the process has begun to drain.
async fn idle_while_draining(shared: &WorkerShared) {
    let mut draining = shared.draining.clone();
    let _ = draining.wait_for(|draining| *draining).await;
    sleep(DRAIN_IDLE_GRACE).await;
}
