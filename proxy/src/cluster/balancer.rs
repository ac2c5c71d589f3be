//! [`Balancer`]: a worker's choice among the endpoints of a snapshot.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_config::{Address, LbPolicy, LeastRequest, SlowStart};

use super::Endpoint;
use super::members::Snapshot;
use super::priorities;
use super::scheduler::Edf;

/// What a choice depends on.
#[derive(Default)]
pub(crate) struct PickContext<'a> {
    /// Of the request, by the policies of its route.
    pub(crate) hash: Option<u64>,
    /// Endpoints that others are preferred to: those that were tried already.
    pub(crate) excluded: &'a [Address],
    /// Where it was going, for clusters whose endpoints are such places.
    pub(crate) destination: Option<SocketAddr>,
}

/// How endpoints take turns; the same for all snapshots of a cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) policy: LbPolicy,
    pub(super) least_request: LeastRequest,
    pub(super) slow_start: Option<SlowStart>,
}

/// A worker's choice among the endpoints of one snapshot.
pub(super) struct Balancer {
    policy: Policy,
    snapshot: Arc<Snapshot>,
    /// In the order of the snapshot's members.
    pub(super) endpoints: Vec<Rc<Endpoint>>,
    /// Since when each is healthy, or there, if that counts.
    since: Vec<Instant>,
    /// For each priority, if weights count.
    schedules: Vec<Option<RefCell<Edf>>>,
}

/// An endpoint, and how it came to be chosen.
pub(super) struct Choice {
    pub(super) endpoint: Rc<Endpoint>,
    /// It may be unhealthy.
    pub(super) is_panic: bool,
}

impl Balancer {
    pub(super) fn new(
        policy: Policy,
        snapshot: Arc<Snapshot>,
        endpoints: Vec<Rc<Endpoint>>,
    ) -> Self {
        let slow = policy.slow_start.and(Some(&endpoints));
        let since = slow.into_iter().flatten().map(|e| e.member.since());
        let mut balancer = Self {
            policy,
            snapshot,
            since: since.collect(),
            endpoints,
            schedules: Vec::new(),
        };
        let levels = balancer.snapshot.levels.iter();
        let schedules = levels.map(|level| balancer.schedule(&level.usable));
        balancer.schedules = schedules.collect();
        balancer
    }

    /// The same policy for another snapshot.
    pub(super) fn renewed(&self, snapshot: Arc<Snapshot>, endpoints: Vec<Rc<Endpoint>>) -> Self {
        Self::new(self.policy, snapshot, endpoints)
    }

    /// The turns of these endpoints, if they are not all alike.
    fn schedule(&self, usable: &[usize]) -> Option<RefCell<Edf>> {
        if !matches!(
            self.policy.policy,
            LbPolicy::RoundRobin | LbPolicy::LeastRequest
        ) {
            return None;
        }
        let weight = |place: &usize| self.endpoints[*place].weight();
        let mut weights = usable.iter().map(weight);
        let first = weights.next()?;
        if self.policy.slow_start.is_none() && weights.all(|weight| weight == first) {
            return None;
        }
        let weight = |place: usize| self.weight(place);
        let mut edf = Edf::new(usable.iter().copied(), weight);
        // Workers, and snapshots one after the other, begin in different places.
        for _ in 0..fastrand::usize(..usable.len()) {
            edf.next(weight);
        }
        Some(RefCell::new(edf))
    }

    /// What the turns of an endpoint go by at the moment.
    fn weight(&self, place: usize) -> f64 {
        let endpoint = &self.endpoints[place];
        let mut weight = f64::from(endpoint.weight());
        if self.policy.policy == LbPolicy::LeastRequest {
            let bias = self.policy.least_request.active_request_bias.value();
            #[allow(clippy::cast_precision_loss)] // Far below 2^52.
            let active = endpoint.cells.active_requests.get() as f64 + 1.0;
            weight /= active.powf(bias);
        }
        match (&self.policy.slow_start, self.since.get(place)) {
            (Some(slow_start), Some(since)) => {
                weight * slow_start_factor(slow_start, since.elapsed())
            }
            _ => weight,
        }
    }

    /// An endpoint, and another one if that is excluded, as far as there is another;
    /// `None` if none may be used. `turn` is that of the cluster on this worker.
    pub(super) fn pick(&self, context: &PickContext<'_>, turn: &Cell<usize>) -> Option<Choice> {
        let is_excluded = |choice: &Choice| context.excluded.contains(&choice.endpoint.address);
        let mut choice = self.choose(context, turn, 0)?;
        let attempts = if context.excluded.is_empty() {
            0
        } else {
            self.endpoints.len()
        };
        for attempt in 1..=attempts {
            if !is_excluded(&choice) {
                break;
            }
            choice = self.choose(context, turn, attempt)?;
        }
        Some(choice)
    }

    fn choose(
        &self,
        context: &PickContext<'_>,
        turn: &Cell<usize>,
        attempt: usize,
    ) -> Option<Choice> {
        let loads = &self.snapshot.loads;
        let random = || fastrand::u64(..);
        let by_hash = matches!(self.policy.policy, LbPolicy::RingHash | LbPolicy::Maglev);
        let hash = context.hash.filter(|_| by_hash);
        // One that takes all requests needs no luck.
        let (place, hash) = match loads.iter().position(|load| *load == 100) {
            Some(place) => (place, hash),
            None => {
                let hash = hash.unwrap_or_else(random);
                (priorities::choose(loads, hash)?, Some(hash))
            }
        };
        let level = &self.snapshot.levels[place];
        let usable = &level.usable;
        if usable.is_empty() {
            return None;
        }
        let chosen = match self.policy.policy {
            LbPolicy::RoundRobin => match &self.schedules[place] {
                Some(edf) => edf.borrow_mut().next(|place| self.weight(place))?,
                None => {
                    let now = turn.get();
                    turn.set(now.wrapping_add(1));
                    usable[now % usable.len()]
                }
            },
            LbPolicy::LeastRequest => match &self.schedules[place] {
                Some(edf) => edf.borrow_mut().next(|place| self.weight(place))?,
                None => self.least_busy(usable),
            },
            LbPolicy::Random => usable[fastrand::usize(..usable.len())],
            LbPolicy::RingHash | LbPolicy::Maglev => {
                let hash = hash.unwrap_or_else(random);
                usable[level.table.as_ref()?.find(hash, attempt)?]
            }
        };
        Some(Choice {
            endpoint: Rc::clone(&self.endpoints[chosen]),
            is_panic: level.is_panic,
        })
    }

    /// Of some that are drawn, the one with the fewest requests on this worker.
    fn least_busy(&self, usable: &[usize]) -> usize {
        let active = |place: usize| self.endpoints[place].cells.active_requests.get();
        let draw = || usable[fastrand::usize(..usable.len())];
        let mut best = draw();
        for _ in 1..self.policy.least_request.choice_count {
            let other = draw();
            if active(other) < active(best) {
                best = other;
            }
        }
        best
    }
}

/// The part of its weight that an endpoint has after this time.
fn slow_start_factor(slow_start: &SlowStart, age: Duration) -> f64 {
    if age >= slow_start.window {
        return 1.0;
    }
    let part = age.as_secs_f64().max(0.001) / slow_start.window.as_secs_f64();
    let least = f64::from(slow_start.min_weight_percent) / 100.0;
    let factor = part.powf(1.0 / slow_start.aggression.value());
    // Even without a least part, it gets a turn now and then.
    factor.max(least).clamp(0.001, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_of_a_new_endpoint_grows_over_the_window() {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, endpoints: [127.0.0.1:1], \
                    slow_start: { window: 10s, aggression: 2.0, min_weight_percent: 20 } }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let slow_start = config.clusters[0].slow_start.unwrap();
        let at = |millis| slow_start_factor(&slow_start, Duration::from_millis(millis));
        assert!((at(0) - 0.2).abs() < 1e-9);
        assert!((at(2_500) - 0.5).abs() < 1e-9);
        assert!((at(10_000) - 1.0).abs() < 1e-9);
    }
}
