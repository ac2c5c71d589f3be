//! The engine: everything that names a wasmer type lives here, behind a small
//! neutral face (compile a module, define its imports, call its exports, see
//! its memory), so that a second engine stays possible.
//!
//! One wasmer `Engine` a module: two modules of one engine whose function types
//! collide in their 32-bit hash poison it. Each instance has a copy of its own,
//! which shares the machine code and has the instance's limits.

mod caller;
mod clock;
mod code;
mod effort;
mod host_fn;
mod image;
mod instance;
mod module;
mod polls;
mod sealed;
mod signal;
mod trap;
mod tunables;
mod turns;

pub(crate) use caller::{AllocateError, Caller};
pub use clock::start_watchdog;
pub use effort::{CompileOptions, Effort};
pub(crate) use host_fn::{Entry, HostFn, HostFunction, IntoWasm, State};
pub(crate) use instance::{ALLOCATORS, GuestArgs, GuestFn, Instance, InstanceLimits, Results};
pub use module::Deadline;
pub(crate) use module::{
    CompiledModule, ExternType, Signature, ValueType, export_offset, import_offset,
};
pub(crate) use sealed::{Identity, SealKey};
pub(crate) use trap::{GuestTrap, HostTrap};
pub(crate) use turns::Turn;
