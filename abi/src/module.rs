//! [`Module`]: a compiled and checked proxy-wasm module.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::callbacks;
use crate::engine::{
    CompileOptions, CompiledModule, Deadline, ExternType, export_offset, import_offset,
};
use crate::failure::Failure;
use crate::imports;
use crate::limits::MODULE_BYTES_MAX;
use crate::types::AbiVersion;

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Not WebAssembly in binary form.
    #[error("this is not a WebAssembly binary: it begins with {}", beginning(.0))]
    NotWasm(Vec<u8>),
    /// More bytes than a module may have.
    #[error("the module has {bytes} bytes; {limit} are allowed")]
    TooLarge {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it may have: [`MODULE_BYTES_MAX`].
        limit: usize,
    },
    /// Malformed WebAssembly, or WebAssembly this engine cannot compile.
    #[error("the module cannot be compiled: {0}")]
    Compile(String),
    /// No exported function tells the ABI version.
    #[error(
        "the module exports no ABI version marker such as `proxy_abi_version_0_2_1`{}",
        other_marker(.0)
    )]
    NoAbiVersion(Option<String>),
    /// The memory is not exported.
    #[error("the module does not export its memory")]
    NoMemory,
    /// Neither of the allocators is exported.
    #[error(
        "the module exports no allocator: neither `malloc` nor `proxy_on_memory_allocate` \
         of type (i32) -> (i32)"
    )]
    NoAllocator,
    /// No proxy-wasm host offers the import.
    #[error(
        "the module imports `{module}.{name}` ({ty}), which no proxy-wasm host offers{}",
        place(*offset)
    )]
    UnknownImport {
        /// Namespace of the import.
        module: String,
        /// Name of the import.
        name: String,
        /// Its type.
        ty: String,
        /// Where in the binary it stands, in bytes; `None` if that is not known.
        offset: Option<u64>,
    },
    /// The import exists, with another type.
    #[error(
        "the module imports `{module}.{name}` as {found}; it is {expected}{}",
        place(*offset)
    )]
    ImportType {
        /// Namespace of the import.
        module: String,
        /// Name of the import.
        name: String,
        /// The host function's type.
        expected: String,
        /// The type in the module.
        found: String,
        /// Where in the binary it stands, in bytes; `None` if that is not known.
        offset: Option<u64>,
    },
    /// A callback is exported with a type that its ABI version does not have.
    #[error(
        "the module exports `{name}` as {found}; in ABI {abi} it is {expected}{}",
        place(*offset)
    )]
    ExportType {
        /// Name of the export.
        name: &'static str,
        /// The module's ABI version.
        abi: AbiVersion,
        /// The type in the ABI.
        expected: String,
        /// The type in the module.
        found: String,
        /// Where in the binary it stands, in bytes; `None` if that is not known.
        offset: Option<u64>,
    },
    /// More memory than the VM may have, before the module has even started.
    #[error("the module begins with {declared} bytes of memory; it may have {limit}")]
    Memory {
        /// Bytes that the module declares.
        declared: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// Instantiation or a start function failed.
    #[error("the module does not start: {0}")]
    Start(#[source] Failure),
}

impl LoadError {
    /// With the place in the binary of what is wrong.
    fn placed(mut self, wasm: &[u8]) -> Self {
        match &mut self {
            Self::UnknownImport {
                module,
                name,
                offset,
                ..
            }
            | Self::ImportType {
                module,
                name,
                offset,
                ..
            } => *offset = import_offset(wasm, module, name),
            Self::ExportType { name, offset, .. } => *offset = export_offset(wasm, name),
            _ => {}
        }
        self
    }
}

fn place(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" (at offset {offset:#x})"))
}

/// The first bytes of a file, for a person.
fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "nothing at all".to_owned()
    } else {
        format!("`{}`", bytes.escape_ascii())
    }
}

fn other_marker(found: &Option<String>) -> String {
    found.as_ref().map_or_else(String::new, |name| {
        format!("; it exports `{name}`, a version this host does not know")
    })
}

/// First bytes of every WebAssembly binary.
const MAGIC: &[u8] = b"\0asm";

/// Whether something can be a module at all.
pub(crate) fn check_size(wasm: &[u8]) -> Result<(), LoadError> {
    if !wasm.starts_with(MAGIC) {
        let beginning = wasm.get(..8).unwrap_or(wasm);
        return Err(LoadError::NotWasm(beginning.to_vec()));
    }
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge {
            bytes: wasm.len(),
            limit: MODULE_BYTES_MAX,
        });
    }
    Ok(())
}

/// A compiled module, checked as far as that is possible without running it.
/// Cheap to clone and shared by all threads.
#[derive(Clone)]
pub struct Module {
    pub(crate) compiled: CompiledModule,
    abi: AbiVersion,
    digest: [u8; 32],
    deadline: Deadline,
}

impl Module {
    /// Compiles `wasm` (binary form) and checks marker, memory, allocator,
    /// imports and callbacks. Takes tens of milliseconds for a filter of
    /// 100 KiB: keep it off the data path.
    ///
    /// # Errors
    /// [`LoadError`], naming the import or export that is wrong.
    pub fn compile(wasm: &[u8]) -> Result<Self, LoadError> {
        Self::compile_for(wasm, CompileOptions::default())
    }

    /// As [`Module::compile`], for a certain way of ending callbacks that take too
    /// long, or beside others who are not to notice it.
    ///
    /// # Errors
    /// As [`Module::compile`].
    pub fn compile_for(wasm: &[u8], options: impl Into<CompileOptions>) -> Result<Self, LoadError> {
        check_size(wasm)?;
        let options = options.into();
        let compiled = CompiledModule::compile(wasm, options).map_err(LoadError::Compile)?;
        Self::of(
            compiled,
            wasm,
            Sha256::digest(wasm).into(),
            options.deadline,
        )
    }

    /// Checks what was compiled from `wasm`, whose SHA-256 is `digest`.
    pub(crate) fn of(
        compiled: CompiledModule,
        wasm: &[u8],
        digest: [u8; 32],
        deadline: Deadline,
    ) -> Result<Self, LoadError> {
        let abi = abi_version(&compiled)?;
        if !compiled.exports().any(|(_, ty)| ty == ExternType::Memory) {
            return Err(LoadError::NoMemory);
        }
        callbacks::check_exports(&compiled, abi).map_err(|e| e.placed(wasm))?;
        imports::check_imports(&compiled).map_err(|e| e.placed(wasm))?;
        Ok(Self {
            compiled,
            abi,
            digest,
            deadline,
        })
    }

    /// The ABI version that the module was built for.
    #[must_use]
    pub fn abi(&self) -> AbiVersion {
        self.abi
    }

    /// How callbacks that take too long are found out.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// SHA-256 of the binary.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("abi", &self.abi).finish()
    }
}

/// The first marker in the export section decides, as in Envoy.
fn abi_version(module: &CompiledModule) -> Result<AbiVersion, LoadError> {
    let mut other = None;
    for (name, ty) in module.exports() {
        if !matches!(ty, ExternType::Function(_)) {
            continue;
        }
        if let Some(version) = AbiVersion::from_marker(&name) {
            return Ok(version);
        }
        if name.starts_with(AbiVersion::MARKER_PREFIX) {
            other.get_or_insert(name);
        }
    }
    Err(LoadError::NoAbiVersion(other))
}
