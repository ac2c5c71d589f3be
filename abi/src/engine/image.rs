//! [`Image`]: what an instance was like at a certain moment, to make it so again.
//!
//! The memory as it was is put below the instance's own as a file in memory: pages
//! that the guest writes to are copied, and dropping those copies brings the old
//! ones back. That costs as much as the guest has written, not as much as it has.

use wasmer::sys::vm::{LinearMemory, VMExtern};
use wasmer::{AsStoreMut, Extern, Memory, Pages, Store};

/// What an instance was like.
#[derive(Debug)]
pub(super) struct Image {
    memory: Backing,
    pages: Pages,
    /// Of all globals, those of the engine included.
    globals: Vec<u128>,
}

impl Image {
    /// Keeps what the instance is like now. `None` when the system has no room for
    /// it.
    pub(super) fn take(store: &mut Store, memory: &Memory) -> Option<Self> {
        let (base, bytes) = extent(store, memory);
        Some(Self {
            memory: Backing::below(base, bytes)?,
            pages: memory.view(store).size(),
            globals: store.objects_mut().as_sys().as_u128_globals(),
        })
    }

    /// Makes the instance what it was. False when it is of no use any more.
    pub(super) fn restore(&self, store: &mut Store, memory: &Memory) -> bool {
        let (base, now) = extent(store, memory);
        let then = self.pages.bytes().0;
        if !self.memory.restore(base, then, now) {
            return false;
        }
        let VMExtern::Memory(handle) = Extern::Memory(memory.clone()).to_vm_extern().unwrap_sys()
        else {
            return false;
        };
        let objects = store.objects_mut().as_sys_mut();
        let memory = handle.get_mut(objects);
        let sized = memory.reset().is_ok() && memory.grow(self.pages).is_ok();
        for (index, value) in self.globals.iter().enumerate() {
            objects.set_global_unchecked(index, *value);
        }
        sized
    }
}

/// Where the memory begins, and how many bytes it has.
fn extent(store: &Store, memory: &Memory) -> (*mut u8, usize) {
    let view = memory.view(store);
    let bytes = usize::try_from(view.data_size()).unwrap_or(0);
    (view.data_ptr(), bytes)
}

#[cfg(target_os = "linux")]
use linux::Backing;

#[cfg(not(target_os = "linux"))]
use elsewhere::Backing;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod linux {
    use std::ffi::c_void;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    use libc::{MAP_FAILED, MAP_FIXED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE};

    const PAGE: usize = 4096;

    /// The file that holds the memory as it was.
    #[derive(Debug)]
    pub(super) struct Backing {
        _file: OwnedFd,
    }

    impl Backing {
        /// Copies the `bytes` at `base` into a file, and puts that below them.
        pub(super) fn below(base: *mut u8, bytes: usize) -> Option<Self> {
            // SAFETY: it has no preconditions; the name is a C string.
            let fd = unsafe { libc::memfd_create(c"weir-guest".as_ptr(), libc::MFD_CLOEXEC) };
            if fd < 0 {
                return None;
            }
            // SAFETY: it is open, and nobody else's.
            let file = unsafe { OwnedFd::from_raw_fd(fd) };
            let length = libc::off_t::try_from(bytes).ok()?;
            // SAFETY: the file is open.
            if unsafe { libc::ftruncate(file.as_raw_fd(), length) } != 0 {
                return None;
            }
            // SAFETY: the guest's memory, which nobody writes to meanwhile.
            let memory = unsafe { std::slice::from_raw_parts(base, bytes) };
            for (number, page) in memory.chunks(PAGE).enumerate() {
                // What is not written is zero, and takes no room.
                if page.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let at = libc::off_t::try_from(number * PAGE).ok()?;
                let (from, length) = (page.as_ptr().cast::<c_void>(), page.len());
                // SAFETY: the page is readable.
                let written = unsafe { libc::pwrite(file.as_raw_fd(), from, length, at) };
                if usize::try_from(written) != Ok(length) {
                    return None;
                }
            }
            let access = PROT_READ | PROT_WRITE;
            let how = MAP_PRIVATE | MAP_FIXED;
            // SAFETY: the range is the guest's own, page by page, and what is put
            // there has the same bytes in it.
            let mapped =
                unsafe { libc::mmap(base.cast(), bytes, access, how, file.as_raw_fd(), 0) };
            (mapped != MAP_FAILED).then_some(Self { _file: file })
        }

        /// Brings back the first `then` bytes at `base`, of which there are `now`. False
        /// when the system does not do that, as for memory that is locked.
        pub(super) fn restore(&self, base: *mut u8, then: usize, now: usize) -> bool {
            // SAFETY: the range is the guest's own, which does not run. What it has
            // written is dropped; what has grown since is taken away.
            unsafe {
                libc::madvise(base.cast(), now, libc::MADV_DONTNEED) == 0
                    && (now <= then
                        || libc::mprotect(base.add(then).cast(), now - then, PROT_NONE) == 0)
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(unsafe_code)]
mod elsewhere {
    /// The memory as it was.
    #[derive(Debug)]
    pub(super) struct Backing {
        bytes: Vec<u8>,
    }

    impl Backing {
        pub(super) fn below(base: *mut u8, bytes: usize) -> Option<Self> {
            // SAFETY: the guest's memory, which nobody writes to meanwhile.
            let bytes = unsafe { std::slice::from_raw_parts(base, bytes) }.to_vec();
            Some(Self { bytes })
        }

        pub(super) fn restore(&self, base: *mut u8, then: usize, now: usize) -> bool {
            // SAFETY: the guest's memory, which nobody uses meanwhile; it never
            // shrinks.
            let memory = unsafe { std::slice::from_raw_parts_mut(base, now) };
            memory[..then].copy_from_slice(&self.bytes[..then]);
            memory[then..].fill(0);
            true
        }
    }
}
