//! Hostcalls, a file a family, and the table of all of them.
//!
//! Every module is offered the functions of every ABI version and all of WASI
//! preview 1: SDKs import more than a filter uses, and a missing import would
//! refuse the whole module.

mod buffers;
mod callouts;
mod context;
mod foreign;
mod guest;
mod headers;
mod log;
mod metrics;
mod properties;
mod shared_data;
mod shared_queues;
mod stream;
mod wasi;

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use crate::engine::{
    Caller, CompiledModule, Entry, ExternType, HostFn, HostFunction, HostTrap, IntoWasm, ValueType,
};
use crate::module::LoadError;
use crate::types::Status;
use crate::vm_state::VmState;

pub(crate) use self::foreign::{Declarations, Expressions};

/// A host function's view of the guest that called it.
type Cx<'a> = Caller<'a, VmState>;

/// What a `proxy_*` hostcall comes to.
type Outcome = Result<(), Stop>;

/// Why a hostcall did not do what it was asked.
#[derive(Debug)]
enum Stop {
    /// The guest gets this status.
    Status(Status),
    /// The guest is ended.
    Trap(HostTrap),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl IntoWasm for Outcome {
    type Wasm = u32;
    fn into_wasm(self) -> Result<u32, HostTrap> {
        match self {
            Ok(()) => Ok(Status::Ok as u32),
            Err(Stop::Status(status)) => Ok(status as u32),
            Err(Stop::Trap(trap)) => Err(trap),
        }
    }
    fn denied() -> u32 {
        Status::InternalFailure as u32
    }
}

/// The host functions by namespace and name.
struct Table {
    functions: FxHashMap<&'static str, FxHashMap<&'static str, HostFunction<VmState>>>,
    /// Every name once; its place is the hostcall's number.
    names: Vec<&'static str>,
}

impl Table {
    fn add<Args, F: HostFn<VmState, Args>>(
        &mut self,
        namespace: &'static str,
        name: &'static str,
        anytime: bool,
        function: F,
    ) {
        let number = self.names.iter().position(|n| *n == name);
        let number = number.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        let entry = Entry {
            name,
            number,
            anytime,
        };
        let function = HostFunction::new(entry, function);
        self.functions
            .entry(namespace)
            .or_default()
            .insert(name, function);
    }

    /// A hostcall that needs a context: only callbacks have one.
    fn call<Args, F: HostFn<VmState, Args>>(&mut self, name: &'static str, function: F) {
        self.add("env", name, false, function);
    }

    /// A hostcall that start functions and the allocator may use too.
    fn anytime<Args, F: HostFn<VmState, Args>>(&mut self, name: &'static str, function: F) {
        self.add("env", name, true, function);
    }

    /// A WASI function, under both of its namespaces.
    fn wasi<Args, F: HostFn<VmState, Args>>(&mut self, name: &'static str, function: F) {
        for namespace in ["wasi_snapshot_preview1", "wasi_unstable"] {
            self.add(namespace, name, true, function);
        }
    }
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut t = Table {
        functions: FxHashMap::default(),
        names: Vec::new(),
    };
    log::define(&mut t);
    headers::define(&mut t);
    buffers::define(&mut t);
    properties::define(&mut t);
    stream::define(&mut t);
    context::define(&mut t);
    metrics::define(&mut t);
    foreign::define(&mut t);
    callouts::define(&mut t);
    shared_data::define(&mut t);
    shared_queues::define(&mut t);
    wasi::define(&mut t);
    t
});

/// Names of all hostcalls, by their numbers.
pub(crate) fn hostcall_names() -> &'static [&'static str] {
    &TABLE.names
}

/// Names of the hostcalls that answer [`Status::Unimplemented`].
#[must_use]
pub fn unimplemented_hostcalls() -> &'static [&'static str] {
    &[]
}

/// A function that every module may import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostcallType {
    /// `env`, or one of WASI's two namespaces.
    pub namespace: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Width of each parameter in bits: 32 or 64.
    pub parameters: Vec<u32>,
    /// Whether it answers an `i32`: a status, an errno or a truth value.
    pub answers: bool,
}

/// Every function that a module may import, by namespace and name.
#[must_use]
pub fn hostcalls() -> Vec<HostcallType> {
    let namespaces = TABLE.functions.iter();
    let functions = namespaces.flat_map(|(namespace, functions)| {
        functions.iter().map(|(name, function)| {
            let width = |t: &ValueType| if *t == ValueType::I64 { 64 } else { 32 };
            HostcallType {
                namespace,
                name,
                parameters: function.signature.params.iter().map(width).collect(),
                answers: !function.signature.results.is_empty(),
            }
        })
    });
    let mut all: Vec<_> = functions.collect();
    all.sort_unstable_by_key(|h| (h.namespace, h.name));
    all
}

/// The host function that a module imports as `namespace.name`.
pub(crate) fn host_function(namespace: &str, name: &str) -> Option<&'static HostFunction<VmState>> {
    TABLE.functions.get(namespace)?.get(name)
}

/// Checks that every import is a host function of the right type.
pub(crate) fn check_imports(module: &CompiledModule) -> Result<(), LoadError> {
    for import in module.imports() {
        let Some(function) = host_function(&import.module, &import.name) else {
            return Err(LoadError::UnknownImport {
                module: import.module,
                name: import.name,
                ty: import.ty.to_string(),
                offset: None,
            });
        };
        let expected = ExternType::Function(function.signature.clone());
        if import.ty != expected {
            return Err(LoadError::ImportType {
                module: import.module,
                name: import.name,
                expected: expected.to_string(),
                found: import.ty.to_string(),
                offset: None,
            });
        }
    }
    Ok(())
}
