//! Host functions: plain Rust functions whose signature becomes the import's.

use std::rc::Rc;

use wasmer::{FromToNativeWasmType, Function, FunctionEnv, FunctionEnvMut, RuntimeError, Store};

use super::caller::{Caller, Confined, Env};
use super::clock;
use super::module::{Signature, ValueType};
use super::trap::HostTrap;
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
    type Wasm: wasmer::WasmTypeList;
    const RESULTS: &'static [ValueType];
    fn into_wasm(self) -> Result<Self::Wasm, HostTrap>;
    /// What a guest gets that is not given the function.
    fn denied() -> Self::Wasm;
    /// The result as a number, if there is one.
    fn number(result: &Self::Wasm) -> Option<u32>;
}

/// WASI's `ENOTCAPABLE`.
const NOT_CAPABLE: u32 = 76;

impl IntoWasm for () {
    type Wasm = ();
    const RESULTS: &'static [ValueType] = &[];
    fn into_wasm(self) -> Result<(), HostTrap> {
        Ok(())
    }
    fn denied() {}
    fn number((): &()) -> Option<u32> {
        None
    }
}

impl IntoWasm for u32 {
    type Wasm = Self;
    const RESULTS: &'static [ValueType] = &[ValueType::I32];
    fn into_wasm(self) -> Result<Self, HostTrap> {
        Ok(self)
    }
    fn denied() -> Self {
        NOT_CAPABLE
    }
    fn number(result: &Self) -> Option<u32> {
        Some(*result)
    }
}

impl IntoWasm for HostTrap {
    type Wasm = ();
    const RESULTS: &'static [ValueType] = &[];
    fn into_wasm(self) -> Result<(), HostTrap> {
        Err(self)
    }
    fn denied() {}
    fn number((): &()) -> Option<u32> {
        None
    }
}

trait WasmParam: Copy + Into<u64> {
    const TYPE: ValueType;
}

impl WasmParam for u32 {
    const TYPE: ValueType = ValueType::I32;
}

impl WasmParam for u64 {
    const TYPE: ValueType = ValueType::I64;
}

type Definer<T> =
    Box<dyn Fn(&mut Store, &FunctionEnv<Confined<Env<T>>>, bool) -> Function + Send + Sync>;

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
    pub(super) fn define(
        &self,
        store: &mut Store,
        env: &FunctionEnv<Confined<Env<T>>>,
        allowed: bool,
    ) -> Function {
        (self.define)(store, env, allowed)
    }
}

/// A Rust function that can serve as a host function: it takes the caller and
/// up to twelve `u32` or `u64`.
pub(crate) trait HostFn<T, Args>: Copy + Send + Sync + 'static {
    fn signature() -> Signature;
    fn define(
        self,
        entry: Entry,
        allowed: bool,
        store: &mut Store,
        env: &FunctionEnv<Confined<Env<T>>>,
    ) -> Function;
}

macro_rules! host_fn {
    ($($arg:ident)*) => {
        #[allow(private_bounds, non_snake_case, clippy::too_many_arguments)]
        impl<T, F, R, $($arg,)*> HostFn<T, ($($arg,)*)> for F
        where
            T: State,
            F: Fn(&mut Caller<'_, T>, $($arg),*) -> R + Copy + Send + Sync + 'static,
            R: IntoWasm,
            $($arg: WasmParam + FromToNativeWasmType + 'static,)*
        {
            fn signature() -> Signature {
                Signature::new(&[$($arg::TYPE),*], R::RESULTS)
            }

            fn define(
                self,
        entry: Entry,
        allowed: bool,
                store: &mut Store,
                env: &FunctionEnv<Confined<Env<T>>>,
            ) -> Function {
                Function::new_typed_with_env(
                    store,
                    env,
                    move |env: FunctionEnvMut<'_, Confined<Env<T>>>, $($arg: $arg),*|
                        -> Result<R::Wasm, RuntimeError> {
                        if clock::must_end() {
                            return Err(HostTrap::Deadline.into());
                        }
                        let mut caller = Caller::new(env);
                        caller.state().admit(entry)?;
                        let watch = caller.state().watch().cloned();
                        let hostcall = Hostcall::numbered(entry.number);
                        if let Some(watch) = &watch {
                            watch.entered(hostcall);
                        }
                        let result = if allowed {
                            self(&mut caller, $($arg),*).into_wasm()
                        } else {
                            caller.state().denied(entry.name);
                            Ok(R::denied())
                        };
                        if let Some(watch) = &watch {
                            watch.hostcall(&SeenCall {
                                hostcall,
                                arguments: &[$($arg.into()),*],
                                answer: result.as_ref().ok().and_then(R::number),
                                memory: caller.memory(),
                            });
                        }
                        Ok(result?)
                    },
                )
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
