//! An instance of a module, and its exported functions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

pub(crate) use wasmer::WasmTypeList as Results;
use wasmer::{
    AsStoreMut, FunctionEnv, Imports, InstantiationError, Memory, RuntimeError, Store,
    TypedFunction,
};

use super::caller::{Confined, Env};
use super::host_fn::{HostFunction, State};
use super::module::CompiledModule;
use super::trap::GuestTrap;
use crate::failure::Reason;

/// A running module with a store of its own. Dropping it frees all of it.
pub(crate) struct Instance {
    store: Store,
    instance: wasmer::Instance,
    memory: Option<Memory>,
}

/// Names of the guest's allocator, in the order in which Envoy looks for them.
pub(crate) const ALLOCATORS: [&str; 2] = ["malloc", "proxy_on_memory_allocate"];

impl Instance {
    /// Instantiates `module`, giving each of its imports the host function that
    /// `resolve` finds. Runs the start section.
    pub(crate) fn new<T: State>(
        module: &CompiledModule,
        state: Rc<T>,
        resolve: impl Fn(&str, &str) -> Option<&'static HostFunction<T>>,
    ) -> Result<Self, GuestTrap> {
        caught(|| {
            let mut store = Store::new(module.engine.clone());
            let rights = Rc::clone(&state);
            let env = FunctionEnv::new(
                &mut store,
                Confined(Env {
                    state,
                    memory: None,
                    allocator: None,
                }),
            );
            let mut imports = Imports::new();
            for import in module.module.imports() {
                if let Some(function) = resolve(import.module(), import.name()) {
                    let allowed = rights.allows(import.name());
                    let function = function.define(&mut store, &env, allowed);
                    imports.define(import.module(), import.name(), function);
                }
            }
            let instance = wasmer::Instance::new(&mut store, &module.module, &imports)
                .map_err(trap_of_instantiation)?;
            let memory = instance
                .exports
                .iter()
                .memories()
                .next()
                .map(|(_, m)| m.clone());
            let allocator = ALLOCATORS
                .iter()
                .find_map(|name| instance.exports.get_typed_function(&store, name).ok());
            let env = &mut env.as_mut(&mut store).0;
            env.memory = memory.clone();
            env.allocator = allocator;
            Ok(Self {
                store,
                instance,
                memory,
            })
        })
    }

    /// Bytes of the guest's memory.
    pub(crate) fn memory_size(&self) -> usize {
        let size = self
            .memory
            .as_ref()
            .map(|m| m.view(&self.store).data_size());
        size.and_then(|s| usize::try_from(s).ok()).unwrap_or(0)
    }

    /// The exported function `name`, if there is one of this type.
    pub(crate) fn function<A: GuestArgs, R: Results>(&self, name: &str) -> Option<GuestFn<A, R>> {
        let function = self.instance.exports.get_typed_function(&self.store, name);
        function.ok().map(GuestFn)
    }

    /// Calls `function`, which is one of this instance. A panic in a host
    /// function ends the call as a trap does: the guest is of no use after it,
    /// and the thread serves others.
    pub(crate) fn call<A: GuestArgs, R: Results>(
        &mut self,
        function: &GuestFn<A, R>,
        args: A,
    ) -> Result<R, GuestTrap> {
        caught(|| A::call(&function.0, &mut self.store, args).map_err(Into::into))
    }
}

fn caught<R>(f: impl FnOnce() -> Result<R, GuestTrap>) -> Result<R, GuestTrap> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        Err(GuestTrap {
            reason: Reason::Host,
            message: "the engine or the host panicked".to_owned(),
            backtrace: Vec::new(),
        })
    })
}

fn trap_of_instantiation(error: InstantiationError) -> GuestTrap {
    match error {
        InstantiationError::Start(e) => e.into(),
        other => GuestTrap {
            reason: Reason::Host,
            message: other.to_string(),
            backtrace: Vec::new(),
        },
    }
}

/// An exported function, looked up once.
pub(crate) struct GuestFn<A: GuestArgs, R: Results>(TypedFunction<A::List, R>);

/// Arguments of an exported function: none to five `u32`.
pub(crate) trait GuestArgs: Sized {
    type List: Results;
    fn call<R: Results>(
        function: &TypedFunction<Self::List, R>,
        store: &mut impl AsStoreMut,
        args: Self,
    ) -> Result<R, RuntimeError>;
}

macro_rules! guest_args {
    ($list:ty; $($arg:ident: $ty:ty),*) => {
        impl GuestArgs for ($($ty,)*) {
            type List = $list;
            fn call<R: Results>(
                function: &TypedFunction<Self::List, R>,
                store: &mut impl AsStoreMut,
                ($($arg,)*): Self,
            ) -> Result<R, RuntimeError> {
                function.call(store, $($arg),*)
            }
        }
    };
}

guest_args!((););
guest_args!(u32; a: u32);
guest_args!((u32, u32); a: u32, b: u32);
guest_args!((u32, u32, u32); a: u32, b: u32, c: u32);
guest_args!((u32, u32, u32, u32, u32); a: u32, b: u32, c: u32, d: u32, e: u32);
