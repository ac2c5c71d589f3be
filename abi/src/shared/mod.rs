//! What VMs share by their `vm_id`, on all threads: data with compare-and-swap,
//! and queues.
//!
//! A [`SharedState`] stands for the process. It hands out a [`Space`] for each
//! `vm_id`, whose contents live as long as somebody holds it: the last VM, or
//! whoever may start another. No lock is held while a guest runs.

mod data;
mod ledger;
mod queue;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use self::data::Data;
use self::ledger::Ledger;
use self::queue::Queue;
use crate::limits::{
    SHARED_DATA_BYTES, SHARED_DATA_ENTRIES, SHARED_QUEUE_BYTES, SHARED_QUEUE_ITEMS, SHARED_QUEUES,
};
use crate::types::Status;

pub use self::queue::QueueConsumer;

/// The spaces of a process, and the numbers that are one count in all of them.
#[derive(Default)]
pub struct SharedState {
    spaces: Mutex<FxHashMap<String, Weak<Space>>>,
    /// Queues by their number.
    queues: RwLock<FxHashMap<u32, Weak<Queue>>>,
    last_queue: AtomicU32,
    last_cas: AtomicU32,
}

/// What may be kept for one `vm_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedLimits {
    /// For data.
    pub data: DataLimits,
    /// For queues.
    pub queues: QueueLimits,
}

/// What may be kept as data for one `vm_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLimits {
    /// Bytes of all keys and values.
    pub bytes: usize,
    /// Number of keys.
    pub entries: usize,
    /// What makes room for more.
    pub eviction: Eviction,
}

impl Default for DataLimits {
    fn default() -> Self {
        Self {
            bytes: SHARED_DATA_BYTES,
            entries: SHARED_DATA_ENTRIES,
            eviction: Eviction::None,
        }
    }
}

/// What may be kept in the queues of one `vm_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes in one queue.
    pub bytes: usize,
    /// Items in one queue.
    pub items: usize,
    /// Number of queues.
    pub queues: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            bytes: SHARED_QUEUE_BYTES,
            items: SHARED_QUEUE_ITEMS,
            queues: SHARED_QUEUES,
        }
    }
}

/// What makes room for data when a limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// Nothing: what does not fit is refused.
    #[default]
    None,
    /// The entry goes that was neither read nor written for the longest time.
    Lru,
    /// The entry goes that was not written for the longest time.
    Oldest,
}

/// What a space holds, and what it had no room for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpaceStats {
    /// The `vm_id`.
    pub vm_id: String,
    /// Bytes of all keys and values.
    pub data_bytes: usize,
    /// Number of keys.
    pub data_entries: usize,
    /// Values that were refused, since the space exists.
    pub data_refused: u64,
    /// Entries that made room for others.
    pub data_evicted: u64,
    /// Number of queues.
    pub queues: usize,
    /// Bytes in all queues.
    pub queue_bytes: usize,
    /// Items in all queues.
    pub queue_items: usize,
    /// Items and queues that were refused.
    pub queue_refused: u64,
}

impl SharedState {
    /// The space of `vm_id`, with `limits` if nobody holds it yet. The empty
    /// `vm_id` is one like any other.
    #[must_use]
    pub fn space(self: &Arc<Self>, vm_id: &str, limits: SharedLimits) -> Arc<Space> {
        let mut spaces = lock(&self.spaces);
        if let Some(space) = spaces.get(vm_id).and_then(Weak::upgrade) {
            return space;
        }
        let space = Arc::new(Space::new(Arc::clone(self), vm_id, limits));
        spaces.insert(vm_id.to_owned(), Arc::downgrade(&space));
        space
    }

    /// What every space holds, ordered by `vm_id`.
    #[must_use]
    pub fn stats(&self) -> Vec<SpaceStats> {
        let spaces: Vec<_> = lock(&self.spaces).values().cloned().collect();
        let spaces = spaces.iter().filter_map(Weak::upgrade);
        let mut stats: Vec<_> = spaces.map(|space| space.stats()).collect();
        stats.sort_by(|a, b| a.vm_id.cmp(&b.vm_id));
        stats
    }

    fn find(&self, vm_id: &str) -> Option<Arc<Space>> {
        lock(&self.spaces).get(vm_id).and_then(Weak::upgrade)
    }

    fn queue(&self, number: u32) -> Option<Arc<Queue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(&number).and_then(Weak::upgrade)
    }

    /// The next CAS number; 0 is none.
    fn next_cas(&self) -> u32 {
        next(&self.last_cas)
    }
}

/// Counts up, skipping 0 after a wrap.
fn next(last: &AtomicU32) -> u32 {
    loop {
        let number = last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if number != 0 {
            return number;
        }
    }
}

impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.stats()).finish()
    }
}

/// Data and queues of one `vm_id`.
pub struct Space {
    state: Arc<SharedState>,
    vm_id: String,
    ledger: Arc<Ledger>,
    data: Data,
    queues: Mutex<FxHashMap<Bytes, Arc<Queue>>>,
}

impl Space {
    fn new(state: Arc<SharedState>, vm_id: &str, limits: SharedLimits) -> Self {
        let ledger = Arc::new(Ledger::new(limits));
        Self {
            state,
            vm_id: vm_id.to_owned(),
            data: Data::new(Arc::clone(&ledger)),
            ledger,
            queues: Mutex::default(),
        }
    }

    /// Other limits from now on. What is there already stays.
    pub fn set_limits(&self, limits: SharedLimits) {
        self.ledger.set_limits(limits);
    }

    /// What the space holds.
    #[must_use]
    pub fn stats(&self) -> SpaceStats {
        let queues: Vec<_> = lock(&self.queues).values().cloned().collect();
        let sizes = queues.iter().map(|queue| queue.size());
        let (queue_items, queue_bytes) =
            sizes.fold((0, 0), |(i, b), (items, bytes)| (i + items, b + bytes));
        SpaceStats {
            vm_id: self.vm_id.clone(),
            queues: queues.len(),
            queue_bytes,
            queue_items,
            ..self.ledger.stats()
        }
    }

    /// The value of `key` and its CAS number.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<(Bytes, u32)> {
        self.data.get(key)
    }

    /// Sets `key`, unless `cas` is not 0 and the value there has another number.
    ///
    /// # Errors
    /// [`Status::CasMismatch`]; [`Status::InternalFailure`] when there is no room.
    pub fn set(&self, key: &Bytes, value: &Bytes, cas: u32) -> Result<(), Status> {
        self.data.set(key, value, cas, || self.state.next_cas())
    }

    /// Creates the queue `name`, or opens it again; `consumer` is told of its
    /// items from now on. Gives its number.
    ///
    /// # Errors
    /// [`Status::InternalFailure`] when there are too many.
    pub fn register_queue(
        &self,
        name: &Bytes,
        consumer: Option<Arc<dyn QueueConsumer>>,
    ) -> Result<u32, Status> {
        let queue = self.queue_named(name)?;
        if let Some(consumer) = consumer {
            queue.consume(consumer);
        }
        Ok(queue.number())
    }

    fn queue_named(&self, name: &Bytes) -> Result<Arc<Queue>, Status> {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get(name) {
            return Ok(Arc::clone(queue));
        }
        if queues.len() >= self.ledger.queues() {
            self.ledger.queue_refused();
            return Err(Status::InternalFailure);
        }
        let mut numbers = self.state.numbers();
        let number = loop {
            let number = next(&self.state.last_queue);
            if !numbers.contains_key(&number) {
                break number;
            }
        };
        let queue = Arc::new(Queue::new(number, Arc::clone(&self.ledger)));
        numbers.insert(number, Arc::downgrade(&queue));
        queues.insert(name.clone(), Arc::clone(&queue));
        Ok(queue)
    }

    /// The number of a queue; the empty `vm_id` is this one.
    #[must_use]
    pub fn resolve_queue(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let number = |space: &Self| lock(&space.queues).get(name).map(|queue| queue.number());
        if vm_id.is_empty() || vm_id == self.vm_id {
            number(self)
        } else {
            number(&*self.state.find(vm_id)?)
        }
    }

    /// Puts `item` into a queue of any `vm_id`, and tells its consumer.
    ///
    /// # Errors
    /// [`Status::NotFound`]; [`Status::InternalFailure`] when there is no room.
    pub fn enqueue(&self, queue: u32, item: Bytes) -> Result<(), Status> {
        self.state.queue(queue).ok_or(Status::NotFound)?.push(item)
    }

    /// Takes the next item out of a queue of any `vm_id`.
    ///
    /// # Errors
    /// [`Status::NotFound`], [`Status::Empty`].
    pub fn dequeue(&self, queue: u32) -> Result<Bytes, Status> {
        let queue = self.state.queue(queue).ok_or(Status::NotFound)?;
        queue.pop().ok_or(Status::Empty)
    }
}

impl SharedState {
    fn numbers(&self) -> std::sync::RwLockWriteGuard<'_, FxHashMap<u32, Weak<Queue>>> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A space of its own, which nobody else can find.
impl Default for Space {
    fn default() -> Self {
        Self::new(Arc::default(), "", SharedLimits::default())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let queues = self
            .queues
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut numbers = self.state.numbers();
        for queue in queues.values() {
            numbers.remove(&queue.number());
        }
        drop(numbers);
        let mut spaces = lock(&self.state.spaces);
        // Another one may have taken its place by now.
        if spaces
            .get(&self.vm_id)
            .is_some_and(|space| space.strong_count() == 0)
        {
            spaces.remove(&self.vm_id);
        }
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

/// A thread that panicked while it held the lock left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
