//! [`Caller`]: a host function's view of the guest that called it.

use std::rc::Rc;

use wasmer::{FunctionEnvMut, Memory, TypedFunction};

use super::trap::GuestTrap;

/// What the engine keeps with every instance.
pub(crate) struct Env<T> {
    pub(super) state: Rc<T>,
    /// Set once the instance exists; start sections run before.
    pub(super) memory: Option<Memory>,
    pub(super) allocator: Option<TypedFunction<u32, u32>>,
}

/// A value that never leaves the thread of the store it lives in.
pub(crate) struct Confined<V>(pub(super) V);

// SAFETY: wasmer asks for `Send` of what it keeps in a store, but `Store` itself
// is neither `Send` nor `Sync`: the value is created, used and dropped on the
// thread that owns the store.
#[allow(unsafe_code)]
unsafe impl<V> Send for Confined<V> {}

/// A host function's view of the guest that called it.
pub(crate) struct Caller<'a, T: 'static> {
    env: FunctionEnvMut<'a, Confined<Env<T>>>,
    state: Rc<T>,
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
    pub(super) fn new(env: FunctionEnvMut<'a, Confined<Env<T>>>) -> Self {
        let state = Rc::clone(&env.data().0.state);
        Self { env, state }
    }

    /// What the instance's host functions share.
    pub(crate) fn state(&self) -> &Rc<T> {
        &self.state
    }

    /// The guest's whole memory; empty while the instance is being created.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        let (env, store) = self.env.data_and_store_mut();
        let Some(memory) = &env.0.memory else {
            return &mut [];
        };
        let view = memory.view(&store);
        let size = usize::try_from(view.data_size()).unwrap_or(0);
        // SAFETY: the view gives base and size of the memory as it is now. The
        // guest is stopped inside this host function and the memory is not
        // shared between threads; `&mut self` keeps any second slice, and any
        // call into the guest (which could grow the memory), away while this
        // one lives.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts_mut(view.data_ptr(), size)
        }
    }

    /// Has the guest allocate `size` bytes; returns the address of the block,
    /// which lies inside the memory.
    pub(crate) fn allocate(&mut self, size: u32) -> Result<u32, AllocateError> {
        let Some(allocator) = self.env.data().0.allocator.clone() else {
            return Err(AllocateError::Refused);
        };
        let address = allocator
            .call(&mut self.env, size)
            .map_err(|e| AllocateError::Trapped(e.into()))?;
        let end = address as usize + size as usize;
        if address == 0 || end > self.memory().len() {
            return Err(AllocateError::Refused);
        }
        Ok(address)
    }
}
