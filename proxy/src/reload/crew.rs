//! [`Crew`]: the workers, and having them serve one generation after the other.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use socket2::Socket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::sockets::{SocketFiles, Sockets};
use super::takeover::Role;
use crate::cluster::{Clusters, start_clusters};
use crate::generation::{Drain, Generation, ListenerKey, ListenerSpec};
use crate::rollout::{self, RolloutState, Rollouts};
use crate::socket::SocketFile;
use crate::tap::{self, Told};
use crate::telemetry::Generations;
use crate::worker::{Order, Rollout, WorkerError};

use super::{Bound, Configuration, Draining, Served};

/// The workers, and the generation that they serve.
pub(super) struct Crew {
    pub(super) orders: Vec<mpsc::UnboundedSender<Order>>,
    pub(super) generations: Arc<Generations>,
    pub(super) rollouts: Rollouts,
    pub(super) clusters: Clusters,
    pub(super) served: Served,
    pub(super) drain_times: watch::Sender<Drain>,
    pub(super) current: Option<Arc<Generation>>,
    /// Listeners were told to end: a reload would open them again.
    pub(super) is_drained: bool,
    /// Of the listeners that there are, as far as this process serves them.
    pub(super) files: Arc<Mutex<SocketFiles>>,
}

/// Sockets' files, for who changes them.
pub(super) fn locked(files: &Mutex<SocketFiles>) -> MutexGuard<'_, SocketFiles> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    /// Every socket that workers accept connections from.
    pub(super) async fn sockets(&self) -> io::Result<Vec<(Role, Socket)>> {
        let mut all = Vec::new();
        for orders in &self.orders {
            let (reply, replied) = oneshot::channel();
            let order = Order::Share(reply);
            orders.send(order).map_err(io::Error::other)?;
            let sockets = replied.await.map_err(io::Error::other)??;
            let listener = |(key, socket)| (Role::Listener(key), socket);
            all.extend(sockets.into_iter().map(listener));
        }
        Ok(all)
    }

    /// Has all workers serve a generation, or none.
    pub(super) async fn roll_out(&mut self, bound: Bound) -> Result<(), WorkerError> {
        let Bound {
            config,
            generation,
            sockets,
            access_logs,
        } = bound;
        let generation = Arc::new(generation);
        let all_cells = Generations::cells(self.orders.len());
        let mut replies = Vec::with_capacity(self.orders.len());
        let Sockets { workers, files } = sockets;
        let each = self.orders.iter().zip(workers).zip(&all_cells);
        for ((orders, sockets), cells) in each {
            let (reply, replied) = oneshot::channel();
            let rollout = Rollout {
                generation: Arc::clone(&generation),
                sockets,
                access_logs: access_logs.clone(),
                cells: Arc::clone(cells),
            };
            let order = Order::Prepare(rollout, reply);
            orders.send(order).map_err(|_| WorkerError::Gone)?;
            replies.push(replied);
        }
        let mut ready = all(replies).await;
        if ready.is_ok() {
            let clusters = generation.new_clusters(self.current.as_deref());
            let started = start_clusters(&clusters).await;
            ready = started.map_err(WorkerError::from);
        }
        if let Err(error) = ready {
            for orders in &self.orders {
                // One that has gone has nothing to forget.
                let _ = orders.send(Order::Abort);
            }
            return Err(error);
        }
        let mut replies = Vec::with_capacity(self.orders.len());
        for orders in &self.orders {
            let (reply, replied) = oneshot::channel();
            let order = Order::Commit(reply);
            orders.send(order).map_err(|_| WorkerError::Gone)?;
            replies.push(replied);
        }
        all(replies).await?;
        self.keep_files(files, &generation);
        let workers = self.orders.len();
        let before = self.current.as_deref().into_iter();
        let known: Vec<_> = before.flat_map(Generation::addresses).collect();
        for (name, address) in generation.addresses().filter(|new| !known.contains(new)) {
            tracing::info!(listener = name, %address, workers, "listening");
            if let Some(tap) = tap::installed() {
                tap.tell(Told::Listening(name.to_owned(), address.to_string()));
            }
        }
        self.clusters.store(Arc::new(generation.clusters.clone()));
        let rollouts: Vec<_> = generation.rollouts().map(Arc::clone).collect();
        let before = self.rollouts.all();
        let goes_on = |new: &&Arc<RolloutState>| before.iter().any(|old| Arc::ptr_eq(old, new));
        let new = rollouts.iter().filter(|rollout| !goes_on(rollout));
        new.for_each(rollout::watch);
        self.rollouts.set(rollouts);
        self.drain_times.send_replace(generation.drain);
        self.generations.serve(&generation, all_cells);
        self.generations
            .show_certificates(generation.certificates());
        self.served.store(Some(Arc::new(Configuration {
            config,
            generation: Arc::clone(&generation),
            since: SystemTime::now(),
        })));
        self.current = Some(generation);
        Ok(())
    }

    /// Takes over the files of the listeners that are new; those of listeners that there
    /// are no more go.
    pub(super) fn keep_files(&self, new: SocketFiles, generation: &Generation) {
        let mut files = locked(&self.files);
        files.extend(new);
        files.retain(|key, _| generation.bound.contains_key(key));
        let before = self.current.as_deref();
        let before = |key: &ListenerKey| before?.listeners.iter().find(|l| l.key() == *key);
        for listener in &generation.listeners {
            let key = listener.key();
            let was = before(&key).and_then(|before| before.mode);
            if let (Some(file), Some(mode)) = (files.get(&key), listener.mode)
                && was != Some(mode)
                && let Err(error) = file.set_mode(mode)
            {
                let name = listener.name.as_str();
                tracing::error!(listener = name, "cannot set the mode: {error}");
            }
        }
    }

    /// The process before has left its files to this one.
    pub(super) fn adopt_files(&self) {
        let Some(generation) = &self.current else {
            return;
        };
        let mut files = locked(&self.files);
        for listener in generation.listeners.iter().filter(|l| l.is_bound) {
            let key = listener.key();
            let path = listener.address.unix().and_then(|name| name.path());
            if let Some(path) = path.filter(|_| !files.contains_key(&key)) {
                let file = SocketFile::adopt(Path::new(path), listener.mode);
                files.extend(file.map(|file| (key, file)));
            }
        }
    }

    /// Has listeners end; which ones.
    pub(super) fn drain_listeners(&mut self, draining: Draining) -> String {
        let Some(generation) = &self.current else {
            return "there are no listeners".to_owned();
        };
        let listeners = generation.listeners.iter();
        let ends = |l: &&ListenerSpec| {
            !draining.inbound_only || l.direction == weir_config::Direction::Inbound
        };
        let (names, keys): (Vec<_>, Vec<_>) = listeners
            .filter(ends)
            .map(|listener| (listener.name.clone(), listener.key()))
            .unzip();
        if keys.is_empty() {
            return "no listener is for inbound traffic".to_owned();
        }
        self.is_drained = true;
        let names = names.join(", ");
        let files = Arc::clone(&self.files);
        let close = move |orders: &[mpsc::UnboundedSender<Order>], keys: &[ListenerKey]| {
            for orders in orders {
                // A worker that has gone accepts nothing.
                let _ = orders.send(Order::Close(keys.to_vec()));
            }
            locked(&files).retain(|key, _| !keys.contains(key));
        };
        if !draining.graceful {
            close(&self.orders, &keys);
            tracing::info!(listeners = names, "closed");
            return format!("closed {names}");
        }
        for orders in &self.orders {
            let _ = orders.send(Order::Retire(keys.clone()));
        }
        if draining.skip_exit {
            tracing::info!(listeners = names, "draining without an end");
            return format!("draining {names}, which stay open");
        }
        let (timeout, orders) = (generation.drain.timeout, self.orders.clone());
        tracing::info!(listeners = names, ?timeout, "draining");
        let report = format!("draining {names}, which close in {timeout:?}");
        tokio::spawn(async move {
            sleep(timeout).await;
            close(&orders, &keys);
            tracing::info!(listeners = names, "closed");
        });
        report
    }
}

async fn all(replies: Vec<oneshot::Receiver<Result<(), WorkerError>>>) -> Result<(), WorkerError> {
    // All of them are waited for: what follows must not meet one that is at it.
    let mut result = Ok(());
    for reply in replies {
        let reply = reply.await.unwrap_or(Err(WorkerError::Gone));
        result = result.and(reply);
    }
    result
}
