//! [`Data`]: keys, values and their CAS numbers.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use lru::LruCache;

use super::ledger::Ledger;
use super::{Eviction, lock};
use crate::types::Status;

/// Parts with a lock each, so that workers rarely wait for one another.
const SHARDS: usize = 16;

/// Ordered by use where that decides about eviction, or else by the last write.
type Shard = LruCache<Bytes, Entry, RandomState>;

struct Entry {
    value: Bytes,
    cas: u32,
    /// When it came to the front of its shard's order: compares shards.
    used: u64,
}

pub(super) struct Data {
    /// Keys may come from clients: nobody can tell which of them collide.
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    clock: AtomicU64,
    ledger: Arc<Ledger>,
}

impl Data {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(LruCache::unbounded_with_hasher(hasher.clone()));
        Self {
            shards: std::array::from_fn(shard),
            hasher,
            clock: AtomicU64::new(0),
            ledger,
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        // The low bits choose the place in the shard's own table.
        let hash = self.hasher.hash_one(key) >> 32;
        lock(&self.shards[usize::try_from(hash).unwrap_or(0) % SHARDS])
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<(Bytes, u32)> {
        let by_use = self.ledger.eviction() == Eviction::Lru;
        let mut shard = self.shard(key);
        if !by_use {
            return shard
                .peek(key)
                .map(|entry| (entry.value.clone(), entry.cas));
        }
        let entry = shard.get_mut(key)?;
        entry.used = self.now();
        Some((entry.value.clone(), entry.cas))
    }

    /// Sets `key` as [`super::Space::set`] does; `next_cas` numbers the value.
    pub(super) fn set(
        &self,
        key: &Bytes,
        value: &Bytes,
        cas: u32,
        next_cas: impl Fn() -> u32,
    ) -> Result<(), Status> {
        let bytes = key.len() + value.len();
        while !self.try_set(key, value, cas, &next_cas)? {
            let makes_room = self.ledger.eviction() != Eviction::None;
            if !(makes_room && self.ledger.could_fit(bytes) && self.evict()) {
                self.ledger.data_refused();
                return Err(Status::InternalFailure);
            }
        }
        Ok(())
    }

    /// False when there is no room.
    fn try_set(
        &self,
        key: &Bytes,
        value: &Bytes,
        cas: u32,
        next_cas: impl Fn() -> u32,
    ) -> Result<bool, Status> {
        let mut shard = self.shard(key);
        let old = shard.peek(key);
        if old.is_some_and(|old| cas != 0 && cas != old.cas) {
            return Err(Status::CasMismatch);
        }
        let old = old.map(|old| key.len() + old.value.len());
        if !self.ledger.take_room(key.len() + value.len(), old) {
            return Ok(false);
        }
        let entry = Entry {
            value: value.clone(),
            cas: next_cas(),
            used: self.now(),
        };
        shard.put(key.clone(), entry);
        Ok(true)
    }

    /// Removes the entry that is last in the order; false when there is none.
    fn evict(&self) -> bool {
        let last = |shard: &Mutex<Shard>| lock(shard).peek_lru().map(|(_, entry)| entry.used);
        let shards = self.shards.iter();
        let oldest = shards
            .filter_map(|shard| Some((last(shard)?, shard)))
            .min_by_key(|(used, _)| *used);
        let Some((_, shard)) = oldest else {
            return false;
        };
        // Another thread may have been faster, and has made room then.
        if let Some((key, entry)) = lock(shard).pop_lru() {
            self.ledger.evicted(key.len() + entry.value.len());
        }
        true
    }
}
