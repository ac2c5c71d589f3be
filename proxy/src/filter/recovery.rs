//! [`Recovery`]: when a VM that has failed is started again.
//!
//! A failure costs the streams that were in the VM, and nobody else: the next
//! stream gets another VM at once. Only a VM that fails again and again before
//! any stream has come to its end is a crash loop: then it is started at growing
//! intervals, and streams in between get what the policy has for them.

use std::time::{Duration, Instant};

use crate::limits::CRASH_LOOP_FAILURES;

/// The starts of one VM on one worker.
#[derive(Debug)]
pub(super) struct Recovery {
    base: Duration,
    max: Duration,
    /// Failures in a row of VMs that had brought no stream to its end.
    in_a_row: u32,
    /// Not before: in a crash loop.
    next: Option<Instant>,
}

impl Recovery {
    /// Intervals in a crash loop begin with `base` and end with `max`.
    pub(super) fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            in_a_row: 0,
            next: None,
        }
    }

    /// A VM has failed, or did not start. `fruitless`: without having brought a
    /// stream to its end.
    pub(super) fn failed(&mut self, fruitless: bool, now: Instant) {
        self.in_a_row = if fruitless {
            self.in_a_row.saturating_add(1)
        } else {
            1
        };
        let surplus = self.in_a_row.checked_sub(CRASH_LOOP_FAILURES);
        self.next = surplus.map(|n| now + self.interval(n));
    }

    /// Doubles each time; up to a half more, so that workers do not all try at
    /// the same moment.
    fn interval(&self, doublings: u32) -> Duration {
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let interval = self.base.saturating_mul(factor).min(self.max);
        interval + interval.mul_f64(jitter() / 2.0)
    }

    /// A stream has come to its end in the VM that runs now.
    pub(super) fn succeeded(&mut self) {
        self.in_a_row = 0;
        self.next = None;
    }

    /// Whether a VM may be started now.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// Whether the VM fails again and again.
    pub(super) fn is_crash_loop(&self) -> bool {
        self.next.is_some()
    }
}

/// A number from 0 to 1.
fn jitter() -> f64 {
    let mut byte = [0];
    // Without randomness there is just no jitter.
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(10);

    fn after_failures(n: u32) -> (Recovery, Instant) {
        let now = Instant::now();
        let mut recovery = Recovery::new(BASE, MAX);
        for _ in 0..n {
            recovery.failed(true, now);
        }
        (recovery, now)
    }

    #[test]
    fn a_few_failures_are_made_good_at_once() {
        let (recovery, now) = after_failures(CRASH_LOOP_FAILURES - 1);
        assert!(recovery.may_start(now));
        assert!(!recovery.is_crash_loop());
    }

    #[test]
    fn a_crash_loop_waits_longer_and_longer() {
        let (recovery, now) = after_failures(CRASH_LOOP_FAILURES);
        assert!(recovery.is_crash_loop());
        assert!(!recovery.may_start(now + BASE / 2));
        assert!(recovery.may_start(now + BASE * 3 / 2));
        let (recovery, now) = after_failures(CRASH_LOOP_FAILURES + 2);
        assert!(!recovery.may_start(now + BASE * 3));
        assert!(recovery.may_start(now + BASE * 6));
        let (recovery, now) = after_failures(CRASH_LOOP_FAILURES + 100);
        assert!(!recovery.may_start(now + MAX / 2));
        assert!(recovery.may_start(now + MAX * 3 / 2));
    }

    #[test]
    fn a_stream_that_comes_to_its_end_ends_a_crash_loop() {
        let (mut recovery, now) = after_failures(CRASH_LOOP_FAILURES + 3);
        recovery.succeeded();
        assert!(recovery.may_start(now));
        recovery.failed(true, now);
        assert!(recovery.may_start(now));
    }

    #[test]
    fn failures_with_streams_in_between_are_no_loop() {
        let (mut recovery, now) = after_failures(CRASH_LOOP_FAILURES - 1);
        recovery.failed(false, now);
        recovery.failed(true, now);
        assert!(recovery.may_start(now));
    }
}
