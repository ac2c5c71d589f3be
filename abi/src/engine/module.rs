//! A compiled module and what it imports and exports.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmer::sys::wasmparser::{Parser, Payload};
use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder, Features};
use wasmer::{Engine, ExternType as WasmerExtern, FunctionType, Type};

use super::code::Code;
use super::effort::{CompileOptions, Effort};
use super::polls::Polls;
use super::signal;

/// How a callback that takes too long is found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// By another thread, which interrupts the guest with a signal. Costs the
    /// guest nothing. On `x86-64` Linux; elsewhere it is [`Deadline::Counter`].
    Watchdog,
    /// By the guest itself, in whose code a counter is put.
    Counter,
    /// Not at all: callbacks take as long as they like.
    Off,
}

impl Default for Deadline {
    /// The watchdog where there is one.
    fn default() -> Self {
        if signal::AVAILABLE {
            Self::Watchdog
        } else {
            Self::Counter
        }
    }
}

impl Deadline {
    /// What there is in its place on this machine.
    pub(super) fn available(self) -> Self {
        match self {
            Self::Watchdog => Self::default(),
            other => other,
        }
    }
}

/// The value types that cross the ABI, and the name of any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    I32,
    I64,
    Other(&'static str),
}

impl From<Type> for ValueType {
    fn from(t: Type) -> Self {
        match t {
            Type::I32 => Self::I32,
            Type::I64 => Self::I64,
            Type::F32 => Self::Other("f32"),
            Type::F64 => Self::Other("f64"),
            Type::V128 => Self::Other("v128"),
            _ => Self::Other("reference"),
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Other(name) => name,
        })
    }
}

/// Parameters and results of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: Vec<ValueType>,
    pub(crate) results: Vec<ValueType>,
}

impl Signature {
    pub(crate) fn new(params: &[ValueType], results: &[ValueType]) -> Self {
        Self {
            params: params.to_vec(),
            results: results.to_vec(),
        }
    }

    /// That of a host function, in the engine's terms: there are no types besides these.
    pub(super) fn of_host_function(&self) -> FunctionType {
        let types = |types: &[ValueType]| -> Vec<_> {
            let is_wide = |t: &ValueType| *t == ValueType::I64;
            let of = |t| if is_wide(t) { Type::I64 } else { Type::I32 };
            types.iter().map(of).collect()
        };
        FunctionType::new(types(&self.params), types(&self.results))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |types: &[ValueType]| {
            types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        write!(f, "({}) -> ({})", list(&self.params), list(&self.results))
    }
}

/// Type of an import or export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExternType {
    Function(Signature),
    Memory,
    Other(&'static str),
}

impl From<&WasmerExtern> for ExternType {
    fn from(t: &WasmerExtern) -> Self {
        match t {
            WasmerExtern::Function(f) => Self::Function(Signature {
                params: f.params().iter().copied().map(Into::into).collect(),
                results: f.results().iter().copied().map(Into::into).collect(),
            }),
            WasmerExtern::Memory(_) => Self::Memory,
            WasmerExtern::Global(_) => Self::Other("global"),
            WasmerExtern::Table(_) => Self::Other("table"),
            WasmerExtern::Tag(_) => Self::Other("tag"),
        }
    }
}

impl fmt::Display for ExternType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(signature) => write!(f, "function {signature}"),
            Self::Memory => f.write_str("memory"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// One import of a module.
pub(crate) struct Import {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) ty: ExternType,
}

/// An engine for one module, whose functions `polls` rewrites.
pub(super) fn engine(polls: Polls, effort: Effort) -> Engine {
    let mut compiler = Cranelift::new();
    compiler.push_middleware(Arc::new(polls));
    effort.limit(&mut compiler);
    let mut features = Features::new();
    // A guest that waits for another thread would wait for ever.
    features.threads(false);
    let engine = EngineBuilder::new(compiler).set_features(Some(features));
    engine.engine().into()
}

/// Machine code of one module; shared by all threads.
#[derive(Clone)]
pub(crate) struct CompiledModule {
    pub(super) engine: Engine,
    pub(super) module: wasmer::Module,
    pub(super) code: Arc<Code>,
}

impl CompiledModule {
    /// Compiles `wasm`; the error is the compiler's own sentence.
    pub(crate) fn compile(wasm: &[u8], options: CompileOptions) -> Result<Self, String> {
        catch_unwind(AssertUnwindSafe(|| {
            let deadline = options.deadline.available();
            let polls = Polls::new(deadline);
            let changes_more = polls.changes_more();
            let engine = engine(polls, options.effort);
            let module = wasmer::Module::new(&engine, wasm).map_err(|e| e.to_string())?;
            let changes_more = changes_more.load(Ordering::Relaxed);
            Ok(Self::of(engine, module, deadline, changes_more))
        }))
        .unwrap_or_else(|_| Err("the compiler panicked".to_owned()))
    }

    pub(super) fn of(
        engine: Engine,
        module: wasmer::Module,
        deadline: Deadline,
        changes_more: bool,
    ) -> Self {
        let code = Arc::new(Code::of(&module, deadline, changes_more));
        Self {
            engine,
            module,
            code,
        }
    }

    pub(crate) fn imports(&self) -> impl Iterator<Item = Import> + '_ {
        self.module.imports().map(|i| Import {
            module: i.module().to_owned(),
            name: i.name().to_owned(),
            ty: i.ty().into(),
        })
    }

    /// Exports in the order of the module.
    pub(crate) fn exports(&self) -> impl Iterator<Item = (String, ExternType)> + '_ {
        self.module
            .exports()
            .map(|e| (e.name().to_owned(), e.ty().into()))
    }

    /// Bytes that all memories of an instance have from the beginning.
    pub(crate) fn initial_memory(&self) -> usize {
        let memories = self.module.info().memories.values();
        memories.map(|m| m.minimum.bytes().0).sum()
    }
}

/// Where in the binary a module imports `module.name`.
pub(crate) fn import_offset(wasm: &[u8], module: &str, name: &str) -> Option<u64> {
    let section = sections(wasm).find_map(|payload| match payload {
        Payload::ImportSection(section) => Some(section),
        _ => None,
    })?;
    let mut imports = section.into_imports_with_offsets().filter_map(Result::ok);
    let found = imports.find(|(_, import)| import.module == module && import.name == name);
    found.map(|(offset, _)| offset)
}

/// Where in the binary a module exports `name`.
pub(crate) fn export_offset(wasm: &[u8], name: &str) -> Option<u64> {
    let section = sections(wasm).find_map(|payload| match payload {
        Payload::ExportSection(section) => Some(section),
        _ => None,
    })?;
    let mut exports = section.into_iter_with_offsets().filter_map(Result::ok);
    let found = exports.find(|(_, export)| export.name == name);
    found.map(|(offset, _)| offset)
}

fn sections(wasm: &[u8]) -> impl Iterator<Item = Payload<'_>> {
    Parser::new(0).parse_all(wasm).filter_map(Result::ok)
}
