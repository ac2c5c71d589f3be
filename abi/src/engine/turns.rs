//! [`Turn`]: a guest call that is due, and how several are made in one entry into
//! the engine, which takes longer than most of them: it sets up a stack and a handler
//! of traps.
//!
//! What is entered is code of our own, which runs on the guest's stack and calls each
//! function in turn. A trap leaves that stack as it is, so that nothing may be held
//! there meanwhile that has to be dropped. The store stays out of it: host functions do
//! [without](super::host_fn).

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use wasmer::sys::vm::{
    InternalStoreHandle, MaybeInstanceOwned, Trap, VMCallerCheckedAnyfunc, VMExtern, VMFunction,
    VMFunctionKind, VMSignatureHash, catch_traps,
};
use wasmer::{AsStoreMut as _, Extern, Function, Store, VMExternToExtern as _};
use wasmer_types::RawValue;

use super::clock;
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

/// Decides whether the call at a place, which is not the first, may follow the one
/// before it. Runs on the guest's stack: it must be short.
pub(crate) type Between<'a> = &'a dyn Fn(usize) -> bool;

/// Calls that are made in one entry.
struct Turns<'a> {
    turns: &'a [Turn],
    between: Between<'a>,
    /// How many have returned.
    made: Cell<usize>,
    panic: Cell<Option<Box<dyn Any + Send>>>,
}

impl Turns<'_> {
    fn make(&self) {
        for (place, turn) in self.turns.iter().enumerate() {
            if place > 0 {
                match catch_unwind(AssertUnwindSafe(|| (self.between)(place))) {
                    Ok(true) => clock::next(),
                    Ok(false) => return,
                    Err(panic) => return self.panic.set(Some(panic)),
                }
            }
            turn.make();
            self.made.set(place + 1);
        }
    }
}

/// Makes calls of functions of an instance, one after the other, as far as `between`
/// lets them follow each other. How many have returned, and what ended the one after
/// them.
#[inline]
pub(super) fn make(turns: &[Turn], between: Between<'_>) -> (usize, Result<(), Trap>) {
    let turns = Turns {
        turns,
        between,
        made: Cell::new(0),
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
    (turns.made.get(), result)
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
