//! [`Vm`]: one running instance of a module, and the guard around every call
//! into it.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::callbacks::Callbacks;
use crate::capabilities::Capabilities;
use crate::engine::{GuestArgs, GuestTrap, Instance, InstanceLimits, Results};
use crate::failure::Failure;
use crate::host::Host;
use crate::imports;
use crate::module::{LoadError, Module};
use crate::shared::Space;
use crate::types::ContextId;
use crate::vm_limits::VmLimits;
use crate::vm_state::{Phase, VmState};

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
        self.state.active_streams()
    }

    /// Has root contexts told of the queues that they have registered while the
    /// host had no consumer for them.
    pub fn consume_queues(&self) {
        self.state.consume_queues();
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
            self.state.keep();
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
        if restored {
            self.state.restore();
        }
        restored
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
