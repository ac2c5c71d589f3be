//! Process life: Weir as a service of a pingora server, from bound sockets to
//! the last drained connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::Service;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use weir_config::{Config, ConfigErrors};

use crate::discovery::Discovered;
use crate::generation::{Drain, Generation};
use crate::health::Health;
use crate::limits::TRACE_FLUSH_TIMEOUT;
use crate::reload::{Ends, Fleet, Inherited, Load, Paths, Served};

/// A server whose sockets are bound and whose filters have been tried out.
pub(crate) struct Prepared {
    fleet: Fleet,
}

/// Binds every socket that is not `inherited`, and opens every log of `generation`,
/// which was read from `since` on. `load` reads the configuration again, and adds what is
/// `discovered`.
///
/// # Errors
/// What cannot be bound or opened, with its place in the configuration.
pub(crate) fn prepare(
    config: &Config,
    generation: Generation,
    since: SystemTime,
    inherited: Option<Inherited>,
    paths: Paths,
    load: Load,
    discovered: Arc<Discovered>,
) -> Result<Prepared, ConfigErrors> {
    Ok(Prepared {
        fleet: Fleet::new(
            config, generation, since, inherited, paths, load, discovered,
        )?,
    })
}

impl Prepared {
    /// Serves until a signal or another process ends this one, and everything has
    /// drained.
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
        let (replaced, is_replaced) = watch::channel(false);
        // What is served says how long.
        let (drain_times, is_drain_times) = watch::channel(Drain::default());
        let shutdown = Shutdown {
            health: self.fleet.health(),
            served: self.fleet.served(),
            drain: drain.clone(),
            replaced: is_replaced,
            drained: is_drained,
            drain_times: is_drain_times,
        };
        server.add_service(WeirService {
            fleet: Mutex::new(Some(self.fleet)),
            ends: Ends {
                drain,
                drain_times,
                replaced,
            },
            drained,
        });
        server.run(RunArgs {
            shutdown_signal: Box::new(shutdown),
        });
    }
}

/// Ends the server: at once on SIGINT; on SIGTERM, when the admin is told to, or when
/// another process has taken over, when all connections have finished what they were
/// at, or the drain timeout is over. Those who balance load may notice first, unless
/// the other process accepts connections already.
struct Shutdown {
    health: Arc<Health>,
    served: Served,
    drain: watch::Sender<bool>,
    replaced: watch::Receiver<bool>,
    drained: watch::Receiver<bool>,
    drain_times: watch::Receiver<Drain>,
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
        let (mut drained, mut replaced) = (self.drained.clone(), self.replaced.clone());
        let mut delay = Duration::ZERO;
        tokio::select! {
            _ = terminate.recv() => delay = self.drain_times.borrow().delay,
            () = self.health.has_quit() => delay = self.drain_times.borrow().delay,
            Ok(_) = replaced.wait_for(|replaced| *replaced) => {}
            _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
            // All workers are gone without having been asked.
            _ = drained.wait_for(|drained| *drained) => return ShutdownSignal::FastShutdown,
        }
        self.health.leave();
        if !delay.is_zero() {
            tracing::info!(?delay, "not ready any more");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                Ok(_) = replaced.wait_for(|replaced| *replaced) => {}
                _ = drained.wait_for(|drained| *drained) => {}
                _ = terminate.recv() => return ShutdownSignal::FastShutdown,
                _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
            }
        }
        let timeout = self.drain_times.borrow().timeout;
        self.drain.send_replace(true);
        tracing::info!(?timeout, "draining");
        tokio::select! {
            _ = drained.wait_for(|drained| *drained) => tracing::info!("drained"),
            () = tokio::time::sleep(timeout) => {
                tracing::warn!("the drain timeout is over; open connections are closed");
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => return ShutdownSignal::FastShutdown,
        }
        self.flush().await;
        ShutdownSignal::FastShutdown
    }
}

impl Shutdown {
    /// Has spans sent that still wait.
    async fn flush(&self) {
        let served = self.served.load_full();
        let tracer = served.and_then(|served| served.generation.tracer.clone());
        if let Some(tracer) = tracer {
            // One that cannot be waited for is not.
            let flushed = tokio::task::spawn_blocking(move || tracer.flush());
            let _ = tokio::time::timeout(TRACE_FLUSH_TIMEOUT, flushed).await;
        }
    }
}

/// Weir as a pingora service with threads of its own: pingora's runtimes would
/// put connections and streams on any thread.
struct WeirService {
    fleet: Mutex<Option<Fleet>>,
    ends: Ends,
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
        let fleet = self
            .fleet
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(fleet) = fleet {
            if let Err(error) = fleet.serve(&self.ends).await {
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
