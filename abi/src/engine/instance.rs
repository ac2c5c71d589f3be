//! An instance of a module, and its exported functions.

use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wasmer::sys::NativeEngineExt;
use wasmer::sys::vm::{LinearMemory as _, VMCallerCheckedAnyfunc, VMExtern, VMMemoryDefinition};
use wasmer::{
    AsStoreMut, Exports, Extern, Imports, InstantiationError, Memory, RuntimeError, Store,
    WasmTypeList,
};

use super::caller::Env;
use super::clock::{self, Over, Verdict};
use super::code::{self, Code};
use super::host_fn::{HostFunction, State};
use super::image::Image;
use super::module::{CompiledModule, Deadline};
use super::trap::GuestTrap;
use super::tunables::{GuestTunables, Made};
use super::turns::{self, ARGUMENTS_MAX, Between, Turn};
use crate::failure::Reason;
use crate::meter::Callback;

/// A running module with a store of its own. Dropping it frees all of it.
pub(crate) struct Instance {
    store: Store,
    instance: wasmer::Instance,
    memory: Option<Memory>,
    code: Arc<Code>,
    over: Option<Over>,
    /// What it was like when it was to be kept.
    image: Option<Image>,
}

/// What an instance may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstanceLimits {
    /// Bytes of all its memories.
    pub(crate) memory: usize,
    /// Time that its start section may take.
    pub(crate) start: Duration,
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
        limits: InstanceLimits,
    ) -> Result<Self, GuestTrap> {
        let made = (module.code.deadline == Deadline::Counter).then(Made::default);
        let mut engine = module.engine.clone();
        engine.set_tunables(GuestTunables::new(limits.memory, made.as_ref()));
        // The global that the clock writes to is in the store, also when the start
        // section fails: it has to outlive the call.
        let mut store = Store::new(engine);
        let made_of = guarded(limits.start, &module.code, None, || {
            let rights = Rc::clone(&state);
            let env = Env::new(state);
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
            let exports = &instance.exports;
            let mut names = ALLOCATORS.iter();
            let allocator = names.find_map(|name| exported::<u32, u32>(&mut store, exports, name));
            env.attach(definition_of(&mut store, memory.as_ref()), allocator);
            Ok((instance, memory))
        });
        let (instance, memory) = made_of.map_err(|trap| *trap)?;
        Ok(Self {
            store,
            instance,
            memory,
            code: Arc::clone(&module.code),
            over: made.as_ref().and_then(Made::over),
            image: None,
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

    /// Keeps what the instance is like now, for [`Instance::restore`]. False when it
    /// cannot be made so again: the module changes what is not kept: tables,
    /// segments, further memories.
    pub(crate) fn keep(&mut self) -> bool {
        if self.code.is_changed_beyond_memory() {
            return false;
        }
        let memory = self.memory.as_ref();
        self.image = memory.and_then(|memory| Image::take(&mut self.store, memory));
        self.image.is_some()
    }

    /// Makes the instance what it was when it was kept. False when that cannot be
    /// done, and it is of no use any more.
    pub(crate) fn restore(&mut self) -> bool {
        let kept = self.image.as_ref().zip(self.memory.as_ref());
        kept.is_some_and(|(image, memory)| image.restore(&mut self.store, memory))
    }

    /// The exported function `name`, if there is one of this type.
    pub(crate) fn function<A: GuestArgs, R: Results>(
        &mut self,
        name: &str,
    ) -> Option<GuestFn<A, R>> {
        let exports = &self.instance.exports;
        Some(GuestFn {
            function: exported::<A::List, R>(&mut self.store, exports, name)?,
            callback: Callback::of(name),
            is_root_callback: ROOT_CALLBACKS.contains(&name),
            signature: PhantomData,
        })
    }

    /// Makes calls of functions of this instance, one after the other in one entry into
    /// the engine, as far as `between` lets them follow each other; of one that counts,
    /// the first alone. Each is ended after `limit`. How many have returned, and what
    /// ended the one after them. A panic in a host function ends a call as a trap does:
    /// the guest is of no use after it, and the thread serves others.
    pub(crate) fn call(
        &mut self,
        turns: &[Turn],
        limit: Duration,
        between: Between<'_>,
    ) -> (usize, Result<(), Box<GuestTrap>>) {
        let Self { code, over, .. } = self;
        let at_once = match code.deadline {
            Deadline::Counter => 1,
            Deadline::Watchdog | Deadline::Off => turns.len(),
        };
        let turns = turns.get(..at_once).unwrap_or(turns);
        let mut made = 0;
        let result = guarded(limit, code, *over, || {
            let result;
            (made, result) = turns::make(turns, between);
            result.map_err(|trap| RuntimeError::from(trap).into())
        });
        (made, result)
    }
}

/// The exported function `name`, if there is one of this type. It lives as long as the
/// store.
fn exported<A: WasmTypeList, R: WasmTypeList>(
    store: &mut Store,
    exports: &Exports,
    name: &str,
) -> Option<VMCallerCheckedAnyfunc> {
    exports.get_typed_function::<A, R>(store, name).ok()?;
    let function = exports.get_function(name).ok()?.clone();
    let VMExtern::Function(handle) = Extern::Function(function).to_vm_extern().unwrap_sys() else {
        return None;
    };
    let function = &handle.get(store.objects_mut().as_sys()).anyfunc;
    // SAFETY: it lives as long as the store.
    #[allow(unsafe_code)]
    Some(unsafe { *function.as_ptr().as_ref() })
}

/// Where base and size of a memory are written down, as long as the store lives.
fn definition_of(
    store: &mut Store,
    memory: Option<&Memory>,
) -> Option<NonNull<VMMemoryDefinition>> {
    let memory = Extern::Memory(memory?.clone());
    let VMExtern::Memory(handle) = memory.to_vm_extern().unwrap_sys() else {
        return None;
    };
    Some(handle.get(store.objects_mut().as_sys()).vmmemory())
}

/// Runs `call`, which calls into the guest, for `limit` at most, and finds out
/// what ended it.
#[inline]
fn guarded<R>(
    limit: Duration,
    code: &Code,
    over: Option<Over>,
    call: impl FnOnce() -> Result<R, Box<GuestTrap>>,
) -> Result<R, Box<GuestTrap>> {
    let result = clock::run(limit, code, over, || caught(call));
    result.map_err(|(trap, verdict)| Box::new(judged(*trap, &verdict, limit)))
}

/// The trap, with what only the clock knows of it.
fn judged(trap: GuestTrap, verdict: &Verdict, limit: Duration) -> GuestTrap {
    if verdict.overdue {
        let backtrace = code::frames(&verdict.trace);
        return GuestTrap {
            reason: Reason::Deadline,
            message: format!("it ran for longer than {limit:?}"),
            backtrace: if backtrace.is_empty() {
                trap.backtrace
            } else {
                backtrace
            },
        };
    }
    // A guest that gets no memory gives up in a way of its own.
    if verdict.out_of_memory && matches!(trap.reason, Reason::Trap | Reason::Exit(_)) {
        return GuestTrap {
            reason: Reason::Memory,
            message: format!("it got no more memory: {}", trap.message),
            ..trap
        };
    }
    trap
}

#[inline]
fn caught<R>(f: impl FnOnce() -> Result<R, Box<GuestTrap>>) -> Result<R, Box<GuestTrap>> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        Err(Box::new(GuestTrap {
            reason: Reason::Host,
            message: "the engine or the host panicked".to_owned(),
            backtrace: Vec::new(),
        }))
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
pub(crate) struct GuestFn<A: GuestArgs, R: Results> {
    function: VMCallerCheckedAnyfunc,
    callback: Option<Callback>,
    is_root_callback: bool,
    signature: PhantomData<fn(A) -> R>,
}

/// The callbacks of plugins that have the longer limit, also when they have started.
const ROOT_CALLBACKS: [&str; 3] = ["proxy_on_vm_start", "proxy_on_configure", "proxy_on_tick"];

impl<A: GuestArgs, R: Results> GuestFn<A, R> {
    /// A call of it, which goes by `name`.
    #[inline]
    pub(crate) fn turn(&self, name: &'static str, args: A) -> Turn {
        let (arguments, count) = args.numbers();
        Turn {
            name,
            callback: self.callback,
            is_root_callback: self.is_root_callback,
            function: self.function,
            arguments,
            count,
            answers: R::ANSWERS,
            result: Cell::new(0),
        }
    }
}

/// Results of an exported function: none or one `u32`.
pub(crate) trait Results: WasmTypeList {
    /// Whether there is one.
    const ANSWERS: bool;
    fn of(number: u32) -> Self;
}

impl Results for () {
    const ANSWERS: bool = false;
    fn of(_: u32) -> Self {}
}

impl Results for u32 {
    const ANSWERS: bool = true;
    fn of(number: u32) -> Self {
        number
    }
}

/// Arguments of an exported function: none to five `u32`.
pub(crate) trait GuestArgs: Copy {
    type List: WasmTypeList;
    /// All of them, with zeros behind them, and how many there are.
    fn numbers(self) -> ([u32; ARGUMENTS_MAX], usize);
}

macro_rules! guest_args {
    (@one $arg:ident) => { u32 };
    ($list:ty; $count:literal; $($arg:ident),*; $($zero:literal),*) => {
        impl GuestArgs for ($(guest_args!(@one $arg),)*) {
            type List = $list;
            #[inline]
            fn numbers(self) -> ([u32; ARGUMENTS_MAX], usize) {
                let ($($arg,)*) = self;
                ([$($arg,)* $($zero),*], $count)
            }
        }
    };
}

guest_args!((); 0; ; 0, 0, 0, 0, 0);
guest_args!(u32; 1; a; 0, 0, 0, 0);
guest_args!((u32, u32); 2; a, b; 0, 0, 0);
guest_args!((u32, u32, u32); 3; a, b, c; 0, 0);
guest_args!((u32, u32, u32, u32, u32); 5; a, b, c, d, e; );
