//! Workers: one thread each, with its own runtime, VMs, connections and timers.
//! A connection and all its streams live and die on the worker that accepted
//! it; workers share nothing that they write.
//!
//! A worker serves one generation of the configuration. It gets another one in two
//! steps: it makes all that is new ready, while it serves on; then, when all workers
//! are ready, streams that begin are served by the new one. What the old one has
//! begun, it ends.

mod connection;
mod pace;
mod patience;
mod shared;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use socket2::{SockRef, Socket};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::sleep;

use self::connection::accept_loop;
use self::pace::Pace;
use self::shared::{Acceptor, Chain, Directory, Entrance, Life, Served, Slot};
pub(crate) use self::shared::{Latest, WorkerListener, WorkerShared};
use crate::cluster::{Cluster, ClusterSpec, Pool};
use crate::descriptors;
use crate::filter::{FilterVm, FilterVmSpec, Plugin, StartError};
use crate::gate::{Gate, GateKind};
use crate::generation::{
    ChainSpec, FilterSpec, GateSpec, Generation, ListenerKey, ListenerSpec, RouteFilterSpec, Terms,
};
use crate::http::CodecOptions;
use crate::istio::Istio;
use crate::limits::VM_CARE_INTERVAL;
use crate::rollout::{Link, Versions};
use crate::socket::SocketListener;
use crate::telemetry::{AccessLog, GenerationCells, ListenerMetrics, Reports, WorkerMetrics};

/// What a worker is started with.
pub(crate) struct WorkerSpec {
    pub(crate) number: usize,
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// The process drains.
    pub(crate) draining: watch::Receiver<bool>,
    /// Another process accepts connections in place of this one.
    pub(crate) replaced: watch::Receiver<bool>,
}

/// A generation for one worker.
pub(crate) struct Rollout {
    pub(crate) generation: Arc<Generation>,
    /// Bound sockets for each listener that there is not yet.
    pub(crate) sockets: HashMap<ListenerKey, Vec<Socket>>,
    /// Where each filter chain of the generation logs.
    pub(crate) access_logs: Vec<Option<AccessLog>>,
    pub(crate) cells: Arc<GenerationCells>,
}

/// What a worker is told to do.
pub(crate) enum Order {
    /// Makes a generation ready.
    Prepare(Rollout, oneshot::Sender<Result<(), WorkerError>>),
    /// Serves the one that is ready.
    Commit(oneshot::Sender<Result<(), WorkerError>>),
    /// Forgets the one that is ready: another worker was not.
    Abort,
    /// Has connections to these listeners end; others are accepted and told the same.
    Retire(Vec<ListenerKey>),
    /// Accepts no more connections to these listeners.
    Close(Vec<ListenerKey>),
    /// Gives the sockets that it accepts connections from.
    Share(oneshot::Sender<io::Result<Vec<(ListenerKey, Socket)>>>),
}

/// Why a worker does not serve a generation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("a filter does not start: {0}")]
    Filter(#[from] StartError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("a worker has ended")]
    Gone,
}

/// Runs a worker on this thread until it has drained, or there is nobody left to
/// order.
pub(crate) fn run(spec: WorkerSpec, orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, Worker::new(spec).run(orders)),
        Err(error) => tracing::error!("a worker does not start: {error}"),
    }
}

/// A generation that is ready to be served.
struct Ready {
    generation: Arc<Generation>,
    shared: Rc<WorkerShared>,
    vms: Vec<Rc<FilterVm>>,
    listeners: Vec<ReadyListener>,
    sockets: HashMap<ListenerKey, Vec<Socket>>,
}

/// A listener that is ready.
struct ReadyListener {
    key: ListenerKey,
    entrance: Rc<Entrance>,
    /// For each of its slots, what is to serve it.
    chains: Vec<Rc<WorkerListener>>,
}

/// A generation that is served, or was.
struct Serving {
    generation: Arc<Generation>,
    shared: Rc<WorkerShared>,
    vms: Vec<Rc<FilterVm>>,
}

/// A generation that was replaced.
struct Retired {
    serving: Serving,
    since: Instant,
    /// Filter chains that ended with it. They are there as long as they have connections,
    /// each of which may say one thing more.
    slots: Vec<Weak<Slot>>,
}

impl Retired {
    fn is_over(&self, now: Instant) -> bool {
        let is_open = |slot: &Weak<Slot>| slot.strong_count() > 0;
        let idle = self.serving.shared.cells.streams() == 0;
        idle && (self.has_had_long_enough(now) || !self.slots.iter().any(is_open))
    }

    fn has_had_long_enough(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.serving.generation.drain.timeout
    }
}

struct Worker {
    number: usize,
    metrics: Arc<WorkerMetrics>,
    life: Rc<Life>,
    pool: Rc<Pool>,
    latest: Option<Rc<Latest>>,
    ready: Option<Ready>,
    /// Shared with the task that looks after VMs.
    generations: Rc<RefCell<Generations>>,
    acceptors: HashMap<ListenerKey, (Rc<Acceptor>, Vec<JoinHandle<()>>)>,
    directory: Rc<Directory>,
}

/// The generations on one worker.
#[derive(Default)]
struct Generations {
    current: Option<Serving>,
    retired: Vec<Retired>,
    /// Those that are over, until their VMs have ended.
    over: Vec<Serving>,
}

impl Worker {
    fn new(spec: WorkerSpec) -> Self {
        Self {
            number: spec.number,
            metrics: spec.metrics,
            life: Rc::new(Life {
                draining: spec.draining,
                replaced: spec.replaced,
                first_kept: descriptors::first_kept(),
                alive: Cell::new(0),
                ended: Notify::new(),
            }),
            pool: Rc::new(Pool::new()),
            latest: None,
            ready: None,
            generations: Rc::default(),
            acceptors: HashMap::new(),
            directory: Rc::default(),
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let keeper = spawn_local(look_after(Rc::clone(&self.generations)));
        let mut draining = self.life.draining.clone();
        loop {
            let order = tokio::select! {
                order = orders.recv() => order,
                _ = draining.wait_for(|draining| *draining) => None,
            };
            match order {
                Some(Order::Prepare(rollout, reply)) => {
                    let ready = self.prepare(rollout).await;
                    // Who has given the order is there, or the process ends.
                    let _ = reply.send(ready);
                }
                Some(Order::Commit(reply)) => {
                    let _ = reply.send(self.commit());
                }
                Some(Order::Abort) => self.abort(),
                Some(Order::Retire(keys)) => self.retire(&keys),
                Some(Order::Close(keys)) => self.close(&keys),
                Some(Order::Share(reply)) => {
                    let _ = reply.send(self.share());
                }
                None => break,
            }
        }
        for (_, (acceptor, tasks)) in self.acceptors.drain() {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!("a listener ended: {error}");
                }
            }
            drop(acceptor);
        }
        while self.life.alive.get() > 0 {
            self.life.ended.notified().await;
        }
        keeper.abort();
        self.generations.borrow_mut().stop();
    }

    /// Makes all that is new in a generation ready. Between two VMs, it serves.
    async fn prepare(&mut self, rollout: Rollout) -> Result<(), WorkerError> {
        let Rollout {
            generation,
            sockets,
            access_logs,
            cells,
        } = rollout;
        let shared = Rc::new(WorkerShared {
            clusters: self.clusters(&generation),
            names: Arc::clone(&generation.names),
            pool: Rc::clone(&self.pool),
            callouts: generation.callouts,
            tracer: generation.tracer.clone(),
            life: Rc::clone(&self.life),
            cells,
            over: watch::Sender::new(false),
            date: RefCell::default(),
        });
        let latest = match &self.latest {
            Some(latest) => {
                latest.set_coming(Some(Rc::clone(&shared)));
                Rc::clone(latest)
            }
            None => Rc::clone(self.latest.insert(Latest::new(Rc::clone(&shared)))),
        };
        let mut vms: Vec<Rc<FilterVm>> = Vec::with_capacity(generation.vms.len());
        let is_serving = self.generations.borrow().current.is_some();
        let mut pace = Pace::default();
        for spec in &generation.vms {
            let kept = self.generations.borrow().vm(spec);
            let vm = match kept {
                Some(vm) => vm,
                None => {
                    if is_serving {
                        pace.keep().await;
                    }
                    let metrics = Rc::new(self.metrics.vm(spec));
                    let latest = Some(Rc::clone(&latest));
                    let start = || FilterVm::start(Arc::clone(spec), metrics, latest);
                    Rc::new(pace.time(start)?)
                }
            };
            vms.push(vm);
        }
        let mut access_logs = access_logs.into_iter();
        let listeners = generation.listeners.iter().map(|spec| {
            let key = spec.key();
            let address = generation.bound.get(&key).unwrap_or(&spec.address);
            let metrics = self.metrics.listener(&spec.name, address, spec.is_tcp());
            let slots = spec
                .chains
                .iter()
                .map(|chain| self.slot(&key, &chain.terms));
            let slots: Vec<_> = slots.collect();
            let chains = spec.chains.iter().zip(&slots);
            let chains = chains.map(|(chain, slot)| {
                let access_log = access_logs.next().flatten();
                self.filter_chain((spec, chain), slot, &vms, &metrics, access_log)
            });
            let chains = chains.collect();
            let entrance = Rc::new(Entrance {
                metrics,
                worker: Arc::clone(&self.metrics),
                max_connections: spec.max_connections,
                connections: Arc::clone(&spec.connections),
                proxy_protocol: spec.proxy_protocol,
                inspection: spec.inspection.clone(),
                original_dst: spec.original_dst,
                original_src: spec.original_src,
                address: address.clone(),
                matcher: Arc::clone(&spec.matcher),
                slots,
                retired: self.retired(&key),
            });
            ReadyListener {
                key,
                entrance,
                chains,
            }
        });
        let listeners = listeners.collect();
        self.ready = Some(Ready {
            generation,
            shared,
            vms,
            listeners,
            sockets,
        });
        Ok(())
    }

    /// A filter chain of a listener, with its VMs.
    fn filter_chain(
        &self,
        (listener, spec): (&ListenerSpec, &ChainSpec),
        slot: &Slot,
        vms: &[Rc<FilterVm>],
        metrics: &Arc<ListenerMetrics>,
        access_log: Option<AccessLog>,
    ) -> Rc<WorkerListener> {
        if spec.terms.tls.is_some() {
            metrics.tls.speak();
        }
        let plugin = |place: &(usize, usize)| Plugin::new(Rc::clone(&vms[place.0]), place.1);
        let link = |filter: &FilterSpec| Link {
            plugin: Rc::new(plugin(&filter.place)),
            versions: filter.rollout.as_ref().map(|rollout| {
                Rc::new(Versions {
                    canary: rollout.canary.as_ref().map(|p| Rc::new(plugin(p))),
                    shadow: rollout.shadow.as_ref().map(|p| Rc::new(plugin(p))),
                    cells: rollout.state.cells(self.number),
                    state: Arc::clone(&rollout.state),
                    reports: Reports::default(),
                })
            }),
        };
        let gate = |spec: &GateSpec| Gate {
            place: spec.place,
            kind: match &spec.rbac {
                Some((rbac, scope)) => GateKind::Rbac(Arc::clone(rbac), self.metrics.rbac(scope)),
                None => GateKind::Cors,
            },
        };
        let of_route = |chain: &[Link], filter: &RouteFilterSpec| match filter {
            RouteFilterSpec::Same(place) => chain[*place].clone(),
            RouteFilterSpec::Configured(place) => Link {
                plugin: Rc::new(plugin(place)),
                versions: None,
            },
        };
        let chain = Chain {
            links: spec.filters.iter().map(link).collect(),
            gates: spec.gates.iter().map(gate).collect(),
        };
        let chains = spec.of_routes.iter().map(|route| {
            let filters = route.filters.iter();
            Chain {
                links: filters.map(|f| of_route(&chain.links, f)).collect(),
                gates: route.gates.iter().map(gate).collect(),
            }
        });
        Rc::new(WorkerListener {
            chains: chains.collect(),
            chain,
            entry: spec.entry.iter().map(gate).collect(),
            access_loggers: spec.access_loggers.iter().map(plugin).collect(),
            routes: Arc::clone(&spec.routes),
            tls: spec.terms.tls.clone(),
            tcp: spec.tcp,
            metrics: Arc::clone(metrics),
            istio: Istio::new(&spec.istio, &spec.facts, self.metrics.istio()),
            access_log,
            codec: Rc::new(CodecOptions::of_listener(&spec.terms.http)),
            http: Arc::clone(&spec.terms.http),
            buffer_limit: listener.buffer_limit,
            facts: Arc::clone(&spec.facts),
            retired: slot.retired.subscribe(),
        })
    }

    /// The clusters of a generation; those that are as before keep their endpoints.
    fn clusters(&self, generation: &Generation) -> Vec<Rc<Cluster>> {
        let generations = self.generations.borrow();
        let current = generations.current.as_ref();
        let kept = |spec: &Arc<ClusterSpec>| {
            let before = &current?.generation.clusters;
            let place = before.iter().position(|old| Arc::ptr_eq(old, spec))?;
            current?.shared.clusters.get(place).cloned()
        };
        let cluster = |spec: &Arc<ClusterSpec>| {
            kept(spec).unwrap_or_else(|| {
                let metrics = self.metrics.cluster(&spec.name);
                Rc::new(Cluster::new(spec, self.number, metrics))
            })
        };
        generation.clusters.iter().map(cluster).collect()
    }

    /// What tells that a listener is no more: that of the one that there is.
    fn retired(&self, key: &ListenerKey) -> Rc<watch::Sender<bool>> {
        let current = self.acceptors.get(key);
        let current = current.map(|(acceptor, _)| Rc::clone(&acceptor.entrance.borrow().retired));
        current.unwrap_or_else(|| Rc::new(watch::Sender::new(false)))
    }

    /// The slot of a filter chain: the one that there is, if its connections can go on
    /// as they are.
    fn slot(&self, key: &ListenerKey, terms: &Terms) -> Rc<Slot> {
        let current = self.acceptors.get(key);
        let entrance = current.map(|(acceptor, _)| acceptor.entrance.borrow());
        let mut slots = entrance.iter().flat_map(|entrance| &entrance.slots);
        let same = slots.find(|slot| terms.goes_on_from(&slot.terms));
        same.map_or_else(|| Slot::new(terms), Rc::clone)
    }

    /// Serves the generation that is ready.
    fn commit(&mut self) -> Result<(), WorkerError> {
        let ready = self.ready.take().ok_or(WorkerError::Gone)?;
        let Ready {
            generation,
            shared,
            vms,
            listeners,
            sockets,
        } = ready;
        // What can fail comes first.
        let mut opened = HashMap::new();
        for (key, sockets) in sockets {
            let sockets = sockets.into_iter().map(SocketListener::listen);
            opened.insert(key, sockets.collect::<io::Result<Vec<_>>>()?);
        }
        if let Some(latest) = &self.latest {
            latest.set_serving(Rc::clone(&shared));
        }
        vms.iter().for_each(|vm| vm.promote());
        let mut retired = Vec::new();
        let kept: Vec<_> = listeners.iter().map(|ready| ready.key.clone()).collect();
        for ReadyListener {
            key,
            entrance,
            chains,
        } in listeners
        {
            for (slot, listener) in entrance.slots.iter().zip(chains) {
                slot.serve(Served {
                    listener,
                    shared: Rc::clone(&shared),
                });
            }
            if let Some((acceptor, _)) = self.acceptors.get(&key) {
                let before = acceptor.entrance.replace(Rc::clone(&entrance));
                let goes_on = |slot: &&Rc<Slot>| {
                    let mut slots = entrance.slots.iter();
                    slots.any(|new| Rc::ptr_eq(new, slot))
                };
                for slot in before.slots.iter().filter(|slot| !goes_on(slot)) {
                    slot.retire();
                    retired.push(Rc::downgrade(slot));
                }
            } else if let Some(sockets) = opened.remove(&key) {
                let acceptor = Rc::new(Acceptor {
                    entrance: RefCell::new(entrance),
                    closing: watch::Sender::new(false),
                    sockets,
                });
                let accept = |place| {
                    let (acceptor, life) = (Rc::clone(&acceptor), Rc::clone(&self.life));
                    let directory = Rc::clone(&self.directory);
                    spawn_local(accept_loop(acceptor, place, life, directory))
                };
                let tasks = (0..acceptor.sockets.len()).map(accept).collect();
                self.acceptors.insert(key, (acceptor, tasks));
            }
        }
        let gone = self
            .acceptors
            .extract_if(|key, _| !kept.contains(key))
            .collect::<Vec<_>>();
        for (_, (acceptor, _)) in gone {
            acceptor.closing.send_replace(true);
            let entrance = acceptor.entrance.borrow();
            entrance.retire();
            retired.extend(entrance.slots.iter().map(Rc::downgrade));
        }
        self.list_acceptors();
        spawn_local(equip(vms.iter().map(Rc::downgrade).collect()));
        let serving = Serving {
            generation,
            shared,
            vms,
        };
        self.generations.borrow_mut().replace(serving, retired);
        Ok(())
    }

    fn close(&mut self, keys: &[ListenerKey]) {
        self.acceptors.retain(|key, (acceptor, _)| {
            let closes = keys.contains(key);
            acceptor.closing.send_if_modified(|closing| {
                *closing |= closes;
                closes
            });
            !closes
        });
        self.list_acceptors();
    }

    /// Has connections find the listeners that there are now.
    fn list_acceptors(&self) {
        let entrances = self.acceptors.values().map(|(acceptor, _)| {
            let entrance = acceptor.entrance.borrow();
            (entrance.address.clone(), Rc::clone(&entrance))
        });
        self.directory.replace(entrances.collect());
    }

    fn retire(&self, keys: &[ListenerKey]) {
        let ending = |(key, _): &(&ListenerKey, _)| keys.contains(key);
        for (_, (acceptor, _)) in self.acceptors.iter().filter(ending) {
            acceptor.entrance.borrow().retire();
        }
    }

    /// The sockets that connections are accepted from, for another process.
    fn share(&self) -> io::Result<Vec<(ListenerKey, Socket)>> {
        let mut shared = Vec::new();
        for (key, (acceptor, _)) in &self.acceptors {
            for socket in &acceptor.sockets {
                shared.push((key.clone(), SockRef::from(socket).try_clone()?));
            }
        }
        Ok(shared)
    }

    fn abort(&mut self) {
        if let Some(latest) = &self.latest {
            latest.set_coming(None);
        }
        if let Some(ready) = self.ready.take() {
            self.generations.borrow_mut().over.push(Serving {
                generation: ready.generation,
                shared: ready.shared,
                vms: ready.vms,
            });
        }
    }
}

impl Generations {
    /// The VM that serves `spec` now.
    fn vm(&self, spec: &Arc<FilterVmSpec>) -> Option<Rc<FilterVm>> {
        let vms = &self.current.as_ref()?.vms;
        vms.iter().find(|vm| vm.is_of(spec)).cloned()
    }

    /// Whether a generation that is not over uses `vm`.
    fn uses(&self, vm: &Rc<FilterVm>) -> bool {
        self.all()
            .flat_map(|g| &g.vms)
            .any(|other| Rc::ptr_eq(other, vm))
    }

    /// Those that are not over.
    fn all(&self) -> impl Iterator<Item = &Serving> {
        let retired = self.retired.iter().map(|retired| &retired.serving);
        self.current.iter().chain(retired)
    }

    /// `new` is served from now on. The one before ends with its streams and with
    /// connections to these `slots`.
    fn replace(&mut self, new: Serving, slots: Vec<Weak<Slot>>) {
        let old = self.current.replace(new);
        self.retired.extend(old.map(|serving| Retired {
            serving,
            since: Instant::now(),
            slots,
        }));
    }

    /// Ends what has been replaced and has no streams any more, or has had them for
    /// long enough: it is over when its VMs have ended.
    fn end_retired(&mut self, now: Instant) {
        for retired in &self.retired {
            if retired.has_had_long_enough(now) {
                retired.serving.shared.over.send_replace(true);
            }
        }
        let over = |retired: &mut Retired| retired.is_over(now);
        let ended = self.retired.extract_if(.., over);
        self.over.extend(ended.map(|retired| retired.serving));
    }

    /// Ends one VM of those that nobody needs any more; false if there is none.
    fn end_one(&mut self) -> bool {
        while let Some(over) = self.over.last_mut() {
            let Some(vm) = over.vms.pop() else {
                over.shared.cells.end();
                bury(self.over.pop().map(|over| over.generation));
                continue;
            };
            if !self.uses(&vm) {
                vm.stop();
                return true;
            }
        }
        false
    }

    fn look_after(&mut self) {
        if let Some(current) = &self.current {
            current.vms.iter().for_each(FilterVm::look_after);
        }
        self.end_retired(Instant::now());
        for serving in self.all() {
            let memory = serving.vms.iter().map(|vm| vm.memory()).sum();
            serving.shared.cells.publish(serving.vms.len(), memory);
        }
    }

    fn stop(&mut self) {
        let retired = self.retired.drain(..).map(|retired| retired.serving);
        let over = self.over.drain(..);
        for serving in self.current.take().into_iter().chain(retired).chain(over) {
            serving.vms.iter().for_each(|vm| vm.stop());
        }
    }
}

/// Looks after the worker's VMs and generations, now and then.
async fn look_after(generations: Rc<RefCell<Generations>>) {
    loop {
        generations.borrow_mut().look_after();
        let mut pace = Pace::default();
        while pace.time(|| generations.borrow_mut().end_one()) {
            pace.keep().await;
        }
        sleep(VM_CARE_INTERVAL).await;
    }
}

/// Frees a generation, and with it the code of its filters, where requests do not wait
/// for that.
fn bury(generation: Option<Arc<Generation>>) {
    tokio::task::spawn_blocking(|| drop(generation));
}

/// Makes the spares that these VMs want.
async fn equip(vms: Vec<Weak<FilterVm>>) {
    let mut pace = Pace::default();
    for vm in vms {
        pace.keep().await;
        if let Some(vm) = vm.upgrade() {
            pace.time(|| vm.equip());
        }
    }
}
