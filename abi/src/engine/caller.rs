//! [`Caller`]: a host function's view of the guest that called it.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;

use wasmer::RuntimeError;
use wasmer::sys::vm::{VMCallerCheckedAnyfunc, VMMemoryDefinition};

use super::trap::GuestTrap;
use super::turns;

/// What the host functions of an instance share.
pub(crate) struct Env<T> {
    state: Rc<T>,
    /// Set once the instance exists; start sections run before.
    memory: Cell<Option<NonNull<VMMemoryDefinition>>>,
    allocator: Cell<Option<VMCallerCheckedAnyfunc>>,
}

impl<T> Env<T> {
    pub(super) fn new(state: Rc<T>) -> Rc<Self> {
        Rc::new(Self {
            state,
            memory: Cell::new(None),
            allocator: Cell::new(None),
        })
    }

    /// The instance exists: `memory` and `allocator` are its own, the second a function
    /// that takes a `u32` and gives one.
    pub(super) fn attach(
        &self,
        memory: Option<NonNull<VMMemoryDefinition>>,
        allocator: Option<VMCallerCheckedAnyfunc>,
    ) {
        self.memory.set(memory);
        self.allocator.set(allocator);
    }
}

/// A host function's view of the guest that called it.
pub(crate) struct Caller<'a, T> {
    env: &'a Env<T>,
}

/// The guest's allocator did not deliver.
#[derive(Debug)]
pub(crate) enum AllocateError {
    /// It returned 0, or a block that lies outside the memory.
    Refused,
    /// It trapped.
    Trapped(GuestTrap),
}

impl<'a, T> Caller<'a, T> {
    pub(super) fn new(env: &'a Env<T>) -> Self {
        Self { env }
    }

    /// What the instance's host functions share.
    pub(crate) fn state(&self) -> &'a Rc<T> {
        &self.env.state
    }

    /// The guest's whole memory; empty while the instance is being created.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        let Some(memory) = self.env.memory.get() else {
            return &mut [];
        };
        // SAFETY: base and size of the memory as it is now, of an instance that lives, as
        // it is being called. The guest is stopped inside this host function and the
        // memory is not shared between threads; `&mut self` keeps any second slice, and
        // any call into the guest (which could grow the memory), away while this one
        // lives.
        #[allow(unsafe_code)]
        unsafe {
            let VMMemoryDefinition {
                base,
                current_length,
            } = *memory.as_ptr();
            slice::from_raw_parts_mut(base, current_length)
        }
    }

    /// Has the guest allocate `size` bytes; returns the address of the block,
    /// which lies inside the memory.
    pub(crate) fn allocate(&mut self, size: u32) -> Result<u32, AllocateError> {
        let Some(allocator) = self.env.allocator.get() else {
            return Err(AllocateError::Refused);
        };
        let address = turns::call(allocator, size)
            .map_err(|trap| AllocateError::Trapped(RuntimeError::from(trap).into()))?;
        let end = address as usize + size as usize;
        if address == 0 || end > self.memory().len() {
            return Err(AllocateError::Refused);
        }
        Ok(address)
    }
}
