//! [`Vm`]: one running instance of a module, and the guard around every call
//! into it.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::callbacks::Callbacks;
use crate::callout::Callouts;
use crate::capabilities::Capabilities;
use crate::connection::ConnectionContext;
use crate::engine::{
    Entry, GuestArgs, GuestTrap, HostTrap, Instance, InstanceLimits, Results, State,
};
use crate::failure::Failure;
use crate::host::{Host, LocalResponse, Metric, Origin};
use crate::imports;
use crate::limits::{LAST_WORDS_MAX, SHARED_QUEUES};
use crate::meter::{ContextKind, Meter, Tally};
use crate::module::{LoadError, Module};
use crate::plugin::Root;
use crate::shared::Space;
use crate::stream::StreamContext;
use crate::types::{AbiVersion, ContextId, Direction, LogLevel};
use crate::vm_limits::{Limit, VmLimits};
use crate::watch::Watch;

/// What a VM is started with.
#[derive(Debug, Clone, Default)]
pub struct VmConfig {
    /// `vm_id`: names the VM to its guests.
    pub vm_id: String,
    /// Opaque bytes that `proxy_on_vm_start` may read.
    pub configuration: Bytes,
    /// Environment variables that WASI shows, and no others.
    pub environment: Vec<(String, String)>,
    /// What it may call, and be called by.
    pub capabilities: Capabilities,
    /// What it shares with the other VMs of its `vm_id`.
    pub shared: Arc<Space>,
    /// What it may take.
    pub limits: VmLimits,
}

/// The VM cannot take a call: it has failed, or a guest call is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the VM takes no calls any more")]
pub struct VmFailed;

/// One instance of a module with its root and stream contexts.
///
/// Belongs to one thread. Guest calls never nest: a hostcall that must lead to
/// another guest call, or changes the state of a stream, is queued and carried
/// out when the guest has returned. After a trap the instance is freed at once
/// and every further call answers [`VmFailed`].
pub struct Vm {
    pub(crate) state: Rc<VmState>,
    pub(crate) callbacks: Callbacks,
    pub(crate) instance: RefCell<Option<Instance>>,
    pub(crate) failure: OnceCell<Failure>,
}

impl Vm {
    /// Instantiates `module` and runs its start functions: `_initialize` and
    /// then `main`, or else `_start`.
    ///
    /// # Errors
    /// [`LoadError::Start`] when one of them traps, [`LoadError::Memory`] when the
    /// module asks for more than it may have.
    pub fn new(module: &Module, config: VmConfig, host: Rc<dyn Host>) -> Result<Self, LoadError> {
        let VmLimits { memory, start, .. } = config.limits;
        let declared = module.compiled.initial_memory();
        if declared > memory {
            return Err(LoadError::Memory {
                declared,
                limit: memory,
            });
        }
        let state = Rc::new(VmState::new(module.abi(), config, host));
        let start_failed = |callback, trap: GuestTrap| {
            LoadError::Start(Failure {
                reason: trap.reason,
                callback,
                context: ContextId::VM,
                message: trap.message,
                backtrace: trap.backtrace,
                last_words: state.take_last_words(),
            })
        };
        let compiled = &module.compiled;
        let limits = InstanceLimits { memory, start };
        let mut instance =
            Instance::new(compiled, Rc::clone(&state), imports::host_function, limits)
                .map_err(|trap| start_failed("instantiation", trap))?;
        let callbacks = Callbacks::of(&mut instance, module.abi(), &state.config.capabilities);
        run_start_functions(&mut instance, &state, start)
            .map_err(|(name, trap)| start_failed(name, trap))?;
        // These were made for no plugin.
        state.tally.drain(|_, _| {});
        state.phase.set(Phase::Running);
        Ok(Self {
            state,
            callbacks,
            instance: RefCell::new(Some(instance)),
            failure: OnceCell::new(),
        })
    }

    /// What ended this VM, once it has failed.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    /// Number of contexts of streams and connections alive.
    #[must_use]
    pub fn active_streams(&self) -> usize {
        let contexts = self.state.contexts.borrow();
        let contexts = contexts.values();
        contexts.filter(|c| !matches!(c, Context::Root(_))).count()
    }

    /// Has root contexts told of the queues that they have registered while the
    /// host had no consumer for them.
    pub fn consume_queues(&self) {
        let state = &self.state;
        for (root, queue) in state.waiting_queues.take() {
            let consumer = state.host.queue_consumer(root);
            // It exists: there is no room to be missed.
            let _ = state.config.shared.register_queue(&queue, consumer);
        }
    }

    /// Number of streams and connections that have come to their end in this VM.
    #[must_use]
    pub fn completed_streams(&self) -> u64 {
        self.state.completed.get()
    }

    /// Number of callouts under way.
    #[must_use]
    pub fn active_callouts(&self) -> usize {
        self.state.callouts.len()
    }

    /// Bytes of guest memory; 0 once the VM has failed.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.instance
            .try_borrow()
            .ok()
            .and_then(|i| i.as_ref().map(Instance::memory_size))
            .unwrap_or(0)
    }

    /// Whether the VM can still take calls.
    pub(crate) fn alive(&self) -> Result<(), VmFailed> {
        match self.instance.try_borrow() {
            Ok(instance) if instance.is_some() => Ok(()),
            _ => Err(VmFailed),
        }
    }

    /// Keeps what the VM is like now, its plugins started, for [`Vm::restore`].
    /// False when it cannot be made so again, as the module changes tables or
    /// segments, or has several memories.
    pub fn keep(&self) -> bool {
        let instance = self.instance.try_borrow_mut();
        let kept = instance.is_ok_and(|mut i| i.as_mut().is_some_and(Instance::keep));
        if kept {
            let metrics = self.state.metrics.borrow();
            self.state
                .kept_metrics
                .set(metrics.each_ref().map(Vec::len));
            let contexts = self.state.contexts.borrow();
            contexts.values().for_each(|context| context.root().keep());
        }
        kept
    }

    /// Makes the VM what it was when it was kept: the guest has forgotten all that
    /// it has seen since. Callouts under way are cancelled. False when that cannot
    /// be done: the VM has failed, was not kept, or has streams.
    pub fn restore(&self) -> bool {
        if self.active_streams() > 0 || self.failure().is_some() {
            return false;
        }
        let instance = self.instance.try_borrow_mut();
        let restored = instance.is_ok_and(|mut i| i.as_mut().is_some_and(Instance::restore));
        if !restored {
            return false;
        }
        let state = &self.state;
        state.callouts.clear();
        state.after_call.take();
        state.last_words.take();
        for (of_kind, kept) in (state.metrics.borrow_mut().iter_mut()).zip(state.kept_metrics.get())
        {
            of_kind.truncate(kept);
        }
        let contexts = state.contexts.borrow();
        contexts
            .values()
            .for_each(|context| context.root().restore());
        true
    }

    /// Frees the instance without another guest call. Further calls answer
    /// [`VmFailed`].
    pub fn discard(&self) {
        if let Ok(mut instance) = self.instance.try_borrow_mut() {
            instance.take();
        }
        self.state.clear();
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm")
            .field("vm_id", &self.state.config.vm_id)
            .field("failure", &self.failure.get())
            .finish_non_exhaustive()
    }
}

/// `_initialize` and then `main` or `__main_void`; without it, `_start`.
/// A `proc_exit(0)` at the end of `main` is how some toolchains return.
fn run_start_functions(
    instance: &mut Instance,
    state: &VmState,
    limit: Duration,
) -> Result<(), (&'static str, GuestTrap)> {
    let start = Start { state, limit };
    let Some(result) = start.run::<(), ()>(instance, "_initialize", ()) else {
        return start
            .run::<(), ()>(instance, "_start", ())
            .unwrap_or(Ok(()));
    };
    result?;
    start
        .run::<(u32, u32), u32>(instance, "main", (0, 0))
        .or_else(|| start.run::<(), u32>(instance, "__main_void", ()))
        .unwrap_or(Ok(()))
}

/// How start functions are run.
struct Start<'a> {
    state: &'a VmState,
    limit: Duration,
}

impl Start<'_> {
    /// Runs the export `name`; `None` when there is none of this type.
    fn run<A: GuestArgs, R: Results>(
        &self,
        instance: &mut Instance,
        name: &'static str,
        args: A,
    ) -> Option<Result<(), (&'static str, GuestTrap)>> {
        let function = instance.function::<A, R>(name)?;
        let turn = function.turn(name, args);
        let watch = self.state.watch.as_ref();
        if let Some(watch) = watch {
            watch.called(ContextId::VM, name, turn.arguments());
        }
        let (_, result) = instance.call(slice::from_ref(&turn), self.limit, &|_| false);
        if let Some(watch) = watch {
            let answer = turn.answer().filter(|_| result.is_ok());
            watch.returned(ContextId::VM, name, answer);
        }
        Some(finished(name, result))
    }
}

fn finished(
    name: &'static str,
    result: Result<(), Box<GuestTrap>>,
) -> Result<(), (&'static str, GuestTrap)> {
    match result {
        Err(trap) if trap.reason != crate::failure::Reason::Exit(0) => Err((name, *trap)),
        _ => Ok(()),
    }
}

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

/// A live context of a VM.
#[derive(Clone)]
pub(crate) enum Context {
    Root(Rc<Root>),
    Stream(Rc<StreamContext>),
    Connection(Rc<ConnectionContext>),
}

impl Context {
    pub(crate) fn id(&self) -> ContextId {
        match self {
            Self::Root(root) => root.id,
            Self::Stream(stream) => stream.id,
            Self::Connection(connection) => connection.id,
        }
    }

    pub(crate) fn root(&self) -> &Rc<Root> {
        match self {
            Self::Root(root) => root,
            Self::Stream(stream) => &stream.root,
            Self::Connection(connection) => &connection.root,
        }
    }

    /// Has the meter of its plugin count that it has come or gone.
    fn count(&self, count: impl FnOnce(&dyn Meter, ContextKind)) {
        let kind = match self {
            Self::Root(_) => ContextKind::Root,
            Self::Stream(_) | Self::Connection(_) => ContextKind::Stream,
        };
        if let Some(meter) = &self.root().meter {
            count(&**meter, kind);
        }
    }

    /// Whether it is a plugin that is being started.
    pub(crate) fn is_starting(&self) -> bool {
        matches!(self, Self::Root(root) if root.is_starting())
    }

    /// Time that the callbacks of its stream or connection have taken, as far as
    /// that is limited.
    pub(crate) fn spent(&self) -> Option<&Cell<Duration>> {
        match self {
            Self::Root(_) => None,
            Self::Stream(stream) => Some(&stream.spent),
            Self::Connection(connection) => Some(&connection.spent),
        }
    }

    pub(crate) fn stream(&self) -> Option<&Rc<StreamContext>> {
        match self {
            Self::Root(_) | Self::Connection(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }

    pub(crate) fn connection(&self) -> Option<&Rc<ConnectionContext>> {
        match self {
            Self::Root(_) | Self::Stream(_) => None,
            Self::Connection(connection) => Some(connection),
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

/// What the host functions of one VM share.
pub(crate) struct VmState {
    pub(crate) abi: AbiVersion,
    pub(crate) config: VmConfig,
    pub(crate) host: Rc<dyn Host>,
    pub(crate) watch: Option<Rc<dyn Watch>>,
    pub(crate) phase: Cell<Phase>,
    contexts: RefCell<FxHashMap<ContextId, Context>>,
    last_id: Cell<u32>,
    /// The context of the guest call under way.
    current: RefCell<Option<Context>>,
    /// The context that the guest chose for its hostcalls instead.
    effective: RefCell<Option<Context>>,
    after_call: RefCell<std::collections::VecDeque<AfterCall>>,
    /// The metrics that the guest has defined, by kind and in order.
    pub(crate) metrics: RefCell<[Vec<Rc<dyn Metric>>; 3]>,
    /// How many of each kind there were when the VM was kept.
    kept_metrics: Cell<[usize; 3]>,
    pub(crate) callouts: Callouts,
    tally: Tally,
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
    fn new(abi: AbiVersion, config: VmConfig, host: Rc<dyn Host>) -> Self {
        Self {
            abi,
            config,
            watch: host.watch(),
            host,
            phase: Cell::new(Phase::Starting),
            contexts: RefCell::default(),
            last_id: Cell::new(0),
            current: RefCell::default(),
            effective: RefCell::default(),
            after_call: RefCell::default(),
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
        let contexts = self.contexts.borrow();
        let mut id = self.last_id.get();
        loop {
            id = id.wrapping_add(1).max(1);
            if !contexts.contains_key(&ContextId(id)) {
                self.last_id.set(id);
                return ContextId(id);
            }
        }
    }

    pub(crate) fn insert(&self, context: Context) {
        context.count(|meter, kind| meter.context_created(kind));
        self.contexts.borrow_mut().insert(context.id(), context);
    }

    pub(crate) fn remove(&self, id: ContextId) {
        // Dropped when the map is free again: it may hold the last reference to
        // a stream, whose own drop is not ours to know.
        let removed = self.contexts.borrow_mut().remove(&id);
        if let Some(context) = &removed {
            context.count(|meter, kind| meter.context_deleted(kind));
        }
        drop(removed);
    }

    pub(crate) fn get(&self, id: ContextId) -> Option<Context> {
        self.contexts.borrow().get(&id).cloned()
    }

    pub(crate) fn clear(&self) {
        let contexts = self.contexts.take();
        for context in contexts.values() {
            context.count(|meter, kind| meter.context_deleted(kind));
        }
        let after_call = self.after_call.take();
        self.callouts.clear();
        drop((contexts, after_call));
    }

    pub(crate) fn enter(&self, context: Context) {
        self.last_words.borrow_mut().clear();
        *self.current.borrow_mut() = Some(context);
        *self.effective.borrow_mut() = None;
        self.callouts.enter();
    }

    /// Whether the guest, in the call under way, has left nothing behind that is to be
    /// dealt with, or forgotten, before another call.
    pub(crate) fn is_untouched(&self) -> bool {
        self.after_call.borrow().is_empty()
            && self.effective.borrow().is_none()
            && self.last_words.borrow().is_empty()
            && self.callouts.none_begun()
    }

    /// Has `meter` count the hostcalls of the calls that have just returned.
    pub(crate) fn drain_tally(&self, meter: &dyn Meter) {
        let count = |hostcall, count| meter.hostcalls(hostcall, count);
        self.tally.drain(count);
    }

    pub(crate) fn leave(&self) {
        *self.current.borrow_mut() = None;
        *self.effective.borrow_mut() = None;
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
            *self.effective.borrow_mut() = context;
        }
        found
    }

    /// Queues what must wait until the guest has returned. What waits already for
    /// a context is not queued once more, so that the queue is bounded by the number
    /// of contexts. Of several local responses the first and the last are kept:
    /// one is sent, and the other's details are told.
    pub(crate) fn queue(&self, action: AfterCall) {
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
