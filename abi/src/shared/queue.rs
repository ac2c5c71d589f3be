//! [`Queue`]: items, and who is told of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::ledger::Ledger;
use super::lock;
use crate::types::Status;

/// A root context that wants to be told of the items of a queue.
pub trait QueueConsumer: Send + Sync {
    /// An item came into the queue of this number: `proxy_on_queue_ready` is to
    /// be called once, later, on the consumer's own thread. Must not wait. False
    /// when the consumer is gone.
    fn ready(&self, queue: u32) -> bool;

    /// Whether the consumer is gone for good.
    fn is_gone(&self) -> bool;
}

pub(super) struct Queue {
    number: u32,
    items: Mutex<Items>,
    consumers: Mutex<Consumers>,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Items {
    items: VecDeque<Bytes>,
    bytes: usize,
}

#[derive(Default)]
struct Consumers {
    /// Who has registered and is not gone, the one that is told last.
    registered: Vec<Arc<dyn QueueConsumer>>,
    /// Items that came when there was nobody to tell: a VM that is starting
    /// consumes once it has started.
    untold: usize,
}

impl Queue {
    pub(super) fn new(number: u32, ledger: Arc<Ledger>) -> Self {
        Self {
            number,
            items: Mutex::default(),
            consumers: Mutex::default(),
            ledger,
        }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Number of items, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let items = lock(&self.items);
        (items.items.len(), items.bytes)
    }

    /// Tells `consumer` from now on, and of what is there and nobody was told of;
    /// whoever was told before is when that one is gone.
    pub(super) fn consume(&self, consumer: Arc<dyn QueueConsumer>) {
        let (items, _) = self.size();
        let mut consumers = lock(&self.consumers);
        let untold = std::mem::take(&mut consumers.untold).min(items);
        for _ in 0..untold {
            consumer.ready(self.number);
        }
        let registered = &mut consumers.registered;
        registered.retain(|other| !other.is_gone() && !Arc::ptr_eq(other, &consumer));
        registered.push(consumer);
    }

    pub(super) fn push(&self, item: Bytes) -> Result<(), Status> {
        {
            let mut items = lock(&self.items);
            let bytes = items.bytes.saturating_add(item.len());
            if !self.ledger.queue_fits(items.items.len() + 1, bytes) {
                self.ledger.queue_refused();
                return Err(Status::InternalFailure);
            }
            items.bytes = bytes;
            items.items.push_back(item);
        }
        let mut consumers = lock(&self.consumers);
        while let Some(last) = consumers.registered.last() {
            if last.ready(self.number) {
                return Ok(());
            }
            consumers.registered.pop();
        }
        consumers.untold += 1;
        Ok(())
    }

    pub(super) fn pop(&self) -> Option<Bytes> {
        let mut items = lock(&self.items);
        let item = items.items.pop_front()?;
        items.bytes -= item.len();
        Some(item)
    }
}
