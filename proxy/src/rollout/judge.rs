//! Ends a rollout that proves worse than what it is to replace.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir_config::{Percent, RollbackOn};

use super::{RolloutState, Verdict};
use crate::limits::{LATENCY_SHARE, ROLLOUT_INTERVAL};
use crate::telemetry::RolloutCells;

/// Watches a rollout as long as there is one, and it goes well.
pub(crate) fn watch(state: &Arc<RolloutState>) {
    let Some(on) = state.config.rollback_on.clone() else {
        return;
    };
    let state = Arc::downgrade(state);
    tokio::spawn(async move {
        let mut history = History::new(on.window);
        while let Some(now) = look(&state) {
            if let Some(verdict) = history.judge(&on, Instant::now(), now) {
                end(&state, verdict);
                return;
            }
            sleep(ROLLOUT_INTERVAL).await;
        }
    });
}

fn look(state: &Weak<RolloutState>) -> Option<Totals> {
    let state = state.upgrade()?;
    Some(Totals {
        streams: state.sum(|cells| cells.canary() + cells.shadows()),
        canary: state.sum(RolloutCells::canary),
        slow: state.sum(RolloutCells::slow),
        failures: state.failures(),
    })
}

fn end(state: &Weak<RolloutState>, verdict: Verdict) {
    let Some(state) = state.upgrade() else {
        return;
    };
    // Only this task ends it.
    let _ = state.ended.set(verdict);
    tracing::error!(
        listener = state.listener,
        filter = state.filter,
        "the other version of the filter gets no streams any more: {verdict}; change its \
         `rollout` to try again"
    );
}

/// Numbers of a rollout from its beginning on.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    streams: u64,
    canary: u64,
    slow: u64,
    failures: u64,
}

/// The numbers of the last while.
struct History {
    window: Duration,
    past: VecDeque<(Instant, Totals)>,
}

impl History {
    fn new(window: Duration) -> Self {
        Self {
            window,
            past: VecDeque::new(),
        }
    }

    /// What is to be said of the last while.
    fn judge(&mut self, on: &RollbackOn, at: Instant, now: Totals) -> Option<Verdict> {
        // One that is just too old stays: what has happened since is in the window.
        while self.past.len() > 1 && at.duration_since(self.past[1].0) >= self.window {
            self.past.pop_front();
        }
        self.past.push_back((at, now));
        let then = self.past.front().map_or(now, |(_, totals)| *totals);
        let least = u64::from(on.min_streams);
        let exceeds = |count: u64, share: Percent, streams: u64| {
            count * u64::from(Percent::WHOLE) > u64::from(share.millionths()) * streams.max(least)
        };
        let streams = now.streams - then.streams;
        let failed = now.failures - then.failures;
        if let Some(rate) = on.trap_rate
            && exceeds(failed, rate, streams)
        {
            return Some(Verdict::Traps { failed, streams });
        }
        let streams = now.canary - then.canary;
        let slow = now.slow - then.slow;
        // The 99th percentile is above a limit if more than one in a hundred is.
        let too_slow = slow * LATENCY_SHARE > streams.max(least);
        (on.latency.is_some() && too_slow).then_some(Verdict::Latency { slow, streams })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(latency: Option<u64>) -> RollbackOn {
        let text = "listeners: [{ name: e, address: '127.0.0.1:0', http_filters: [{ name: f, \
             wasm: { vm_config: { code: { local: { filename: a } } } }, rollout: { \
             wasm: { vm_config: { code: { local: { filename: b } } } }, shadow: true, \
             rollback_on: { trap_rate: 1%, window: 10s } } }] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        let rollout = config.listeners[0].filter_chains[0].http_filters[0]
            .rollout
            .clone();
        let mut on = rollout.unwrap().value.rollback_on.unwrap();
        on.latency = latency.map(Duration::from_millis);
        on
    }

    fn totals(streams: u64, slow: u64, failures: u64) -> Totals {
        Totals {
            streams,
            canary: streams,
            slow,
            failures,
        }
    }

    #[test]
    fn few_streams_count_as_the_least_there_are_to_be() {
        let (on, at) = (on(None), Instant::now());
        let mut history = History::new(on.window);
        assert_eq!(history.judge(&on, at, totals(0, 0, 0)), None);
        assert_eq!(history.judge(&on, at, totals(5, 5, 1)), None, "one of 100");
        let (failed, streams) = (2, 6);
        let verdict = history.judge(&on, at, totals(6, 6, 2));
        assert_eq!(verdict, Some(Verdict::Traps { failed, streams }));
    }

    #[test]
    fn what_was_long_ago_does_not_count() {
        let (on, start) = (on(Some(20)), Instant::now());
        let mut history = History::new(on.window);
        let mut judge =
            |second, totals| history.judge(&on, start + Duration::from_secs(second), totals);
        assert_eq!(judge(0, totals(0, 0, 0)), None);
        assert_eq!(judge(1, totals(10, 1, 1)), None);
        assert_eq!(
            judge(9, totals(1000, 10, 10)),
            None,
            "just one in a hundred"
        );
        assert_eq!(judge(15, totals(1010, 11, 11)), None);
        assert_eq!(judge(22, totals(1020, 11, 11)), None, "the burst is over");
        let (slow, streams) = (2, 50);
        let verdict = judge(30, totals(1060, 13, 11));
        assert_eq!(verdict, Some(Verdict::Latency { slow, streams }));
    }
}
