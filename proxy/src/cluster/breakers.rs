//! Circuit breakers: how much of a cluster may be under way in the process.
//!
//! Each worker counts in a cell of its own. As long as no worker has more than its
//! share, none looks at another's cell: the sum cannot be above the limit then. When
//! one has, which it says in a number that all read, the cells are added up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use weir_config::{Cluster, Percent, RetryBudget};

use crate::telemetry::Counter;

/// The limits of a cluster; shared by all workers.
#[derive(Debug)]
pub(crate) struct Breakers {
    pub(super) connections: Arc<Limit>,
    pub(super) pending: Arc<Limit>,
    pub(super) requests: Arc<Limit>,
    pub(super) retries: Arc<Limit>,
    /// In the place of a number of retries.
    retry_budget: Option<RetryBudget>,
}

impl Breakers {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let config = cluster.circuit_breakers;
        Self {
            retry_budget: cluster.retry_budget,
            connections: Limit::new(config.max_connections),
            pending: Limit::new(config.max_pending_requests),
            requests: Limit::new(config.max_requests),
            retries: Limit::new(config.max_retries),
        }
    }

    /// Each limit by Envoy's name, and whether it is reached.
    pub(crate) fn open(&self) -> [(&'static str, bool); 4] {
        [
            ("cx", self.connections.is_reached()),
            ("rq_pending", self.pending.is_reached()),
            ("rq", self.requests.is_reached()),
            ("rq_retry", self.retries.sum() >= self.retries_max()),
        ]
    }

    /// Each limit by the name that Envoy's `/clusters` has for it.
    pub(crate) fn limits(&self) -> [(&'static str, u64); 4] {
        [
            ("max_connections", self.connections.max),
            ("max_pending_requests", self.pending.max),
            ("max_requests", self.requests.max),
            ("max_retries", self.retries_max()),
        ]
    }

    /// So many retries there may be at the moment.
    fn retries_max(&self) -> u64 {
        let Some(budget) = &self.retry_budget else {
            return self.retries.max;
        };
        let under_way = self.requests.sum() + self.pending.sum();
        let part = u64::from(budget.budget_percent.millionths());
        let part = under_way.saturating_mul(part) / u64::from(Percent::WHOLE);
        part.max(budget.min_retry_concurrency.into())
    }

    /// Begins a retry, if there may be one more. `share` is the worker's part in their
    /// number.
    pub(super) fn begin_retry(&self, share: &Arc<Share>) -> Option<Permit> {
        match self.retry_budget {
            None => share.acquire(),
            // Retries are rare enough for all workers' counts to be added up.
            Some(_) => (self.retries.sum() < self.retries_max()).then(|| share.take()),
        }
    }
}

/// One limit.
#[derive(Debug)]
pub(super) struct Limit {
    max: u64,
    /// A cell for each worker.
    cells: ArcSwap<Vec<Arc<Counter>>>,
    /// Workers that have more than their share.
    above: AtomicUsize,
}

impl Limit {
    fn new(max: u32) -> Arc<Self> {
        Arc::new(Self {
            max: max.into(),
            cells: ArcSwap::default(),
            above: AtomicUsize::new(0),
        })
    }

    fn sum(&self) -> u64 {
        self.cells.load().iter().map(|cell| cell.get()).sum()
    }

    fn is_reached(&self) -> bool {
        self.sum() >= self.max
    }
}

/// A worker's part in one limit.
#[derive(Debug)]
pub(super) struct Share {
    limit: Arc<Limit>,
    own: Arc<Counter>,
    /// What it may have without a look at others; known once all workers have their
    /// part, which is before there are requests.
    size: OnceLock<u64>,
}

impl Share {
    pub(super) fn of(limit: &Arc<Limit>) -> Arc<Self> {
        let own = Arc::new(Counter::default());
        limit.cells.rcu(|cells| {
            let mut cells = Vec::clone(cells);
            cells.push(Arc::clone(&own));
            cells
        });
        Arc::new(Self {
            limit: Arc::clone(limit),
            own,
            size: OnceLock::new(),
        })
    }

    fn size(&self) -> u64 {
        let size = || self.limit.max / self.limit.cells.load().len().max(1) as u64;
        *self.size.get_or_init(size)
    }

    /// Takes one more, if there may be one.
    pub(super) fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let is_calm = self.limit.above.load(Ordering::Relaxed) == 0;
        let fits = is_calm && self.own.get() < self.size();
        (fits || self.limit.sum() < self.limit.max).then(|| self.take())
    }

    /// Takes one more, whatever the limit.
    pub(super) fn take(self: &Arc<Self>) -> Permit {
        if self.own.get() == self.size() {
            self.limit.above.fetch_add(1, Ordering::Relaxed);
        }
        self.own.add(1);
        Permit(Arc::clone(self))
    }
}

/// One of what is limited; dropped on the worker that has taken it.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Share>);

impl Drop for Permit {
    fn drop(&mut self) {
        let share = &self.0;
        share.own.subtract(1);
        if share.own.get() == share.size() {
            share.limit.above.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(share: &Arc<Share>) -> Vec<Permit> {
        std::iter::from_fn(|| share.acquire()).collect()
    }

    #[test]
    fn one_worker_may_have_all_of_the_limit() {
        let limit = Limit::new(10);
        let (a, b) = (Share::of(&limit), Share::of(&limit));
        let permits = many(&a);
        assert_eq!(permits.len(), 10);
        assert!(b.acquire().is_none());
        assert!(limit.is_reached());
        drop(permits);
        assert_eq!(many(&b).len(), 10);
        assert_eq!(limit.above.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_limit_holds_for_all_workers_together() {
        let limit = Limit::new(10);
        let shares: Vec<_> = (0..3).map(|_| Share::of(&limit)).collect();
        let mut permits = Vec::new();
        for turn in 0..40 {
            permits.extend(shares[turn % 3].acquire());
        }
        assert_eq!(permits.len(), 10);
        permits.truncate(4);
        permits.extend(many(&shares[2]));
        assert_eq!(permits.len(), 10);
    }

    fn breakers(cluster: &str) -> Breakers {
        let text = format!(
            "listeners: [{{ name: e, address: 127.0.0.1:0 }}]\n\
             clusters: [{{ name: c, endpoints: [127.0.0.1:1], {cluster} }}]"
        );
        let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
        Breakers::new(&config.clusters[0])
    }

    #[test]
    fn a_number_of_retries_is_for_all_workers() {
        let breakers = breakers("circuit_breakers: { max_retries: 2 }");
        let shares = [(); 2].map(|()| Share::of(&breakers.retries));
        let begin = |worker: usize| breakers.begin_retry(&shares[worker]);
        let (first, second) = (begin(0), begin(1));
        assert!(first.is_some() && second.is_some());
        assert!(begin(0).is_none() && begin(1).is_none());
        assert!(breakers.open()[3].1);
        drop(first);
        assert!(begin(1).is_some());
    }

    #[test]
    fn a_budget_takes_the_place_of_the_number_and_grows_with_the_requests() {
        let breakers = breakers(
            "circuit_breakers: { max_retries: 0 }, \
             retry_budget: { budget_percent: 25%, min_retry_concurrency: 1 }",
        );
        let retries = Share::of(&breakers.retries);
        let (pending, requests) = (Share::of(&breakers.pending), Share::of(&breakers.requests));
        let first = breakers.begin_retry(&retries);
        assert!(first.is_some() && breakers.begin_retry(&retries).is_none());
        let mut under_way: Vec<_> = (0..6).filter_map(|_| requests.acquire()).collect();
        under_way.extend(pending.acquire());
        assert!(breakers.begin_retry(&retries).is_none());
        assert!(breakers.open()[3].1);
        under_way.extend(requests.acquire());
        assert_eq!(breakers.limits()[3], ("max_retries", 2));
        assert!(breakers.begin_retry(&retries).is_some());
    }

    #[test]
    fn a_limit_of_none_lets_nothing_through() {
        let limit = Limit::new(0);
        let share = Share::of(&limit);
        assert!(share.acquire().is_none());
        let forced = share.take();
        assert_eq!(limit.sum(), 1);
        drop(forced);
        assert_eq!(limit.sum(), 0);
    }
}
