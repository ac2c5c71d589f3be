//! [`Standing`]: how an endpoint has done in the checks so far.

use weir_config::HealthCheck;

use super::Verdict;

/// How an endpoint has done lately.
#[derive(Debug, Default)]
pub(super) struct Standing {
    checked: bool,
    /// In a row.
    successes: u32,
    failures: u32,
}

/// What a check has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Unchanged,
    /// More of the same will change the health of the endpoint.
    Pending,
    /// The endpoint is healthy or unhealthy now, and was not.
    Changed,
}

impl Standing {
    /// Of an endpoint that has been `checked` before, or has not.
    pub(super) fn new(checked: bool) -> Self {
        Self {
            checked,
            ..Self::default()
        }
    }

    /// Whether the endpoint has not been checked.
    pub(super) fn is_first(&self) -> bool {
        !self.checked
    }

    /// Takes the verdict of one more check. `failed`: the endpoint counts as
    /// unhealthy.
    pub(super) fn take(&mut self, verdict: &Verdict, failed: bool, check: &HealthCheck) -> Change {
        let is_first = !std::mem::replace(&mut self.checked, true);
        if *verdict == Verdict::Healthy {
            self.failures = 0;
            if !failed {
                return Change::Unchanged;
            }
            self.successes += 1;
            if !is_first && self.successes < check.healthy_threshold {
                return Change::Pending;
            }
            self.successes = 0;
            return Change::Changed;
        }
        self.successes = 0;
        if failed {
            return Change::Unchanged;
        }
        self.failures += 1;
        let is_certain = matches!(verdict, Verdict::Unhealthy(_));
        if !is_certain && self.failures < check.unhealthy_threshold {
            return Change::Pending;
        }
        self.failures = 0;
        Change::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        let text = "listeners: [{ name: e, address: 127.0.0.1:0 }]\n\
                    clusters: [{ name: c, endpoints: [127.0.0.1:1], health_checks: [{ tcp: {}, \
                    timeout: 1s, interval: 1s, unhealthy_threshold: 3, healthy_threshold: 2 }] }]";
        let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
        config.clusters[0].health_checks[0].clone()
    }

    fn network() -> Verdict {
        Verdict::Network(String::new())
    }

    #[test]
    fn the_first_success_is_enough_and_later_ones_are_counted() {
        let (check, mut standing) = (check(), Standing::default());
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Changed
        );
        for change in [Change::Pending, Change::Pending, Change::Changed] {
            assert_eq!(standing.take(&network(), false, &check), change);
        }
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Pending
        );
        assert_eq!(standing.take(&network(), true, &check), Change::Unchanged);
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Pending
        );
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Changed
        );
    }

    #[test]
    fn a_first_failure_leaves_an_endpoint_unhealthy() {
        let (check, mut standing) = (check(), Standing::default());
        assert_eq!(standing.take(&network(), true, &check), Change::Unchanged);
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Pending
        );
        assert_eq!(
            standing.take(&Verdict::Healthy, true, &check),
            Change::Changed
        );
    }

    #[test]
    fn what_an_endpoint_says_itself_counts_at_once() {
        let (check, mut standing) = (check(), Standing::default());
        standing.take(&Verdict::Healthy, true, &check);
        let retriable = Verdict::Retriable(String::new());
        assert_eq!(standing.take(&retriable, false, &check), Change::Pending);
        assert_eq!(
            standing.take(&Verdict::Healthy, false, &check),
            Change::Unchanged
        );
        let unhealthy = Verdict::Unhealthy(String::new());
        assert_eq!(standing.take(&unhealthy, false, &check), Change::Changed);
    }
}
