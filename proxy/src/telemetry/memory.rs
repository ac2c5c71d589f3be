//! How much memory the process has.

use tikv_jemalloc_ctl::{epoch, stats};

use super::family as f;
use super::page::Page;

/// Memory of the process in bytes, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// What Weir has asked for and not given back; without the memory of guests.
    pub(crate) allocated: Option<u64>,
    /// What the allocator has of the system for it.
    pub(crate) heap: Option<u64>,
    /// What the process has in memory, that of guests included.
    pub(crate) resident: Option<u64>,
}

/// What there is now.
pub(crate) fn now() -> Memory {
    // The allocator's numbers are those of the last epoch.
    let refreshed = epoch::advance().is_ok();
    let of_allocator = |read: fn() -> tikv_jemalloc_ctl::Result<usize>| {
        read().ok().filter(|_| refreshed).map(|bytes| bytes as u64)
    };
    Memory {
        allocated: of_allocator(stats::allocated::read),
        heap: of_allocator(stats::resident::read),
        resident: resident(),
    }
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

pub(super) fn show(page: &mut Page) {
    let now = now();
    for (family, bytes) in [
        (&f::MEMORY_ALLOCATED, now.allocated),
        (&f::MEMORY_HEAP, now.heap),
        (&f::MEMORY_PHYSICAL, now.resident),
    ] {
        if let Some(bytes) = bytes {
            page.level(family, &[], bytes);
        }
    }
}
