//! [`GuestTunables`]: the memory that one instance may have.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use wasmer::sys::vm::{
    InternalStoreHandle, LinearMemory, MemoryError, MemoryStyle, StoreObjects, TableStyle,
    VMConfig, VMGlobal, VMGlobalDefinition, VMMemory, VMMemoryDefinition, VMOwnedMemory, VMTable,
    VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Tunables};
use wasmer::{MemoryType, Pages, TableType};
use wasmer_compiler::LinkError;
use wasmer_types::entity::PrimaryMap;
use wasmer_types::{LocalGlobalIndex, ModuleInfo};

use super::clock::{self, Over};
use crate::limits::{STACK_BYTES, TABLE_ELEMENTS_MAX};

/// Bytes that an instance may have, in all of its memories.
#[derive(Debug)]
struct Budget {
    left: AtomicUsize,
}

impl Budget {
    /// Takes `bytes`; false when there are not so many.
    fn take(&self, bytes: usize) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        let rest = left.checked_sub(bytes);
        rest.map(|rest| self.left.store(rest, Ordering::Relaxed))
            .is_some()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The stack that guests run on.
pub(super) static VM_CONFIG: VMConfig = VMConfig {
    wasm_stack_size: Some(STACK_BYTES),
};

/// How the memories and tables of one instance are made.
pub(super) struct GuestTunables {
    base: BaseTunables,
    budget: Arc<Budget>,
    /// Told the place of the last global, if that is of interest.
    made: Option<Arc<OnceLock<Location>>>,
}

/// Where the last global of an instance is: with a counter, the one that says
/// whether its time is over.
#[derive(Debug, Clone, Copy)]
struct Location(Over);

// SAFETY: it is used by the thread that makes the instance, while it does, and by
// the watchdog, for which the clock sees to that the instance lives.
#[allow(unsafe_code)]
unsafe impl Send for Location {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Location {}

/// Where an instance that is made has what the clock needs to know.
#[derive(Debug, Default)]
pub(super) struct Made(Arc<OnceLock<Location>>);

impl Made {
    /// The global that says whether its time is over.
    pub(super) fn over(&self) -> Option<Over> {
        self.0.get().map(|location| location.0)
    }
}

impl GuestTunables {
    /// `memory`: bytes that the instance may have. `made` is for one whose guest
    /// counts.
    pub(super) fn new(memory: usize, made: Option<&Made>) -> Self {
        Self {
            made: made.map(|made| Arc::clone(&made.0)),
            base: BaseTunables::new(),
            budget: Arc::new(Budget {
                left: AtomicUsize::new(memory),
            }),
        }
    }
}

/// With its largest size lowered to what any table may have.
fn limited(table: &TableType) -> Result<TableType, String> {
    if table.minimum > TABLE_ELEMENTS_MAX {
        return Err(format!(
            "a table of {} elements; {TABLE_ELEMENTS_MAX} are allowed",
            table.minimum
        ));
    }
    let maximum = table.maximum.map_or(TABLE_ELEMENTS_MAX, |maximum| {
        maximum.min(TABLE_ELEMENTS_MAX)
    });
    Ok(TableType::new(table.ty, table.minimum, Some(maximum)))
}

#[allow(unsafe_code)]
impl Tunables for GuestTunables {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        self.base.create_host_memory(ty, style)
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        if !self.budget.take(ty.minimum.bytes().0) {
            return Err(MemoryError::CouldNotGrow {
                current: Pages(0),
                attempted_delta: ty.minimum,
            });
        }
        // SAFETY: the caller vouches for the location.
        let memory = unsafe { VMOwnedMemory::from_definition(ty, style, location)? };
        Ok(VMMemory(Box::new(GuestMemory {
            memory,
            budget: Arc::clone(&self.budget),
        })))
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(&limited(ty)?, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: the caller vouches for the location.
        unsafe { self.base.create_vm_table(&limited(ty)?, style, location) }
    }

    fn create_globals(
        &self,
        context: &mut StoreObjects,
        module: &ModuleInfo,
        locations: &[NonNull<VMGlobalDefinition>],
    ) -> Result<PrimaryMap<LocalGlobalIndex, InternalStoreHandle<VMGlobal>>, LinkError> {
        let globals = self.base.create_globals(context, module, locations)?;
        if let Some((made, last)) = self.made.as_ref().zip(locations.last()) {
            let over = Over(last.cast());
            if made.set(Location(over)).is_ok() {
                clock::made(over);
            }
        }
        Ok(globals)
    }

    fn vmconfig(&self) -> &VMConfig {
        &VM_CONFIG
    }
}

/// A memory that grows within the instance's budget.
#[derive(Debug)]
struct GuestMemory {
    memory: VMOwnedMemory,
    budget: Arc<Budget>,
}

impl GuestMemory {
    fn refused(&self, delta: Pages) -> MemoryError {
        MemoryError::CouldNotGrow {
            current: self.memory.size(),
            attempted_delta: delta,
        }
    }
}

#[allow(unsafe_code)]
impl LinearMemory for GuestMemory {
    fn ty(&self) -> MemoryType {
        self.memory.ty()
    }

    fn size(&self) -> Pages {
        self.memory.size()
    }

    fn style(&self) -> MemoryStyle {
        self.memory.style()
    }

    /// Also how a guest asks whether its time is over.
    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        if clock::must_end() {
            return Err(self.refused(delta));
        }
        let bytes = delta.bytes().0;
        if !self.budget.take(bytes) {
            clock::out_of_memory();
            return Err(self.refused(delta));
        }
        self.memory.grow(delta).inspect_err(|_| {
            self.budget.give_back(bytes);
            clock::out_of_memory();
        })
    }

    /// Only for growing again.
    fn reset(&mut self) -> Result<(), MemoryError> {
        self.budget.give_back(self.memory.size().bytes().0);
        self.memory.reset()
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.memory.vmmemory()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        self.memory.try_clone()
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        LinearMemory::copy(&self.memory)
    }
}
