//! The engine: everything that names a wasmer type lives here, behind a small
//! neutral face (compile a module, define its imports, call its exports, see
//! its memory), so that a second engine stays possible.
//!
//! One wasmer `Engine` a module: two modules of one engine whose function types
//! collide in their 32-bit hash poison it.

mod caller;
mod host_fn;
mod instance;
mod module;
mod trap;

pub(crate) use caller::{AllocateError, Caller};
pub(crate) use host_fn::{Entry, HostFn, HostFunction, IntoWasm, State};
pub(crate) use instance::{ALLOCATORS, GuestArgs, GuestFn, Instance, Results};
pub(crate) use module::{CompiledModule, ExternType, Signature, ValueType};
pub(crate) use trap::{GuestTrap, HostTrap};
