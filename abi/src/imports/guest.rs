//! Reading from and writing to the guest, with every pointer checked.

use bytes::Bytes;

use super::{Cx, Outcome, Stop};
use crate::engine::{AllocateError, HostTrap, State as _};
use crate::types::Status;
use crate::vm_state::Phase;

impl From<AllocateError> for Stop {
    fn from(error: AllocateError) -> Self {
        match error {
            AllocateError::Refused => Self::Status(Status::InvalidMemoryAccess),
            AllocateError::Trapped(trap) => Self::Trap(HostTrap::Allocator(trap)),
        }
    }
}

fn range(address: u32, length: u32) -> std::ops::Range<usize> {
    let start = address as usize;
    start..start + length as usize
}

impl Cx<'_> {
    /// The guest's bytes at `address`.
    pub(super) fn read(&mut self, address: u32, length: u32) -> Result<&[u8], Status> {
        self.memory()
            .get(range(address, length))
            .ok_or(Status::InvalidMemoryAccess)
    }

    /// A copy of the guest's bytes at `address`.
    pub(super) fn read_bytes(&mut self, address: u32, length: u32) -> Result<Bytes, Status> {
        self.read(address, length).map(Bytes::copy_from_slice)
    }

    /// The guest's bytes at `address`, to write into.
    pub(super) fn slice(&mut self, address: u32, length: u32) -> Result<&mut [u8], Status> {
        self.memory()
            .get_mut(range(address, length))
            .ok_or(Status::InvalidMemoryAccess)
    }

    /// Writes `bytes` at `address`.
    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Status> {
        let length = u32::try_from(bytes.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        self.slice(address, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a `u32` at `address`.
    pub(super) fn write_u32(&mut self, address: u32, value: u32) -> Result<(), Status> {
        self.write(address, &value.to_le_bytes())
    }

    /// Hands `length` bytes to the guest in a block of its own: allocates the
    /// block, has `fill` write it, and stores its address and length where the
    /// guest asked for them. The guest owns the block. Nothing is allocated for
    /// zero bytes; address and length are 0 then.
    ///
    /// The guest's allocator runs and may log: no map or buffer of a stream may
    /// be borrowed across this call. `fill` runs after it and may borrow.
    pub(super) fn give_with(
        &mut self,
        length: usize,
        address_out: u32,
        length_out: u32,
        fill: impl FnOnce(&mut [u8]),
    ) -> Outcome {
        let length = u32::try_from(length).map_err(|_| Status::InvalidMemoryAccess)?;
        let mut address = 0;
        if length > 0 {
            // Checked before the guest runs, so that a bad pointer leaks no block.
            self.slice(address_out, 4)?;
            self.slice(length_out, 4)?;
            let phase = self.state().phase.replace(Phase::Allocating);
            let allocated = self.allocate(length);
            self.state().phase.set(phase);
            address = allocated?;
            if let Some(watch) = self.state().watch() {
                watch.allocated(length);
            }
            fill(self.slice(address, length)?);
        }
        self.write_u32(address_out, address)?;
        self.write_u32(length_out, length)?;
        Ok(())
    }

    /// Hands `bytes` to the guest in a block of its own.
    pub(super) fn give(&mut self, bytes: &[u8], address_out: u32, length_out: u32) -> Outcome {
        self.give_with(bytes.len(), address_out, length_out, |block| {
            block.copy_from_slice(bytes);
        })
    }
}
