//! Process life: Weir as a service of a pingora server, from bound sockets to
//! the last drained connection.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::Service;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use weir_config::{Config, ConfigErrors};

use crate::admin::{self, AdminState};
use crate::cluster::{DnsCluster, start_dns};
use crate::generation::Generation;
use crate::telemetry::{AccessLog, GuestMetrics, Metrics, WorkerMetrics};
use crate::worker::{self, WorkerError, WorkerSpec};

/// A server whose sockets are bound and whose filters have been tried out.
pub(crate) struct Prepared {
    workers: Vec<WorkerSpec>,
    admin: Option<(std::net::TcpListener, AdminState)>,
    admin_address_path: Option<PathBuf>,
    listeners: Vec<(String, SocketAddr)>,
    dns_clusters: Vec<Arc<DnsCluster>>,
    drain_timeout: Duration,
}

/// Binds every socket and opens every log of `generation`.
///
/// # Errors
/// What cannot be bound or opened, with its place in the configuration.
pub(crate) fn prepare(
    config: &Config,
    generation: Generation,
    admin_address_path: Option<PathBuf>,
) -> Result<Prepared, ConfigErrors> {
    let count = config
        .workers
        .or_else(|| thread::available_parallelism().ok())
        .map_or(1, NonZeroUsize::get);
    let generation = Arc::new(generation);
    let mut listeners = Vec::new();
    let mut sockets: Vec<Vec<Socket>> = (0..count).map(|_| Vec::new()).collect();
    let mut access_logs = Vec::new();
    for listener in &generation.listeners {
        let bound = bind_group(listener.address, count).map_err(|error| {
            let message = format!(
                "listener `{}` cannot bind {}: {error}",
                listener.name, listener.address
            );
            config.error(listener.address_span, message)
        })?;
        listeners.push((listener.name.clone(), bound.address));
        for (worker, socket) in sockets.iter_mut().zip(bound.sockets) {
            worker.push(socket);
        }
        let log = AccessLog::open(&listener.access_log).map_err(|(place, error)| {
            let span = listener.access_log[place].path.span;
            config.error(span, format!("cannot open the access log: {error}"))
        })?;
        access_logs.push(log);
    }
    let guests = Arc::new(GuestMetrics::default());
    let metrics: Vec<_> = (0..count)
        .map(|worker| WorkerMetrics::new(worker, &guests))
        .collect();
    let state = AdminState {
        metrics: Metrics::new(metrics.clone(), guests, Arc::clone(&generation.shared)),
        listeners: listeners.clone(),
        ready: Arc::new(AtomicBool::new(false)),
    };
    let admin = config.admin.as_ref().map(|admin| {
        let bound = std::net::TcpListener::bind(admin.address.value);
        bound.map_err(|error| {
            let message = format!("the admin cannot bind {}: {error}", admin.address);
            config.error(admin.address.span, message)
        })
    });
    let workers = sockets.into_iter().zip(metrics).enumerate();
    Ok(Prepared {
        workers: workers
            .map(|(number, (sockets, metrics))| WorkerSpec {
                number,
                generation: Arc::clone(&generation),
                sockets,
                metrics,
                access_logs: access_logs.clone(),
            })
            .collect(),
        admin: admin.transpose()?.map(|listener| (listener, state)),
        admin_address_path,
        listeners,
        dns_clusters: generation.dns_clusters(),
        drain_timeout: config.drain_timeout,
    })
}

struct Bound {
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// A socket for each worker, all bound to one address; the kernel spreads
/// connections over them.
fn bind_group(address: SocketAddr, count: usize) -> io::Result<Bound> {
    let mut bound = Bound {
        address,
        sockets: Vec::with_capacity(count),
    };
    for _ in 0..count {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if bound.sockets.is_empty() {
            // Fails if any other process holds the address; sharing it is for
            // the workers of this one.
            probe(&socket, bound.address)?;
        }
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&bound.address.into())?;
        if bound.address.port() == 0
            && let Some(actual) = socket.local_addr()?.as_socket()
        {
            bound.address = actual;
        }
        bound.sockets.push(socket);
    }
    Ok(bound)
}

/// Whether `address` is free, without sharing.
fn probe(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    socket.bind(&address.into())
}

impl Prepared {
    /// Serves until a signal ends the process and everything has drained.
    pub(crate) fn run(self) {
        let conf = ServerConf {
            threads: 1,
            grace_period_seconds: Some(0),
            graceful_shutdown_timeout_seconds: Some(1),
            ..ServerConf::default()
        };
        let mut server = Server::new_with_opt_and_conf(None, conf);
        server.bootstrap();
        let (drain, _) = watch::channel(false);
        let (drained, is_drained) = watch::channel(false);
        let shutdown = Shutdown {
            drain: drain.clone(),
            drained: is_drained,
            drain_timeout: self.drain_timeout,
        };
        server.add_service(WeirService {
            prepared: Mutex::new(Some(self)),
            drain,
            drained,
        });
        server.run(RunArgs {
            shutdown_signal: Box::new(shutdown),
        });
    }
}

/// Ends the server: at once on SIGINT; on SIGTERM when all connections have
/// finished what they were at, or the drain timeout is over.
struct Shutdown {
    drain: watch::Sender<bool>,
    drained: watch::Receiver<bool>,
    drain_timeout: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        let (Ok(mut terminate), Ok(mut interrupt)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::error!("cannot listen for signals");
            return ShutdownSignal::FastShutdown;
        };
        let mut drained = self.drained.clone();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
            // All workers are gone without having been asked.
            _ = drained.wait_for(|drained| *drained) => return ShutdownSignal::FastShutdown,
        }
        tracing::info!(timeout = ?self.drain_timeout, "draining");
        self.drain.send_replace(true);
        tokio::select! {
            _ = drained.wait_for(|drained| *drained) => tracing::info!("drained"),
            () = tokio::time::sleep(self.drain_timeout) => {
                tracing::warn!("the drain timeout is over; open connections are closed");
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ShutdownSignal::FastShutdown
    }
}

/// Weir as a pingora service with threads of its own: pingora's runtimes would
/// put connections and streams on any thread.
struct WeirService {
    prepared: Mutex<Option<Prepared>>,
    drain: watch::Sender<bool>,
    drained: watch::Sender<bool>,
}

#[async_trait]
impl Service for WeirService {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let prepared = self
            .prepared
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(prepared) = prepared {
            if let Err(error) = self.serve(prepared).await {
                tracing::error!("cannot start: {error}");
                std::process::exit(1);
            }
            self.drained.send_replace(true);
        }
    }

    fn name(&self) -> &'static str {
        "weir"
    }
}

impl WeirService {
    /// Starts every worker, opens the listeners once all are ready, and waits
    /// for the workers to drain.
    async fn serve(&self, prepared: Prepared) -> Result<(), WorkerError> {
        let (open, _) = watch::channel(false);
        let (reports, mut reported) = mpsc::unbounded_channel();
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let count = prepared.workers.len();
        for spec in prepared.workers {
            let (reports, alive) = (reports.clone(), alive.clone());
            let (drain, open) = (self.drain.subscribe(), open.subscribe());
            thread::Builder::new()
                .name(format!("worker-{}", spec.number))
                .spawn(move || {
                    worker::run(spec, drain, open, |result| {
                        // The server has gone only if the process is ending.
                        let _ = reports.send(result);
                    });
                    drop(alive);
                })?;
        }
        drop(alive);
        drop(reports);
        let mut all_report = async || {
            for _ in 0..count {
                reported.recv().await.unwrap_or(Ok(()))?;
            }
            Ok::<_, WorkerError>(())
        };
        all_report().await?;
        start_dns(&prepared.dns_clusters).await?;
        open.send_replace(true);
        all_report().await?;
        for (name, address) in &prepared.listeners {
            tracing::info!(listener = name, %address, workers = count, "listening");
        }
        if let Some((listener, state)) = prepared.admin {
            let address = listener.local_addr()?;
            state.ready.store(true, Ordering::Release);
            admin::start(listener, state, self.drain.subscribe())?;
            tracing::info!(%address, "admin");
            if let Some(path) = prepared.admin_address_path {
                std::fs::write(path, format!("{address}\n"))?;
            }
        }
        // Every worker holds a sender and sends nothing.
        let _ = all_gone.recv().await;
        Ok(())
    }
}
