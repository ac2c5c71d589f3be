//! [`VmState`]: what the host functions of one VM share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::callout::Callouts;
use crate::connection::ConnectionContext;
use crate::context::Context;
use crate::engine::{Entry, HostTrap, State};
use crate::host::{Host, LocalResponse, Metric, Origin};
use crate::limits::{LAST_WORDS_MAX, SHARED_QUEUES};
use crate::meter::{Meter, Tally};
use crate::plugin::Root;
use crate::stream::StreamContext;
use crate::types::{AbiVersion, ContextId, Direction, LogLevel};
use crate::vm::VmConfig;
use crate::vm_limits::Limit;
use crate::watch::Watch;

/// What must wait until the guest has returned.
pub(crate) enum AfterCall {
    Continue(Rc<StreamContext>, Direction),
    Close(Rc<StreamContext>),
    LocalResponse(Rc<StreamContext>, LocalResponse),
    ContinueReading(Rc<ConnectionContext>),
    CloseConnection(Rc<ConnectionContext>),
    RootDone(Rc<Root>),
}

impl AfterCall {
    /// What waits already for the context that it is about, and its own bit there.
    fn asked(&self) -> Option<(&Cell<u8>, u8)> {
        match self {
            Self::Continue(cx, Direction::Request) => Some((&cx.asked, 1)),
            Self::Continue(cx, Direction::Response) => Some((&cx.asked, 1 << 1)),
            Self::Close(cx) => Some((&cx.asked, 1 << 2)),
            Self::LocalResponse(cx, _) => Some((&cx.asked, 1 << 3)),
            Self::ContinueReading(cx) => Some((&cx.asked, 1)),
            Self::CloseConnection(cx) => Some((&cx.asked, 1 << 1)),
            Self::RootDone(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In the start section or a start function: no context exists.
    Starting,
    /// In a callback.
    Running,
    /// In the allocator, on behalf of a hostcall.
    Allocating,
}

/// The numbers of contexts.
#[derive(Default)]
struct Numbers {
    last: Cell<u32>,
    /// Whether they have begun anew, so that the next one may be in use.
    begun_anew: Cell<bool>,
}

impl Numbers {
    fn next(&self, is_used: impl Fn(u32) -> bool) -> u32 {
        let mut number = self.last.get();
        loop {
            number = number.checked_add(1).unwrap_or_else(|| {
                self.begun_anew.set(true);
                1
            });
            if !self.begun_anew.get() || !is_used(number) {
                self.last.set(number);
                return number;
            }
        }
    }
}

/// What the host functions of one VM share.
pub(crate) struct VmState {
    pub(crate) abi: AbiVersion,
    pub(crate) config: VmConfig,
    pub(crate) host: Rc<dyn Host>,
    pub(crate) watch: Option<Rc<dyn Watch>>,
    pub(crate) phase: Cell<Phase>,
    contexts: RefCell<FxHashMap<ContextId, Context>>,
    /// The one made or looked up last: mostly that of the next callback.
    recent: RefCell<Option<Context>>,
    numbers: Numbers,
    /// The context of the guest call under way.
    current: RefCell<Option<Context>>,
    /// The context that the guest chose for its hostcalls instead.
    effective: RefCell<Option<Context>>,
    after_call: RefCell<VecDeque<AfterCall>>,
    /// Whether the guest has left something behind since it was entered: an effective
    /// context, something that waits, words at level error, or a callout.
    touched: Cell<bool>,
    /// The metrics that the guest has defined, by kind and in order.
    pub(crate) metrics: RefCell<[Vec<Rc<dyn Metric>>; 3]>,
    /// How many of each kind there were when the VM was kept.
    kept_metrics: Cell<[usize; 3]>,
    pub(crate) callouts: Callouts,
    pub(crate) tally: Tally,
    /// Streams that have come to their end.
    pub(crate) completed: Cell<u64>,
    /// Queues that a root context has registered while the host had no consumer
    /// for it.
    waiting_queues: RefCell<Vec<(ContextId, Bytes)>>,
    /// What the guest has logged last in the call under way, at level error or
    /// above.
    last_words: RefCell<String>,
}

impl VmState {
    pub(crate) fn new(abi: AbiVersion, config: VmConfig, host: Rc<dyn Host>) -> Self {
        Self {
            abi,
            config,
            watch: host.watch(),
            host,
            phase: Cell::new(Phase::Starting),
            contexts: RefCell::default(),
            recent: RefCell::default(),
            numbers: Numbers::default(),
            current: RefCell::default(),
            effective: RefCell::default(),
            after_call: RefCell::default(),
            touched: Cell::new(false),
            metrics: RefCell::default(),
            kept_metrics: Cell::default(),
            callouts: Callouts::default(),
            tally: Tally::default(),
            completed: Cell::new(0),
            waiting_queues: RefCell::default(),
            last_words: RefCell::default(),
        }
    }

    /// The next free context number. Numbers count up and are not reused while
    /// live, also after a wrap.
    pub(crate) fn new_id(&self) -> ContextId {
        let is_live = |id| self.contexts.borrow().contains_key(&ContextId(id));
        ContextId(self.numbers.next(is_live))
    }

    pub(crate) fn insert(&self, context: Context) {
        context.count(|meter, kind| meter.context_created(kind));
        self.recent.replace(Some(context.clone()));
        self.contexts.borrow_mut().insert(context.id(), context);
    }

    pub(crate) fn remove(&self, id: ContextId) {
        // Dropped when the map is free again: it may hold the last reference to
        // a stream, whose own drop is not ours to know.
        let recent = self.recent.take();
        let removed = self.contexts.borrow_mut().remove(&id);
        if let Some(context) = &removed {
            context.count(|meter, kind| meter.context_deleted(kind));
        }
        drop((recent, removed));
    }

    pub(crate) fn get(&self, id: ContextId) -> Option<Context> {
        self.contexts.borrow().get(&id).cloned()
    }

    /// The same, for a context that is asked for several times in a row.
    pub(crate) fn get_again(&self, id: ContextId) -> Option<Context> {
        let recent = self.recent.borrow();
        if recent.as_ref().is_some_and(|context| context.id() == id) {
            return recent.clone();
        }
        drop(recent);
        let found = self.get(id);
        // What was there before is dropped when the place is free again.
        self.recent.replace(found.clone());
        found
    }

    /// Number of contexts of streams and connections alive.
    pub(crate) fn active_streams(&self) -> usize {
        let contexts = self.contexts.borrow();
        let contexts = contexts.values();
        contexts.filter(|c| !matches!(c, Context::Root(_))).count()
    }

    /// Keeps what there is of metrics and plugins, for [`Self::restore`].
    pub(crate) fn keep(&self) {
        let metrics = self.metrics.borrow();
        self.kept_metrics.set(metrics.each_ref().map(Vec::len));
        let contexts = self.contexts.borrow();
        contexts.values().for_each(|context| context.root().keep());
    }

    /// Forgets all but what was kept.
    pub(crate) fn restore(&self) {
        self.callouts.clear();
        self.after_call.take();
        self.last_words.take();
        for (of_kind, kept) in (self.metrics.borrow_mut().iter_mut()).zip(self.kept_metrics.get()) {
            of_kind.truncate(kept);
        }
        let contexts = self.contexts.borrow();
        contexts
            .values()
            .for_each(|context| context.root().restore());
    }

    pub(crate) fn clear(&self) {
        let recent = self.recent.take();
        let contexts = self.contexts.take();
        for context in contexts.values() {
            context.count(|meter, kind| meter.context_deleted(kind));
        }
        let after_call = self.after_call.take();
        self.callouts.clear();
        drop((recent, contexts, after_call));
    }

    pub(crate) fn enter(&self, context: Context) {
        if self.touched.get() {
            self.last_words.borrow_mut().clear();
            self.effective.take();
            self.callouts.enter();
            self.touched.set(!self.after_call.borrow().is_empty());
        }
        self.current.replace(Some(context));
    }

    /// Whether there is nothing to be dealt with, or forgotten, before another call.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.touched.get()
    }

    /// The guest leaves something behind.
    pub(crate) fn touch(&self) {
        self.touched.set(true);
    }

    /// Has `meter` count the hostcalls of the calls that have just returned.
    pub(crate) fn drain_tally(&self, meter: &dyn Meter) {
        let count = |hostcall, count| meter.hostcalls(hostcall, count);
        self.tally.drain(count);
    }

    pub(crate) fn leave(&self) {
        self.current.take();
        if !self.is_untouched() {
            self.effective.take();
        }
    }

    /// The context that the guest was called for.
    pub(crate) fn current(&self) -> Option<Context> {
        self.current.borrow().clone()
    }

    /// What `f` makes of the context that hostcalls act on: the effective one if set and
    /// still alive, else the one the guest was called for.
    fn with_context<R>(&self, f: impl FnOnce(&Context) -> R) -> Option<R> {
        let effective = self.effective.borrow();
        if let Some(context) = &*effective {
            return Some(f(context));
        }
        self.current.borrow().as_ref().map(f)
    }

    /// The context that hostcalls act on.
    pub(crate) fn context(&self) -> Option<Context> {
        self.with_context(Context::clone)
    }

    /// The stream that hostcalls act on, if they act on one.
    pub(crate) fn stream(&self) -> Option<Rc<StreamContext>> {
        self.with_context(|context| context.stream().cloned())?
    }

    /// The connection that hostcalls act on, if they act on one.
    pub(crate) fn connection(&self) -> Option<Rc<ConnectionContext>> {
        self.with_context(|context| context.connection().cloned())?
    }

    /// The root context that hostcalls act on.
    pub(crate) fn root(&self) -> Option<Rc<Root>> {
        self.with_context(|context| Rc::clone(context.root()))
    }

    /// Makes hostcalls act on the context `id` until the guest returns; the VM's
    /// own number stands for the context the guest was called for. False when
    /// there is no such context.
    pub(crate) fn set_effective(&self, id: ContextId) -> bool {
        let context = self.get(id);
        let found = context.is_some() || id == ContextId::VM;
        if found {
            self.touch();
            *self.effective.borrow_mut() = context;
        }
        found
    }

    /// Queues what must wait until the guest has returned. What waits already for
    /// a context is not queued once more, so that the queue is bounded by the number
    /// of contexts. Of several local responses the first and the last are kept:
    /// one is sent, and the other's details are told.
    pub(crate) fn queue(&self, action: AfterCall) {
        self.touch();
        let is_new = |(asked, what): (&Cell<u8>, u8)| asked.replace(asked.get() | what) & what == 0;
        if action.asked().is_none_or(is_new) {
            self.after_call.borrow_mut().push_back(action);
        } else if let AfterCall::LocalResponse(cx, response) = action {
            cx.last_response.replace(Some(response));
        }
    }

    pub(crate) fn next_after_call(&self) -> Option<AfterCall> {
        let action = self.after_call.borrow_mut().pop_front()?;
        if let Some((asked, what)) = action.asked() {
            asked.set(asked.get() & !what);
        }
        Some(action)
    }

    /// A root context has registered a queue, and the host has nobody to be told
    /// of its items.
    pub(crate) fn not_yet_told_of(&self, root: ContextId, queue: &Bytes) {
        let mut waiting = self.waiting_queues.borrow_mut();
        let known = |(of, name): &(ContextId, Bytes)| *of == root && name == queue;
        if waiting.len() < SHARED_QUEUES && !waiting.iter().any(known) {
            waiting.push((root, queue.clone()));
        }
    }

    /// Has root contexts told of the queues that they have registered while the host had
    /// no consumer for them.
    pub(crate) fn consume_queues(&self) {
        for (root, queue) in self.waiting_queues.take() {
            let consumer = self.host.queue_consumer(root);
            // It exists: there is no room to be missed.
            let _ = self.config.shared.register_queue(&queue, consumer);
        }
    }

    /// Logs what the guest says.
    pub(crate) fn say(&self, level: LogLevel, mut message: &[u8]) {
        if let Some(beginning) = message.get(..self.config.limits.log_line_bytes) {
            if beginning.len() < message.len() {
                self.limit_reached(Limit::LogLineBytes);
            }
            message = beginning;
        }
        if level >= LogLevel::Error {
            let kept = &message[..message.len().min(LAST_WORDS_MAX)];
            self.touch();
            let mut last_words = self.last_words.borrow_mut();
            last_words.clear();
            last_words.push_str(&String::from_utf8_lossy(kept));
        }
        self.with_origin(|origin| self.host.log(origin, level, message));
    }

    /// Tells the host that the guest wanted more of something than it may have.
    pub(crate) fn limit_reached(&self, limit: Limit) {
        self.with_origin(|origin| self.host.limit_reached(origin, limit));
    }

    pub(crate) fn take_last_words(&self) -> Option<String> {
        Some(self.last_words.take()).filter(|words| !words.is_empty())
    }

    /// Whose name a log line of the current call carries.
    pub(crate) fn with_origin<R>(&self, f: impl FnOnce(Origin<'_>) -> R) -> R {
        let context = self.context();
        f(self.origin_of(context.as_ref()))
    }

    pub(crate) fn origin_of<'a>(&'a self, context: Option<&'a Context>) -> Origin<'a> {
        let plugin = context.map(|c| &c.root().plugin);
        Origin {
            plugin: plugin.map_or("", |p| &p.name),
            root_id: plugin.map_or("", |p| &p.root_id),
            vm_id: &self.config.vm_id,
            context: context.map_or(ContextId::VM, Context::id),
        }
    }
}

impl Drop for VmState {
    /// Also when a VM is dropped with contexts in it, they are counted as gone.
    fn drop(&mut self) {
        self.clear();
    }
}

impl State for VmState {
    fn admit(&self, entry: Entry) -> Result<(), HostTrap> {
        if entry.anytime || self.phase.get() == Phase::Running {
            self.tally.count(entry.number);
            Ok(())
        } else {
            Err(HostTrap::Restricted(entry.name))
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.config.capabilities.allow(name)
    }

    fn watch(&self) -> Option<&Rc<dyn Watch>> {
        self.watch.as_ref()
    }

    fn denied(&self, name: &'static str) {
        self.with_origin(|origin| self.host.denied(origin, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_use_are_left_out_when_they_begin_anew() {
        let numbers = Numbers::default();
        let is_used = |number| number == 2;
        assert_eq!([(); 3].map(|()| numbers.next(|_| false)), [1, 2, 3]);
        numbers.last.set(u32::MAX - 1);
        assert_eq!([(); 3].map(|()| numbers.next(is_used)), [u32::MAX, 1, 3]);
        assert_eq!(numbers.next(is_used), 4);
    }
}
