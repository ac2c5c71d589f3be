//! [`Reports`]: which of the failures of a VM are logged, when there are many.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::limits::FAILURE_REPORTS_MAX;

const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many reports a second pass, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// When the second began.
    since: Cell<Option<Instant>>,
    passed: Cell<u32>,
    withheld: Cell<u64>,
}

impl Reports {
    /// Whether a report passes, and how many have not before it.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let over = |since| now.saturating_duration_since(since) >= WINDOW;
        if self.since.get().is_none_or(over) {
            self.since.set(Some(now));
            self.passed.set(0);
        }
        if self.passed.get() >= FAILURE_REPORTS_MAX {
            self.withheld.set(self.withheld.get() + 1);
            return None;
        }
        self.passed.set(self.passed.get() + 1);
        Some(self.withheld.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_in_the_next_second() {
        let reports = Reports::default();
        let now = Instant::now();
        for _ in 0..FAILURE_REPORTS_MAX {
            assert_eq!(reports.admit(now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(reports.admit(now), None);
        }
        assert_eq!(reports.admit(now + WINDOW), Some(7));
        assert_eq!(reports.admit(now + WINDOW), Some(0));
    }
}
