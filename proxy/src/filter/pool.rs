//! [`Pool`]: VMs that each serve one stream at a time, and forget it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::spec::{Cause, Live};
use crate::limits::POOL_IDLE_MAX;

/// VMs that serve a stream each, and those that wait for one.
#[derive(Default)]
pub(super) struct Pool {
    /// As they were when they had started.
    idle: RefCell<Vec<Live>>,
    lent: RefCell<VecDeque<Live>>,
}

/// What has become of a VM that had been lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    /// It has served its stream.
    Served,
    Failed(Cause),
}

impl Pool {
    /// A VM that waits for a stream.
    pub(super) fn take(&self) -> Option<Live> {
        self.idle.borrow_mut().pop()
    }

    /// Keeps a VM that a stream has got, until it is free again.
    pub(super) fn lend(&self, live: Live) {
        self.lent.borrow_mut().push_back(live);
    }

    /// Looks at `count` of the VMs that have been lent, those that were longest not
    /// looked at. What is free is made what it was.
    pub(super) fn take_back(&self, count: usize, mut each: impl FnMut(Returned)) {
        let count = count.min(self.lent.borrow().len());
        for _ in 0..count {
            let Some(live) = self.lent.borrow_mut().pop_front() else {
                return;
            };
            // Streams hold on to the VM as long as they use it.
            if Rc::strong_count(&live.vm) > 1 {
                self.lend(live);
                continue;
            }
            if let Some(failure) = live.vm.failure() {
                each(Returned::Failed(failure.reason.into()));
                continue;
            }
            each(Returned::Served);
            if self.idle.borrow().len() < POOL_IDLE_MAX && live.vm.restore() {
                self.idle.borrow_mut().push(live);
            } else {
                live.stop();
            }
        }
    }

    /// Number of VMs.
    pub(super) fn len(&self) -> usize {
        self.idle.borrow().len() + self.lent.borrow().len()
    }

    /// Bytes of guest memory.
    pub(super) fn memory(&self) -> usize {
        let (idle, lent) = (self.idle.borrow(), self.lent.borrow());
        let all = idle.iter().chain(lent.iter());
        all.map(|live| live.vm.memory_size()).sum()
    }

    /// Ends all of them.
    pub(super) fn stop(&self) {
        let (idle, lent) = (self.idle.take(), self.lent.take());
        idle.iter().chain(&lent).for_each(Live::stop);
    }
}
