//! How a VM is told of items in the shared queues that it consumes: any thread
//! leaves a note in its [`Inbox`], and a task on its own worker makes the calls.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Weak;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use weir_abi::{ContextId, QueueConsumer, Vm};

use crate::limits::{QUEUE_CALLS_IN_A_ROW, QUEUE_RUNS_MAX};

/// What one VM consumes.
#[derive(Default)]
pub(super) struct Consumers {
    inbox: Arc<Inbox>,
    /// By root context: who registers twice is still one consumer.
    of_root: RefCell<HashMap<ContextId, Arc<Consumer>>>,
    delivery: RefCell<Option<JoinHandle<()>>>,
}

impl Consumers {
    /// The consumer that stands for `root` of `vm`. `None` outside of a worker,
    /// where a module is only tried and will not be there to be told.
    pub(super) fn of(&self, vm: &Weak<Vm>, root: ContextId) -> Option<Arc<dyn QueueConsumer>> {
        tokio::runtime::Handle::try_current().ok()?;
        self.delivery.borrow_mut().get_or_insert_with(|| {
            let delivery = deliver(Weak::clone(vm), Arc::clone(&self.inbox));
            tokio::task::spawn_local(delivery)
        });
        let mut of_root = self.of_root.borrow_mut();
        let consumer = of_root.entry(root).or_insert_with(|| {
            Arc::new(Consumer {
                root,
                inbox: Arc::clone(&self.inbox),
            })
        });
        Some(Arc::<Consumer>::clone(consumer))
    }

    /// The VM takes no calls any more.
    pub(super) fn close(&self) {
        self.inbox.close();
        if let Some(delivery) = self.delivery.take() {
            delivery.abort();
        }
    }
}

impl Drop for Consumers {
    fn drop(&mut self) {
        self.close();
    }
}

/// One root context, as queues know it.
struct Consumer {
    root: ContextId,
    inbox: Arc<Inbox>,
}

impl QueueConsumer for Consumer {
    fn ready(&self, queue: u32) -> bool {
        self.inbox.post(self.root, queue)
    }

    fn is_gone(&self) -> bool {
        self.inbox.notes().closed
    }
}

/// Calls that are due to one VM.
#[derive(Default)]
struct Inbox {
    notes: Mutex<Notes>,
    posted: Notify,
}

#[derive(Default)]
struct Notes {
    closed: bool,
    runs: VecDeque<Run>,
}

/// So many calls in a row.
struct Run {
    root: ContextId,
    queue: u32,
    calls: u64,
}

impl Inbox {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call; false when nobody will make it.
    fn post(&self, root: ContextId, queue: u32) -> bool {
        {
            let mut notes = self.notes();
            if notes.closed {
                return false;
            }
            notes.add(root, queue);
        }
        self.posted.notify_one();
        true
    }

    fn take(&self) -> Option<(ContextId, u32)> {
        let mut notes = self.notes();
        let run = notes.runs.front_mut()?;
        run.calls -= 1;
        let call = (run.root, run.queue);
        if run.calls == 0 {
            notes.runs.pop_front();
        }
        Some(call)
    }

    fn close(&self) {
        let mut notes = self.notes();
        notes.closed = true;
        notes.runs.clear();
    }
}

impl Notes {
    /// In order; among very many runs calls of one queue come together, so that
    /// what a guest does to its own queues does not grow without end.
    fn add(&mut self, root: ContextId, queue: u32) {
        let same = |run: &Run| run.root == root && run.queue == queue;
        let full = self.runs.len() >= QUEUE_RUNS_MAX;
        let mut last = self.runs.iter_mut().rev();
        let run = if full {
            last.find(|run| same(run))
        } else {
            last.next().filter(|run| same(run))
        };
        match run {
            Some(run) => run.calls += 1,
            None => self.runs.push_back(Run {
                root,
                queue,
                calls: 1,
            }),
        }
    }
}

/// Makes the calls that are due until the VM is gone or has failed. After so
/// many in a row others on the worker have their turn.
async fn deliver(vm: Weak<Vm>, inbox: Arc<Inbox>) {
    loop {
        inbox.posted.notified().await;
        let mut made = 0;
        while let Some((root, queue)) = inbox.take() {
            let vm = vm.upgrade();
            let ended = vm.is_none_or(|vm| vm.on_queue_ready(root, queue).is_err());
            if ended {
                return inbox.close();
            }
            made += 1;
            if made % QUEUE_CALLS_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ROOT: ContextId = ContextId(1);

    fn calls(inbox: &Inbox) -> Vec<u32> {
        std::iter::from_fn(|| inbox.take().map(|(_, queue)| queue)).collect()
    }

    #[test]
    fn calls_come_once_each_and_in_order() {
        let inbox = Inbox::default();
        for queue in [1, 1, 2, 1, 3, 3] {
            assert!(inbox.post(ROOT, queue));
        }
        assert_eq!(calls(&inbox), [1, 1, 2, 1, 3, 3]);
        assert!(inbox.take().is_none());
    }

    #[test]
    fn notes_do_not_grow_without_end_and_none_is_lost() {
        let inbox = Inbox::default();
        let posted = QUEUE_RUNS_MAX + 1000;
        for n in 0..posted {
            inbox.post(ROOT, u32::from(n % 2 == 0));
        }
        assert!(inbox.notes().runs.len() <= QUEUE_RUNS_MAX);
        assert_eq!(calls(&inbox).len(), posted);
    }

    #[test]
    fn a_closed_inbox_takes_nothing() {
        let inbox = Inbox::default();
        inbox.post(ROOT, 1);
        inbox.close();
        assert!(!inbox.post(ROOT, 1));
        assert!(inbox.take().is_none());
    }
}
