//! Workers: one thread each, with its own runtime, VMs, connections and timers.
//! A connection and all its streams live and die on the worker that accepted
//! it; workers share nothing that they write.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use pingora_core::protocols::l4::stream::Stream as L4Stream;
use socket2::Socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, Pool};
use crate::exchange::{Ended, Exchange};
use crate::filter::{FilterVm, Plugin, StartError};
use crate::generation::{Generation, ListenerSpec};
use crate::http::{H1Downstream, Next};
use crate::limits::{DRAIN_IDLE_GRACE, LISTEN_BACKLOG, MEMORY_SAMPLE_INTERVAL};
use crate::rejected;
use crate::route::Route;
use crate::stream::ConnectionInfo;
use crate::telemetry::{AccessLog, VmMetrics, WorkerMetrics};

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
    pub(crate) metrics: Arc<WorkerMetrics>,
    draining: watch::Receiver<bool>,
    connections: Cell<usize>,
    connection_closed: Notify,
}

impl WorkerShared {
    /// Whether the process is on its way out.
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

/// A listener on one worker.
pub(crate) struct WorkerListener {
    pub(crate) plugins: Vec<Rc<Plugin>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) access_log: Option<AccessLog>,
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
        let vms = generation
            .vms
            .iter()
            .map(|vm| {
                let metrics = Rc::new(VmMetrics::new(spec.metrics.vm(vm)));
                FilterVm::start(Arc::clone(vm), metrics).map(Rc::new)
            })
            .collect::<Result<Rc<[_]>, _>>()?;
        let listener = |(listener, access_log): (&ListenerSpec, Option<AccessLog>)| {
            let plugin =
                |place: &(usize, usize)| Rc::new(Plugin::new(Rc::clone(&vms[place.0]), place.1));
            Rc::new(WorkerListener {
                plugins: listener.filters.iter().map(plugin).collect(),
                routes: listener.routes.clone(),
                access_log,
            })
        };
        let listeners = generation.listeners.iter().zip(spec.access_logs);
        let listeners = spec.sockets.into_iter().zip(listeners.map(listener));
        let cluster = |c| Cluster::new(c, spec.number);
        let shared = Rc::new(WorkerShared {
            clusters: generation.clusters.iter().map(cluster).collect(),
            pool: Pool::new(),
            metrics: Arc::clone(&spec.metrics),
            draining,
            connections: Cell::new(0),
            connection_closed: Notify::new(),
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
        let sampler = tokio::task::spawn_local(sample_memory(Rc::clone(&self.vms)));
        for task in accepting {
            if let Err(error) = task.await {
                tracing::error!("a listener ended: {error}");
            }
        }
        while self.shared.connections.get() > 0 {
            self.shared.connection_closed.notified().await;
        }
        sampler.abort();
        for vm in self.vms.iter() {
            vm.stop();
        }
    }
}

/// Publishes the memory of the worker's VMs, now and then.
async fn sample_memory(vms: Rc<[Rc<FilterVm>]>) {
    loop {
        vms.iter().for_each(|vm| vm.publish_memory());
        sleep(MEMORY_SAMPLE_INTERVAL).await;
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
    };
    let guard = ConnectionGuard::new(shared);
    let (listener, shared) = (Rc::clone(listener), Rc::clone(shared));
    tokio::task::spawn_local(async move {
        serve_connection(connection, info, &listener, &shared).await;
        drop(guard);
    });
}

/// Counts a connection for as long as it lives.
struct ConnectionGuard(Rc<WorkerShared>);

impl ConnectionGuard {
    fn new(shared: &Rc<WorkerShared>) -> Self {
        shared.connections.set(shared.connections.get() + 1);
        shared.metrics.connection_opened();
        Self(Rc::clone(shared))
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.connections.set(shared.connections.get() - 1);
        shared.metrics.connection_closed();
        shared.connection_closed.notify_one();
    }
}

/// Serves one exchange after the other on a client's connection.
async fn serve_connection(
    connection: TcpStream,
    info: ConnectionInfo,
    listener: &WorkerListener,
    shared: &Rc<WorkerShared>,
) {
    let mut stream = L4Stream::from(connection);
    if let Err(error) = stream.set_nodelay() {
        tracing::debug!("TCP_NODELAY: {error}");
    }
    let mut next = Some((Box::new(stream) as pingora_core::protocols::Stream, None));
    while let Some((connection, pipelined)) = next {
        let mut downstream = H1Downstream::new(connection, pipelined);
        let request = tokio::select! {
            request = downstream.read_request() => request,
            () = idle_while_draining(shared) => return,
        };
        let head = match request {
            Next::Request(head) => head,
            Next::Rejected(code, error) => {
                return rejected::answer(downstream, code, &error, listener, shared, info).await;
            }
            Next::Closed => return,
        };
        if !head.end_of_stream
            && downstream.expects_continue()
            && downstream.write_continue().await.is_err()
        {
            return;
        }
        let exchange = Exchange::new(&mut downstream, shared, listener, info.clone(), head);
        if exchange.run().await == Ended::Broken {
            return;
        }
        next = downstream.reuse().await;
    }
}

/// Returns a while after the process has begun to drain.
async fn idle_while_draining(shared: &WorkerShared) {
    let mut draining = shared.draining.clone();
    let _ = draining.wait_for(|draining| *draining).await;
    sleep(DRAIN_IDLE_GRACE).await;
}
