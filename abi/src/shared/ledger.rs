//! [`Ledger`]: the limits of a space, and what counts against them.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{DataLimits, Eviction, QueueLimits, SharedLimits, SpaceStats};

/// Limits and counts, all of which any thread may read and change.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    data_bytes_max: AtomicUsize,
    data_entries_max: AtomicUsize,
    eviction: AtomicU8,
    queue_bytes_max: AtomicUsize,
    queue_items_max: AtomicUsize,
    queues_max: AtomicUsize,
    data_bytes: AtomicUsize,
    data_entries: AtomicUsize,
    data_refused: AtomicU64,
    data_evicted: AtomicU64,
    queue_refused: AtomicU64,
}

impl Ledger {
    pub(super) fn new(limits: SharedLimits) -> Self {
        let ledger = Self::default();
        ledger.set_limits(limits);
        ledger
    }

    pub(super) fn set_limits(&self, limits: SharedLimits) {
        let SharedLimits {
            data:
                DataLimits {
                    bytes,
                    entries,
                    eviction,
                },
            queues:
                QueueLimits {
                    bytes: queue_bytes,
                    items,
                    queues,
                },
        } = limits;
        self.data_bytes_max.store(bytes, Relaxed);
        self.data_entries_max.store(entries, Relaxed);
        self.eviction.store(eviction as u8, Relaxed);
        self.queue_bytes_max.store(queue_bytes, Relaxed);
        self.queue_items_max.store(items, Relaxed);
        self.queues_max.store(queues, Relaxed);
    }

    /// Whether room is made, and by use rather than by age.
    pub(super) fn eviction(&self) -> Eviction {
        let number = self.eviction.load(Relaxed);
        let all = [Eviction::Lru, Eviction::Oldest];
        let found = all.into_iter().find(|eviction| *eviction as u8 == number);
        found.unwrap_or(Eviction::None)
    }

    /// Whether an entry of so many bytes fits when there is no other.
    pub(super) fn could_fit(&self, bytes: usize) -> bool {
        bytes <= self.data_bytes_max.load(Relaxed) && self.data_entries_max.load(Relaxed) > 0
    }

    /// Counts an entry of `bytes` in the place of one of `old` bytes. False, and
    /// nothing counted, when that would exceed a limit; what takes no more room
    /// than before never does.
    pub(super) fn take_room(&self, bytes: usize, old: Option<usize>) -> bool {
        let entries_max = self.data_entries_max.load(Relaxed);
        let one_more = |n: usize| (n < entries_max).then_some(n + 1);
        if old.is_none() && !update(&self.data_entries, one_more) {
            return false;
        }
        let bytes_max = self.data_bytes_max.load(Relaxed);
        let before = old.unwrap_or(0);
        let fits = update(&self.data_bytes, |n| {
            let total = (n - before).checked_add(bytes)?;
            (total <= bytes_max || bytes <= before).then_some(total)
        });
        if !fits && old.is_none() {
            self.data_entries.fetch_sub(1, Relaxed);
        }
        fits
    }

    /// Counts that an entry made room for others.
    pub(super) fn evicted(&self, bytes: usize) {
        self.data_entries.fetch_sub(1, Relaxed);
        self.data_bytes.fetch_sub(bytes, Relaxed);
        self.data_evicted.fetch_add(1, Relaxed);
    }

    pub(super) fn data_refused(&self) {
        self.data_refused.fetch_add(1, Relaxed);
    }

    /// Number of queues that there may be.
    pub(super) fn queues(&self) -> usize {
        self.queues_max.load(Relaxed)
    }

    /// Whether a queue may hold so much.
    pub(super) fn queue_fits(&self, items: usize, bytes: usize) -> bool {
        items <= self.queue_items_max.load(Relaxed) && bytes <= self.queue_bytes_max.load(Relaxed)
    }

    pub(super) fn queue_refused(&self) {
        self.queue_refused.fetch_add(1, Relaxed);
    }

    /// What counts against the limits of data, and what was refused.
    pub(super) fn stats(&self) -> SpaceStats {
        SpaceStats {
            data_bytes: self.data_bytes.load(Relaxed),
            data_entries: self.data_entries.load(Relaxed),
            data_refused: self.data_refused.load(Relaxed),
            data_evicted: self.data_evicted.load(Relaxed),
            queue_refused: self.queue_refused.load(Relaxed),
            ..SpaceStats::default()
        }
    }
}

fn update(count: &AtomicUsize, change: impl FnMut(usize) -> Option<usize>) -> bool {
    count.fetch_update(Relaxed, Relaxed, change).is_ok()
}
