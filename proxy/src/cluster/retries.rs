//! How many retries a cluster takes at once: more would only add to what it suffers
//! from.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use weir_config::RetryBudget;
use weir_config::defaults::RETRY_CONCURRENCY;

use super::ClusterSpec;

/// How many retries there may be at once, and are.
pub(super) enum RetryLimit {
    /// A number, on all workers together: retries are rare enough to be counted in one
    /// place.
    Number(Arc<AtomicU32>),
    /// A part of this worker's requests.
    Budget(RetryBudget, Rc<Cell<u32>>),
}

/// A retry, until it is over.
pub(crate) enum RetryPermit {
    Number(Arc<AtomicU32>),
    Budget(Rc<Cell<u32>>),
}

impl RetryLimit {
    pub(super) fn new(spec: &ClusterSpec) -> Self {
        match spec.config.retry_budget {
            None => Self::Number(Arc::clone(&spec.retries)),
            Some(budget) => Self::Budget(budget, Rc::default()),
        }
    }

    /// Begins a retry, if there may be one more; `requests` are under way.
    pub(super) fn begin(&self, requests: u64) -> Option<RetryPermit> {
        match self {
            Self::Number(active) => {
                let more = |active| (active < RETRY_CONCURRENCY).then_some(active + 1);
                let begun = active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
                begun.ok().map(|_| RetryPermit::Number(Arc::clone(active)))
            }
            Self::Budget(budget, active) => {
                let part = u128::from(budget.budget_percent.millionths());
                let part = u128::from(requests) * part / 1_000_000;
                let max = part.max(budget.min_retry_concurrency.into());
                (u128::from(active.get()) < max).then(|| {
                    active.set(active.get() + 1);
                    RetryPermit::Budget(Rc::clone(active))
                })
            }
        }
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        match self {
            Self::Number(active) => {
                active.fetch_sub(1, Ordering::Relaxed);
            }
            Self::Budget(active) => active.set(active.get() - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_retries_is_for_all_workers() {
        let active = Arc::default();
        let workers = [
            RetryLimit::Number(Arc::clone(&active)),
            RetryLimit::Number(active),
        ];
        let first: Vec<_> = workers.iter().filter_map(|w| w.begin(100)).collect();
        let third = workers[0].begin(100);
        assert!(first.len() == 2 && third.is_some());
        assert!(workers[1].begin(100).is_none());
        drop(third);
        assert!(workers[1].begin(100).is_some());
    }

    #[test]
    fn a_budget_grows_with_the_requests() {
        let config = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
            clusters: [{ name: c, endpoints: [127.0.0.1:1], \
            retry_budget: { budget_percent: 25%, min_retry_concurrency: 1 } }]";
        let config = weir_config::parse("weir.yaml", config).unwrap_or_else(|e| panic!("{e}"));
        let budget = config.clusters[0].retry_budget;
        let limit = RetryLimit::Budget(budget.unwrap_or_else(|| panic!()), Rc::default());
        let one = limit.begin(0);
        assert!(one.is_some() && limit.begin(7).is_none());
        assert!(limit.begin(8).is_some());
    }
}
