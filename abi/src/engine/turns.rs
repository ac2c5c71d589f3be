//! [`Turn`]: a guest call that is due, and how several are made in one entry into
//! the engine, which takes longer than most of them: it sets up a stack, a handler
//! of traps and what host functions find the store by.
//!
//! The entry is a function of our own in the place of what the compiler makes to
//! call one of its own: it runs on the guest's stack and calls each in turn. A trap
//! leaves that stack as it is, so that nothing may be held there meanwhile that has
//! to be dropped.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use wasmer::sys::vm::{
    InternalStoreHandle, MaybeInstanceOwned, VMCallerCheckedAnyfunc, VMContext, VMExtern,
    VMFunction, VMFunctionBody, VMFunctionContext, VMFunctionKind, VMSignatureHash,
};
use wasmer::{
    AsStoreMut, Extern, FunctionType, RuntimeError, Store, Type, TypedFunction, VMExternToExtern,
};
use wasmer_types::RawValue;

use super::clock;
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
        let mut values = self.arguments.map(|argument| RawValue {
            u128: argument.into(),
        });
        let VMCallerCheckedAnyfunc {
            func_ptr,
            vmctx,
            call_trampoline,
            ..
        } = self.function;
        // SAFETY: it is an exported function of the instance that is entered, with
        // arguments of its type and room for its result.
        #[allow(unsafe_code)]
        unsafe {
            call_trampoline(vmctx.vmctx, func_ptr, values.as_mut_ptr());
            self.result.set(values[0].u32);
        }
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

/// What the engine enters.
#[allow(unsafe_code)]
unsafe extern "C" fn in_turn(
    _: *mut VMContext,
    _: *const VMFunctionBody,
    arguments: *mut RawValue,
) {
    // SAFETY: `Entry::make` hands over this address, of a value that outlives the call.
    let turns = unsafe { &*ptr::with_exposed_provenance::<Turns<'_>>((*arguments).u64 as usize) };
    turns.make();
}

/// The way into an instance.
pub(super) struct Entrance(TypedFunction<u64, ()>);

impl Entrance {
    /// Of the instance in `store`.
    pub(super) fn new(store: &mut Store) -> Result<Self, RuntimeError> {
        let anyfunc = VMCallerCheckedAnyfunc {
            // Nobody calls it but by the trampoline, which does not look at it.
            func_ptr: (in_turn as *const ()).cast(),
            type_signature_hash: VMSignatureHash::new(0),
            vmctx: VMFunctionContext {
                host_env: ptr::null_mut(),
            },
            call_trampoline: in_turn,
        };
        let function = VMFunction {
            anyfunc: MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(anyfunc))),
            signature: FunctionType::new([Type::I64], []),
            kind: VMFunctionKind::Static,
            host_data: Box::new(()),
        };
        let objects = store.objects_mut().as_sys_mut();
        let handle = InternalStoreHandle::new(objects, function);
        match VMExtern::Function(handle).to_extern(store) {
            Extern::Function(function) => function.typed(store).map(Self),
            _ => Err(RuntimeError::new("a function is something else")),
        }
    }

    /// Makes calls of functions of the instance in `store`, one after the other, as
    /// far as `between` lets them follow each other. How many have returned, and what
    /// ended the one after them.
    pub(super) fn make(
        &self,
        store: &mut Store,
        turns: &[Turn],
        between: Between<'_>,
    ) -> (usize, Result<(), RuntimeError>) {
        let turns = Turns {
            turns,
            between,
            made: Cell::new(0),
            panic: Cell::new(None),
        };
        let address = ptr::from_ref(&turns).expose_provenance();
        let result = self.0.call(store, address as u64);
        if let Some(panic) = turns.panic.take() {
            resume_unwind(panic);
        }
        (turns.made.get(), result)
    }
}
