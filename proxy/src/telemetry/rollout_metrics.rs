//! Numbers of rollouts: which version streams got, and how copies compare.

use super::cell::Counter;
use super::family as f;
use super::page::Page;
use crate::rollout::{RolloutState, Rollouts};

/// What a shadow did otherwise than the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Divergence {
    /// It paused, went on, failed or closed.
    Action,
    Headers,
    Body,
    Trailers,
    /// It answered, did not, or in other words.
    LocalResponse,
}

/// As in [`Divergence`].
const DIVERGENCES: [&str; 5] = ["action", "headers", "body", "trailers", "local_response"];

/// How following a stream has ended for a shadow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShadowOutcome {
    Same,
    Diverged,
    /// It waited for what only the filter was told.
    Incomplete,
    /// It was not there, as its VM had failed.
    Absent,
}

/// As in [`ShadowOutcome`].
const OUTCOMES: [&str; 4] = ["same", "diverged", "incomplete", "absent"];

impl Divergence {
    /// As metrics and log lines have it.
    pub(crate) fn label(self) -> &'static str {
        DIVERGENCES[self as usize]
    }
}

/// The numbers of one rollout on one worker.
#[derive(Debug, Default)]
pub(crate) struct RolloutCells {
    stable: Counter,
    canary: Counter,
    slow: Counter,
    shadows: Counter,
    shadowed: [Counter; OUTCOMES.len()],
    divergences: [Counter; DIVERGENCES.len()],
}

impl RolloutCells {
    /// A stream has got the filter itself.
    pub(crate) fn stable_began(&self) {
        self.stable.add(1);
    }

    /// A stream has got the other version.
    pub(crate) fn canary_began(&self) {
        self.canary.add(1);
    }

    /// One of these took longer than it may.
    pub(crate) fn canary_was_slow(&self) {
        self.slow.add(1);
    }

    /// A shadow follows a stream.
    pub(crate) fn shadow_began(&self) {
        self.shadows.add(1);
    }

    /// A shadow did otherwise.
    pub(crate) fn diverged_in(&self, what: Divergence) {
        self.divergences[what as usize].add(1);
    }

    /// A shadow has followed a stream.
    pub(crate) fn followed(&self, outcome: ShadowOutcome) {
        self.shadowed[outcome as usize].add(1);
    }

    pub(crate) fn stable(&self) -> u64 {
        self.stable.get()
    }

    pub(crate) fn canary(&self) -> u64 {
        self.canary.get()
    }

    pub(crate) fn slow(&self) -> u64 {
        self.slow.get()
    }

    /// Streams that a shadow follows, or has.
    pub(crate) fn shadows(&self) -> u64 {
        self.shadows.get()
    }

    /// Streams that a shadow was to follow, and that have ended.
    pub(crate) fn shadowed(&self) -> u64 {
        self.shadowed.iter().map(Counter::get).sum()
    }

    /// Those in which it did otherwise.
    pub(crate) fn diverged(&self) -> u64 {
        self.shadowed[ShadowOutcome::Diverged as usize].get()
    }
}

pub(super) fn show(rollouts: &Rollouts, page: &mut Page) {
    for rollout in rollouts.all().iter() {
        let RolloutState {
            listener, filter, ..
        } = &**rollout;
        let with = |label| [&**listener, &**filter, label];
        let of = |of: fn(&RolloutCells) -> u64| rollout.sum(of);
        page.count(
            &f::ROLLOUT_STREAMS,
            &with("stable"),
            of(RolloutCells::stable),
        );
        page.count(
            &f::ROLLOUT_STREAMS,
            &with("canary"),
            of(RolloutCells::canary),
        );
        page.count(&f::ROLLOUT_SLOW, &with("canary"), of(RolloutCells::slow));
        for (place, outcome) in OUTCOMES.iter().enumerate() {
            let count = rollout.sum(|cells| cells.shadowed[place].get());
            page.count(&f::SHADOW_STREAMS, &with(outcome), count);
        }
        for (place, what) in DIVERGENCES.iter().enumerate() {
            let count = rollout.sum(|cells| cells.divergences[place].get());
            page.count(&f::SHADOW_DIVERGENCES, &with(what), count);
        }
        let verdict = rollout.verdict();
        for reason in ["trap_rate", "latency"] {
            let is_it = verdict.is_some_and(|verdict| verdict.label() == reason);
            page.level(&f::ROLLED_BACK, &with(reason), is_it.into());
        }
    }
}
