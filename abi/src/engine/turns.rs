//! [`Turn`]: a guest call that is due, and how several are made in one entry into
//! the engine, also of several guests: an entry takes longer than most calls, as it sets
//! up a stack and a handler of traps.
//!
//! What is entered is code of our own, which runs on the guest's stack and calls each
//! function in turn. A trap leaves that stack as it is, so that nothing may be held
//! there meanwhile that has to be dropped. The store stays out of it: host functions do
//! [without](super::host_fn).

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::time::Duration;

use wasmer::sys::vm::{
    InternalStoreHandle, MaybeInstanceOwned, Trap, VMCallerCheckedAnyfunc, VMExtern, VMFunction,
    VMFunctionKind, VMSignatureHash, catch_traps,
};
use wasmer::{AsStoreMut as _, Extern, Function, Store, VMExternToExtern as _};
use wasmer_types::RawValue;

use super::clock::{self, Over};
use super::code::Code;
use super::module::Signature;
use super::tunables::VM_CONFIG;
use crate::meter::Callback;

/// The most arguments that a function has which the host calls.
pub(super) const ARGUMENTS_MAX: usize = 5;

/// A guest call that is due.
pub(crate) struct Turn {
    pub(crate) name: &'static str,
    /// Which callback it is, if it is one.
    pub(crate) callback: Option<Callback>,
    /// Whether it is one of those that start a plugin or do its work beside all
    /// streams: they may take longer.
    pub(crate) is_root_callback: bool,
    pub(super) function: VMCallerCheckedAnyfunc,
    /// Those that there are, and zeros.
    pub(super) arguments: [u32; ARGUMENTS_MAX],
    pub(super) count: usize,
    /// Whether there is a result.
    pub(super) answers: bool,
    pub(super) result: Cell<u32>,
}

impl Turn {
    /// Its arguments.
    pub(crate) fn arguments(&self) -> &[u32] {
        &self.arguments[..self.count]
    }

    /// What it came to, once it was made; `None` when it has no result.
    pub(crate) fn answer(&self) -> Option<u32> {
        self.answers.then(|| self.result.get())
    }

    /// What it came to, once it was made; 0 when it has no result.
    pub(crate) fn result(&self) -> u32 {
        self.result.get()
    }

    /// Makes the call, from within an entry.
    #[inline]
    fn make(&self) {
        let arguments = self.arguments.map(|argument| RawValue {
            u128: argument.into(),
        });
        self.result.set(made(self.function, arguments));
    }
}

/// Calls an exported function of an instance that has been entered, with arguments of
/// its type; its result, if it has one.
#[inline]
fn made<const COUNT: usize>(
    function: VMCallerCheckedAnyfunc,
    mut values: [RawValue; COUNT],
) -> u32 {
    let VMCallerCheckedAnyfunc {
        func_ptr,
        vmctx,
        call_trampoline,
        ..
    } = function;
    // SAFETY: the arguments are of its type, and there is room for its result.
    #[allow(unsafe_code)]
    unsafe {
        call_trampoline(vmctx.vmctx, func_ptr, values.as_mut_ptr());
        values[0].u32
    }
}

/// What one guest does in an entry: some calls, at least one.
pub(crate) struct Part<'a> {
    pub(super) turns: &'a [Turn],
    /// Time that each may take.
    pub(super) limit: Duration,
    pub(super) code: &'a Code,
    pub(super) over: Option<Over>,
}

/// How far an entry has come: the last part that was begun, and how many of its calls
/// have returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) part: usize,
    pub(crate) turns: usize,
}

/// Decides whether the call at a place of a part, which is not the first of all, may
/// follow the one before it. Runs on the guest's stack: it must be short.
pub(crate) type Between<'a> = &'a dyn Fn(usize, usize) -> bool;

/// Calls that are made in one entry.
struct Turns<'a> {
    parts: &'a [Part<'a>],
    between: Between<'a>,
    made: &'a Cell<Progress>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl Turns<'_> {
    fn make(&self) {
        for (
            part,
            Part {
                turns, limit, code, ..
            },
        ) in self.parts.iter().enumerate()
        {
            for (place, turn) in turns.iter().enumerate() {
                if part > 0 || place > 0 {
                    match catch_unwind(AssertUnwindSafe(|| (self.between)(part, place))) {
                        Ok(true) if place == 0 => clock::next_of(*limit, code),
                        Ok(true) => clock::next(),
                        Ok(false) => return,
                        Err(panic) => return self.panic.set(Some(panic)),
                    }
                }
                self.made.set(Progress { part, turns: place });
                turn.make();
                let turns = place + 1;
                self.made.set(Progress { part, turns });
            }
        }
    }
}

/// Makes calls one after the other, as far as `between` lets them follow each other.
/// `made` tells which have returned, also if this panics, and the error what ended the
/// one after them.
#[inline]
pub(super) fn make(
    parts: &[Part<'_>],
    between: Between<'_>,
    made: &Cell<Progress>,
) -> Result<(), Trap> {
    let turns = Turns {
        parts,
        between,
        made,
        panic: Cell::new(None),
    };
    let address = ptr::from_ref(&turns).expose_provenance();
    let enter = move || {
        // SAFETY: `turns` outlives the entry.
        #[allow(unsafe_code)]
        let turns = unsafe { &*ptr::with_exposed_provenance::<Turns<'_>>(address) };
        turns.make();
    };
    // SAFETY: a trap finds nothing to be dropped.
    #[allow(unsafe_code)]
    let result = unsafe { catch_traps(None, &VM_CONFIG, enter) };
    if let Some(panic) = turns.panic.take() {
        resume_unwind(panic);
    }
    result
}

/// Calls a function that takes a `u32` and gives one, from within a host function that
/// its instance has called.
pub(super) fn call(function: VMCallerCheckedAnyfunc, argument: u32) -> Result<u32, Trap> {
    let values = [RawValue {
        u128: argument.into(),
    }];
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        catch_traps(None, &VM_CONFIG, move || made(function, values))
    }
}

/// A function of our own that modules may import, as `called` is told to call it. `data`
/// lives as long as it does.
pub(super) fn host_function(
    store: &mut Store,
    signature: &Signature,
    called: impl FnOnce(VMSignatureHash) -> VMCallerCheckedAnyfunc,
    data: Box<dyn Any>,
) -> Function {
    let signature = signature.of_host_function();
    let hash = store.engine().as_sys().register_signature(&signature);
    let function = VMFunction {
        anyfunc: MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(called(hash)))),
        signature,
        kind: VMFunctionKind::Static,
        host_data: data,
    };
    let handle = InternalStoreHandle::new(store.objects_mut().as_sys_mut(), function);
    match VMExtern::Function(handle).to_extern(store) {
        Extern::Function(function) => function,
        _ => unreachable!("a function is no other kind of extern"),
    }
}
