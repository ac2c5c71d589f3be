//! Host functions: plain Rust functions whose signature becomes the import's.
//!
//! What the guest calls is a function of ours with the arguments as they are, and not
//! one that the engine wraps around it: that would look for the store and borrow it,
//! which takes longer than most of what is asked for.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use wasmer::sys::vm::{
    VMCallerCheckedAnyfunc, VMContext, VMFunctionBody, VMFunctionContext, on_host_stack,
    raise_user_trap, resume_panic,
};
use wasmer::{Function, RuntimeError, Store};
use wasmer_types::RawValue;

use super::caller::{Caller, Env};
use super::clock;
use super::module::{Signature, ValueType};
use super::trap::HostTrap;
use super::turns;
use crate::meter::Hostcall;
use crate::watch::{SeenCall, Watch};

/// What an instance's host functions share.
pub(crate) trait State: 'static {
    /// Whether a host function may run now.
    fn admit(&self, entry: Entry) -> Result<(), HostTrap>;

    /// Whether the instance is given the host function `name` at all.
    fn allows(&self, name: &str) -> bool;

    /// The guest has called a host function that it is not given.
    fn denied(&self, name: &'static str);

    /// Who sees the calls of host functions.
    fn watch(&self) -> Option<&Rc<dyn Watch>>;
}

/// How a host function is entered in the books.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// Which of all it is.
    pub(crate) number: usize,
    /// Set for the few that may run in start functions and in the allocator.
    pub(crate) anytime: bool,
}

/// A result that a host function may give.
pub(crate) trait IntoWasm {
    type Wasm: WasmAnswer;
    fn into_wasm(self) -> Result<Self::Wasm, HostTrap>;
    /// What a guest gets that is not given the function.
    fn denied() -> Self::Wasm;
}

/// What a guest gets: nothing or a number.
pub(crate) trait WasmAnswer: Copy + 'static {
    const RESULTS: &'static [ValueType];
    /// It as a number, if it is one.
    fn number(self) -> Option<u32>;
}

impl WasmAnswer for () {
    const RESULTS: &'static [ValueType] = &[];
    fn number(self) -> Option<u32> {
        None
    }
}

impl WasmAnswer for u32 {
    const RESULTS: &'static [ValueType] = &[ValueType::I32];
    fn number(self) -> Option<u32> {
        Some(self)
    }
}

/// WASI's `ENOTCAPABLE`.
const NOT_CAPABLE: u32 = 76;

impl IntoWasm for () {
    type Wasm = ();
    fn into_wasm(self) -> Result<(), HostTrap> {
        Ok(())
    }
    fn denied() {}
}

impl IntoWasm for u32 {
    type Wasm = Self;
    fn into_wasm(self) -> Result<Self, HostTrap> {
        Ok(self)
    }
    fn denied() -> Self {
        NOT_CAPABLE
    }
}

impl IntoWasm for HostTrap {
    type Wasm = ();
    fn into_wasm(self) -> Result<(), HostTrap> {
        Err(self)
    }
    fn denied() {}
}

trait WasmParam: Copy + Into<u64> + 'static {
    const TYPE: ValueType;
    /// The argument that is in `value`.
    fn of(value: RawValue) -> Self;
}

impl WasmParam for u32 {
    const TYPE: ValueType = ValueType::I32;
    fn of(value: RawValue) -> Self {
        // SAFETY: every bit pattern is a number.
        #[allow(unsafe_code)]
        unsafe {
            value.u32
        }
    }
}

impl WasmParam for u64 {
    const TYPE: ValueType = ValueType::I64;
    fn of(value: RawValue) -> Self {
        // SAFETY: every bit pattern is a number.
        #[allow(unsafe_code)]
        unsafe {
            value.u64
        }
    }
}

type Definer<T> = Box<dyn Fn(&mut Store, &Rc<Env<T>>, bool) -> Function + Send + Sync>;

/// A host function that modules can import.
pub(crate) struct HostFunction<T> {
    pub(crate) signature: Signature,
    define: Definer<T>,
}

impl<T: State> HostFunction<T> {
    /// The host function that runs `function`.
    pub(crate) fn new<Args, F: HostFn<T, Args>>(entry: Entry, function: F) -> Self {
        Self {
            signature: F::signature(),
            define: Box::new(move |store, env, allowed| {
                function.define(entry, allowed, store, env)
            }),
        }
    }

    /// The function for one instance, which may not be `allowed` to use it.
    pub(super) fn define(&self, store: &mut Store, env: &Rc<Env<T>>, allowed: bool) -> Function {
        (self.define)(store, env, allowed)
    }
}

/// A Rust function that can serve as a host function: it takes the caller and
/// up to twelve `u32` or `u64`.
pub(crate) trait HostFn<T, Args>: Copy + Send + Sync + 'static {
    fn signature() -> Signature;
    fn define(self, entry: Entry, allowed: bool, store: &mut Store, env: &Rc<Env<T>>) -> Function;
}

/// A host function of one instance; the engine hands it to what the guest calls.
struct Bound<T, F> {
    function: F,
    entry: Entry,
    allowed: bool,
    env: Rc<Env<T>>,
}

impl<T: State, F> Bound<T, F> {
    /// A call by the guest, on whose stack it is made: runs `function` on the host's,
    /// and does not return if that is to end the guest.
    #[inline]
    fn called<R: IntoWasm, const COUNT: usize>(
        &self,
        arguments: [u64; COUNT],
        function: impl FnOnce(&mut Caller<'_, T>) -> R,
    ) -> R::Wasm {
        type Trap = Box<dyn Error + Send + Sync>;
        let outcome = on_host_stack(|| {
            catch_unwind(AssertUnwindSafe(|| {
                let answer = self.answer(arguments, function);
                answer.map_err(|trap| Trap::from(RuntimeError::from(trap)))
            }))
        });
        // SAFETY: it is the guest that has called, and nothing on its stack has to be
        // dropped.
        #[allow(unsafe_code)]
        match outcome {
            Ok(Ok(answer)) => answer,
            Ok(Err(trap)) => unsafe { raise_user_trap(trap) },
            Err(panic) => unsafe { resume_panic(panic) },
        }
    }

    #[inline]
    fn answer<R: IntoWasm, const COUNT: usize>(
        &self,
        arguments: [u64; COUNT],
        function: impl FnOnce(&mut Caller<'_, T>) -> R,
    ) -> Result<R::Wasm, HostTrap> {
        if clock::must_end() {
            return Err(HostTrap::Deadline);
        }
        let mut caller = Caller::new(&self.env);
        let state = caller.state();
        state.admit(self.entry)?;
        let watch = state.watch();
        let hostcall = Hostcall::numbered(self.entry.number);
        if let Some(watch) = watch {
            watch.entered(hostcall);
        }
        let result = if self.allowed {
            function(&mut caller).into_wasm()
        } else {
            state.denied(self.entry.name);
            Ok(R::denied())
        };
        if let Some(watch) = watch {
            watch.hostcall(&SeenCall {
                hostcall,
                arguments: &arguments,
                answer: result.as_ref().ok().and_then(|answer| answer.number()),
                memory: caller.memory(),
            });
        }
        result
    }
}

macro_rules! host_fn {
    ($($arg:ident)*) => {
        #[allow(private_bounds, non_snake_case, clippy::too_many_arguments)]
        impl<T, F, R, $($arg,)*> HostFn<T, ($($arg,)*)> for F
        where
            T: State,
            F: Fn(&mut Caller<'_, T>, $($arg),*) -> R + Copy + Send + Sync + 'static,
            R: IntoWasm,
            $($arg: WasmParam,)*
        {
            fn signature() -> Signature {
                Signature::new(&[$($arg::TYPE),*], R::Wasm::RESULTS)
            }

            fn define(
                self,
                entry: Entry,
                allowed: bool,
                store: &mut Store,
                env: &Rc<Env<T>>,
            ) -> Function {
                /// What the guest calls.
                #[allow(unsafe_code)]
                unsafe extern "C-unwind" fn entered<T, F, R, $($arg,)*>(
                    bound: *const Bound<T, F>,
                    $($arg: $arg),*
                ) -> R::Wasm
                where
                    T: State,
                    F: Fn(&mut Caller<'_, T>, $($arg),*) -> R,
                    R: IntoWasm,
                    $($arg: WasmParam,)*
                {
                    // SAFETY: it lives as long as the instance, which has been called.
                    let bound = unsafe { &*bound };
                    let arguments = [$($arg.into()),*];
                    bound.called(arguments, |caller| (bound.function)(caller, $($arg),*))
                }

                /// Calls that one, for an instance that exports what it has imported.
                #[allow(unsafe_code, unused_assignments, unused_mut, unused_variables)]
                unsafe extern "C" fn trampoline<W: WasmAnswer, $($arg: WasmParam,)*>(
                    context: *mut VMContext,
                    body: *const VMFunctionBody,
                    values: *mut RawValue,
                ) {
                    type Body<W, $($arg),*> =
                        unsafe extern "C-unwind" fn(*mut VMContext, $($arg),*) -> W;
                    let mut place = 0;
                    // SAFETY: `body` is the function above, and the values are as many as
                    // it takes, with room for an answer.
                    unsafe {
                        let body: Body<W, $($arg),*> = std::mem::transmute(body);
                        $(
                            let $arg = $arg::of(values.add(place).read());
                            place += 1;
                        )*
                        let answer = body(context, $($arg),*);
                        if let Some(number) = answer.number() {
                            values.write(RawValue { u128: number.into() });
                        }
                    }
                }

                let bound = Rc::new(Bound {
                    function: self,
                    entry,
                    allowed,
                    env: Rc::clone(env),
                });
                let body = entered::<T, F, R, $($arg),*>
                    as unsafe extern "C-unwind" fn(*const Bound<T, F>, $($arg),*) -> R::Wasm;
                let signature = <F as HostFn<T, ($($arg,)*)>>::signature();
                let called = |type_signature_hash| VMCallerCheckedAnyfunc {
                    func_ptr: (body as *const ()).cast(),
                    type_signature_hash,
                    vmctx: VMFunctionContext {
                        host_env: Rc::as_ptr(&bound).cast_mut().cast(),
                    },
                    call_trampoline: trampoline::<R::Wasm, $($arg),*>,
                };
                turns::host_function(store, &signature, called, Box::new(Rc::clone(&bound)))
            }
        }
    };
}

host_fn!();
host_fn!(A1);
host_fn!(A1 A2);
host_fn!(A1 A2 A3);
host_fn!(A1 A2 A3 A4);
host_fn!(A1 A2 A3 A4 A5);
host_fn!(A1 A2 A3 A4 A5 A6);
host_fn!(A1 A2 A3 A4 A5 A6 A7);
host_fn!(A1 A2 A3 A4 A5 A6 A7 A8);
host_fn!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
host_fn!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
host_fn!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
host_fn!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
