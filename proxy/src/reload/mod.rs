//! Reload: another generation of the configuration takes the place of the one that
//! is served, and no request notices.
//!
//! Everything that can go wrong is done while the old generation serves on: files are
//! read, modules compiled, filters tried out, sockets bound, and VMs started on every
//! worker. Only then do workers serve the new one, each with its next stream. If
//! anything fails, nothing has changed.

mod admin_socket;
mod background;
mod changes;
mod crew;
mod files;
mod fixed;
mod sockets;
mod takeover;

use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use weir_config::{Address, Config, ConfigErrors};

use self::admin_socket::AdminSocket;
use self::background::aside;
pub(crate) use self::background::compete;
pub(crate) use self::changes::Changes;
use self::crew::{Crew, locked};
use self::files::Files;
use self::fixed::Fixed;
pub(crate) use self::fixed::refusal;
use self::sockets::{SocketFiles, Sockets};
use self::takeover::{Door, Listening, Role};
pub(crate) use self::takeover::{Inherited, inherit};
use crate::admin::{self, AdminState, Process};
use crate::cluster::Clusters;
use crate::discovery::{self, Discovered, Follow};
use crate::generation::{Drain, Generation, ListenerKey};
use crate::health::Health;
use crate::limits::{ACCEPT_RETRY, FILES_INTERVAL};
use crate::rollout::Rollouts;
use crate::socket::SocketFile;
use crate::tap::{self, Told};
use crate::telemetry::{
    AccessLog, ControlPlane, Generations, GuestMetrics, Metrics, WorkerMetrics,
};
use crate::worker::{self, WorkerError, WorkerSpec};

/// Reads the configuration, and makes a generation of it that goes on from another.
/// The error is for a person; the files that were looked at are handed out in any case.
pub(crate) type Load = Box<
    dyn Fn(Option<&Generation>, &mut Vec<PathBuf>) -> Result<(Config, Generation), String>
        + Send
        + Sync,
>;

/// What the admin asks for; is told what came of it.
pub(crate) enum Request {
    Reload(oneshot::Sender<Result<String, String>>),
    /// What has been discovered is to be served.
    Serve(oneshot::Sender<Result<String, String>>),
    DrainListeners(Draining, oneshot::Sender<Result<String, String>>),
}

/// Which listeners end, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draining {
    /// Only those for inbound traffic.
    pub(crate) inbound_only: bool,
    /// Connections are told to end for as long as the drain timeout, and accepted
    /// meanwhile.
    pub(crate) graceful: bool,
    /// They go on to be accepted after that.
    pub(crate) skip_exit: bool,
}

/// The configuration that is served.
pub(crate) struct Configuration {
    pub(crate) config: Config,
    pub(crate) generation: Arc<Generation>,
    pub(crate) since: SystemTime,
}

/// What the admin shows of it; `None` before there is one.
pub(crate) type Served = Arc<ArcSwapOption<Configuration>>;

/// A generation whose sockets are bound and whose logs are open.
struct Bound {
    config: Config,
    generation: Generation,
    sockets: Sockets,
    access_logs: Vec<Option<AccessLog>>,
}

/// Binds what is new in `generation`, and opens its logs.
fn bind(
    config: &Config,
    mut generation: Generation,
    bound: &HashMap<ListenerKey, Address>,
    inherited: Option<&Inherited>,
    workers: usize,
) -> Result<Bound, ConfigErrors> {
    let none = Listening::new();
    let inherited = inherited.map_or(&none, |inherited| &inherited.listeners);
    let sockets = sockets::bind(config, &mut generation, bound, inherited, workers)?;
    let mut access_logs = Vec::new();
    for chain in generation.chains() {
        let log = AccessLog::open(&chain.access_log).map_err(|(place, error)| {
            let span = chain.access_log[place].path.span;
            config.error(span, format!("cannot open the access log: {error}"))
        })?;
        access_logs.push(log);
    }
    Ok(Bound {
        config: config.clone(),
        generation,
        sockets,
        access_logs,
    })
}

/// Where others find this process.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Where the admin's address is written to.
    pub(crate) admin_address: Option<PathBuf>,
    /// Where another process can take over.
    pub(crate) takeover: Option<PathBuf>,
}

/// What the life of the process depends on.
pub(crate) struct Ends {
    /// It drains.
    pub(crate) drain: watch::Sender<bool>,
    /// For how long.
    pub(crate) drain_times: watch::Sender<Drain>,
    /// Another process has taken over.
    pub(crate) replaced: watch::Sender<bool>,
}

/// All workers, and what they serve.
pub(crate) struct Fleet {
    first: Bound,
    fixed: Fixed,
    metrics: Vec<Arc<WorkerMetrics>>,
    admin: Option<(AdminSocket, AdminState)>,
    paths: Paths,
    inherited: Option<Inherited>,
    generations: Arc<Generations>,
    rollouts: Rollouts,
    clusters: Clusters,
    health: Arc<Health>,
    served: Served,
    files: Files,
    load: Arc<Load>,
    discovered: Arc<Discovered>,
    control_plane: ControlPlane,
    reloads: (mpsc::Sender<Request>, mpsc::Receiver<Request>),
}

impl Fleet {
    /// Binds every socket that is not `inherited`, and opens every log of the first
    /// generation, which was read from `since` on.
    ///
    /// # Errors
    /// What cannot be bound or opened, with its place in the configuration.
    pub(crate) fn new(
        config: &Config,
        generation: Generation,
        since: SystemTime,
        mut inherited: Option<Inherited>,
        paths: Paths,
        load: Load,
        discovered: Arc<Discovered>,
    ) -> Result<Self, ConfigErrors> {
        let count = config
            .workers
            .or_else(|| thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let files = Files::of(&generation, since);
        let shared = Arc::clone(&generation.shared);
        let compile_cache = Arc::clone(&generation.compile_cache);
        let nothing = HashMap::new();
        let first = bind(config, generation, &nothing, inherited.as_ref(), count)?;
        let guests = Arc::new(GuestMetrics::default());
        let metrics: Vec<_> = (0..count)
            .map(|worker| WorkerMetrics::new(worker, &guests))
            .collect();
        let page = Metrics::new(metrics.clone(), guests, shared, compile_cache);
        let generations = Arc::clone(&page.generations);
        let rollouts = page.rollouts.clone();
        let clusters = Arc::clone(&page.clusters);
        let control_plane = Arc::clone(&page.control_plane);
        let (served, health) = (Served::default(), Arc::new(Health::default()));
        let reloads = mpsc::channel(1);
        let state = AdminState {
            metrics: page,
            served: Arc::clone(&served),
            health: Arc::clone(&health),
            requests: reloads.0.clone(),
            process: Process {
                took_over: inherited.is_some(),
                takes_over: paths.takeover.is_some(),
            },
        };
        let fixed = Fixed::of(config);
        let admin = config.admin.as_ref().map(|admin| {
            let before = inherited.as_mut().and_then(|i| i.admin(&admin.address));
            let socket = AdminSocket::bind(admin, before);
            socket.map_err(|error| {
                let message = format!("the admin cannot bind {}: {error}", admin.address);
                config.error(admin.address.span, message)
            })
        });
        Ok(Self {
            first,
            fixed,
            metrics,
            admin: admin.transpose()?.map(|socket| (socket, state)),
            paths,
            inherited,
            generations,
            rollouts,
            clusters,
            health,
            served,
            files,
            load: Arc::new(load),
            discovered,
            control_plane,
            reloads,
        })
    }

    /// What is served, once something is.
    pub(crate) fn served(&self) -> Served {
        Arc::clone(&self.served)
    }

    /// What is known of the process's life.
    pub(crate) fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Starts every worker, opens the listeners once all are ready, reloads when
    /// that is asked for, and waits for the workers to drain.
    ///
    /// # Errors
    /// When it does not come so far as to serve.
    pub(crate) async fn serve(self, ends: &Ends) -> Result<(), WorkerError> {
        // First of all: without somebody who listens, it ends the process.
        let hangup = signal(SignalKind::hangup())?;
        let (alive, mut all_gone) = mpsc::channel::<()>(1);
        let mut orders = Vec::with_capacity(self.metrics.len());
        for (number, metrics) in self.metrics.into_iter().enumerate() {
            let (order, received) = mpsc::unbounded_channel();
            let alive = alive.clone();
            let spec = WorkerSpec {
                number,
                metrics,
                draining: ends.drain.subscribe(),
                replaced: ends.replaced.subscribe(),
            };
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    worker::run(spec, received);
                    drop(alive);
                })?;
            orders.push(order);
        }
        drop(alive);
        let served = Arc::clone(&self.served);
        let mut crew = Crew {
            orders,
            generations: self.generations,
            rollouts: self.rollouts,
            clusters: self.clusters,
            served: self.served,
            drain_times: ends.drain_times.clone(),
            current: None,
            is_drained: false,
            files: Arc::default(),
        };
        crew.roll_out(self.first).await?;
        let first = served.load_full();
        let discovers = first
            .as_ref()
            .is_some_and(|first| first.config.dynamic_resources.is_some());
        if !discovers {
            self.health.serve();
        }
        let (admin, admin_state) = self.admin.unzip();
        let (settled, settles) = oneshot::channel();
        let mut reloader = Reloader {
            crew,
            fixed: self.fixed,
            files: self.files,
            load: self.load,
            admin,
            admin_state,
            inherited: self.inherited,
            paths: self.paths,
            door: None,
            draining: ends.drain.subscribe(),
            replaced: ends.replaced.clone(),
        };
        if reloader.inherited.is_none() || !discovers {
            reloader.succeed().await?;
        }
        if let Some(first) = first.filter(|_| discovers) {
            let (requests, health) = (self.reloads.0.clone(), Arc::clone(&self.health));
            let Configuration {
                config, generation, ..
            } = &*first;
            let follow = Follow {
                requests,
                health,
                settled,
            };
            let counters = discovery::start(config, generation, &self.discovered, follow);
            // It is nobody's but this one's to set.
            let _ = self.control_plane.set(counters.map_err(io::Error::other)?);
        }
        tokio::select! {
            // Every worker holds a sender and sends nothing.
            _ = all_gone.recv() => Ok(()),
            ended = reloader.run(self.reloads.1, hangup, settles) => Ok(ended?),
        }
    }
}

/// Files that another process may be about to take over: they stay, even if this one
/// ends meanwhile.
struct Lent {
    listeners: SocketFiles,
    admin: Option<SocketFile>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let listeners = std::mem::take(&mut self.listeners).into_values();
        let all = listeners.chain(self.admin.take());
        all.for_each(SocketFile::leave);
    }
}

/// Reloads when that is asked for.
struct Reloader {
    crew: Crew,
    fixed: Fixed,
    files: Files,
    load: Arc<Load>,
    /// The admin's socket, for another process.
    admin: Option<AdminSocket>,
    /// Until the admin is served: as long as another process serves too, its one answers.
    admin_state: Option<AdminState>,
    /// What the process before has handed over, as long as it serves too.
    inherited: Option<Inherited>,
    paths: Paths,
    door: Option<Door>,
    draining: watch::Receiver<bool>,
    replaced: watch::Sender<bool>,
}

impl Reloader {
    /// Serves requests, signals, changes of files and processes that take over, one
    /// after the other.
    ///
    /// # Errors
    /// The process before serves on.
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut hangup: Signal,
        mut settles: oneshot::Receiver<bool>,
    ) -> io::Result<()> {
        let (mut draining, mut drains) = (self.draining.clone(), false);
        loop {
            let (asked, cause) = tokio::select! {
                Some(request) = requests.recv() => match request {
                    Request::Reload(asked) => (Some(asked), "the admin"),
                    Request::Serve(asked) => (Some(asked), "the management server"),
                    Request::DrainListeners(draining, asked) => {
                        let _ = asked.send(Ok(self.crew.drain_listeners(draining)));
                        continue;
                    }
                },
                () = begun(&mut draining), if !drains => {
                    // Workers accept no more.
                    locked(&self.crew.files).clear();
                    drains = true;
                    continue;
                }
                settled = &mut settles, if self.inherited.is_some() => {
                    if settled != Ok(true) {
                        let message = "the management server has not said what is to be served: the \
                                       process before serves on";
                        return Err(io::Error::other(message));
                    }
                    self.succeed().await?;
                    continue;
                }
                _ = hangup.recv() => (None, "SIGHUP"),
                () = self.files.changed(FILES_INTERVAL) => (None, "a change of a file"),
                connection = knocked(self.door.as_ref()) => {
                    if self.hand_over(connection).await {
                        // What follows is for the other process.
                        self.door = None;
                        self.admin = None;
                        drop(requests);
                        return std::future::pending().await;
                    }
                    continue;
                }
            };
            let result = self.reload(cause).await;
            if let Some(asked) = asked {
                // Who has asked may have gone.
                let _ = asked.send(result);
            }
        }
    }

    /// All that is to be served is: the process before ends, if there is one, and others
    /// find this one.
    ///
    /// # Errors
    /// The process before serves on.
    async fn succeed(&mut self) -> io::Result<()> {
        if let Some((admin, state)) = self.admin.as_ref().zip(self.admin_state.take()) {
            admin::start(admin.socket.try_clone()?, state, self.replaced.subscribe())?;
        }
        if let Some(inherited) = self.inherited.take() {
            let current = self.crew.current.as_deref();
            let taken = |key: &ListenerKey| current.is_some_and(|c| c.bound.contains_key(key));
            let (left, before) = inherited.into_rest(taken);
            let replaced = tokio::task::spawn_blocking(|| before.replace()).await;
            replaced.map_err(io::Error::other)??;
            tracing::info!("has taken over from another process");
            self.crew.adopt_files();
            if let Some(admin) = &mut self.admin {
                admin.adopt_file();
            }
            for path in left {
                drop(SocketFile::of(Path::new(&path)));
            }
        }
        let door = self.paths.takeover.as_deref().map(Door::open);
        self.door = door.transpose()?;
        if let Some(admin) = &self.admin {
            let address = &admin.address;
            tracing::info!(%address, "admin");
            if let Some(path) = &self.paths.admin_address {
                std::fs::write(path, format!("{}\n", address.written()))?;
            }
        }
        Ok(())
    }

    /// Whether another process serves from now on.
    async fn hand_over(&mut self, connection: io::Result<UnixStream>) -> bool {
        let result = match connection {
            Ok(connection) => self.try_hand_over(connection).await,
            Err(error) => {
                // Out of descriptors, mostly: closing connections will help.
                sleep(ACCEPT_RETRY).await;
                Err(error)
            }
        };
        match &result {
            Ok(()) => tracing::info!("another process has taken over"),
            Err(error) => tracing::error!("another process has not taken over: {error}"),
        }
        result.is_ok()
    }

    async fn try_hand_over(&mut self, connection: UnixStream) -> io::Result<()> {
        let mut sockets = self.crew.sockets().await?;
        if let (Some(admin), Some((address, _))) = (&self.admin, &self.fixed.admin) {
            sockets.push((Role::Admin(address.clone()), admin.socket.try_clone()?));
        }
        let handed = move || takeover::hand_over(connection, sockets);
        let mut lent = self.lend_files();
        let handed = tokio::task::spawn_blocking(handed).await;
        let handed = handed.map_err(io::Error::other).flatten();
        let connection = handed.inspect_err(|_| self.take_back(&mut lent))?;
        drop(lent);
        self.replaced.send_replace(true);
        // If it does not hear that, it finds nobody here.
        let _ = takeover::say_goodbye(connection);
        Ok(())
    }

    fn lend_files(&mut self) -> Lent {
        Lent {
            listeners: std::mem::take(&mut *locked(&self.crew.files)),
            admin: self.admin.as_mut().and_then(|admin| admin.file.take()),
        }
    }

    fn take_back(&mut self, lent: &mut Lent) {
        locked(&self.crew.files).extend(std::mem::take(&mut lent.listeners));
        if let Some(admin) = &mut self.admin {
            admin.file = lent.admin.take();
        }
    }

    async fn reload(&mut self, cause: &str) -> Result<String, String> {
        let result = self.try_reload().await;
        if let Some(tap) = tap::installed() {
            tap.tell(Told::Reload(result.clone()));
        }
        match &result {
            Ok(report) => {
                let mut lines = report.lines();
                tracing::info!(cause, "reloaded: {}", lines.next().unwrap_or_default());
                lines.for_each(|line| tracing::info!("{line}"));
            }
            Err(error) => {
                self.crew.generations.failed();
                if tap::installed().is_none() {
                    tracing::error!(cause, "the configuration stays as it was: {error}");
                }
            }
        }
        result
    }

    async fn try_reload(&mut self) -> Result<String, String> {
        if self.crew.is_drained {
            return Err("listeners have been drained: only a restart opens them again".to_owned());
        }
        // What is read now is what there is: a later change is another one.
        self.files.look();
        let since = SystemTime::now();
        let (load, current) = (Arc::clone(&self.load), self.crew.current.clone());
        let loaded = aside(move || {
            let mut looked_at = Vec::new();
            let loaded = load(current.as_deref(), &mut looked_at);
            loaded.map_err(|error| (error, looked_at))
        });
        let (config, generation) = match loaded.await? {
            Ok(loaded) => loaded,
            Err((error, looked_at)) => {
                // What is wrong may be put right in a file that nothing else names.
                self.files.follow_also(looked_at, since);
                return Err(error);
            }
        };
        if let Some(refusal) = self.fixed.refusal(&Fixed::of(&config)) {
            return Err(refusal);
        }
        self.files.follow(&generation);
        let empty = HashMap::new();
        let before = self.crew.current.clone();
        if let Some(refusal) = before.as_deref().and_then(|b| generation.refusal(b)) {
            return Err(refusal);
        }
        let sockets = before.as_ref().map_or(&empty, |current| &current.bound);
        let workers = self.crew.orders.len();
        let bound = bind(
            &config,
            generation,
            sockets,
            self.inherited.as_ref(),
            workers,
        );
        let bound = bound.map_err(|errors| errors.to_string())?;
        let changes = before.as_deref();
        let changes = changes.map(|before| Changes::between(before, &bound.generation));
        let rolled_out = self.crew.roll_out(bound).await;
        rolled_out.map_err(|error| error.to_string())?;
        Ok(changes.map_or_else(String::new, |c| format!("{}\n{c}", c.summary())))
    }
}

/// Returns when the process drains.
async fn begun(draining: &mut watch::Receiver<bool>) {
    // An error means that it has ended.
    let _ = draining.wait_for(|draining| *draining).await;
}

/// Returns when another process wants to take over.
async fn knocked(door: Option<&Door>) -> io::Result<UnixStream> {
    match door {
        Some(door) => door.knocked().await,
        None => std::future::pending().await,
    }
}
