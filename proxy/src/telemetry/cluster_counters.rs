//! [`ClusterCounters`]: what the process counts of a cluster off the workers.

use super::cell::Counter;
use super::family::{self as f, Family};
use super::page::Page;

/// Kinds of ejections, by Envoy's names.
pub(crate) const EJECTION_KINDS: [&str; 7] = [
    "consecutive_5xx",
    "consecutive_gateway_failure",
    "consecutive_local_origin_failure",
    "success_rate",
    "failure_percentage",
    "local_origin_success_rate",
    "local_origin_failure_percentage",
];

/// A cluster's numbers that the thread counts which looks after it. They go on when the
/// cluster changes; what the threads of both count at the same moment may be one.
#[derive(Debug, Default)]
pub(crate) struct ClusterCounters {
    pub(crate) checks: Counter,
    pub(crate) check_successes: Counter,
    pub(crate) check_failures: Counter,
    pub(crate) check_network_failures: Counter,
    pub(crate) ejections: Counter,
    pub(crate) ejections_overflow: Counter,
    /// By their kinds.
    pub(crate) detected: [Counter; EJECTION_KINDS.len()],
    pub(crate) enforced: [Counter; EJECTION_KINDS.len()],
    pub(crate) membership_changes: Counter,
    pub(crate) update_attempts: Counter,
    pub(crate) update_successes: Counter,
    pub(crate) update_failures: Counter,
    pub(crate) update_no_rebuild: Counter,
}

/// What a cluster is like at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MembershipLevels {
    pub(crate) total: usize,
    pub(crate) healthy: usize,
    /// That do not fail active health checks.
    pub(crate) passing: usize,
    pub(crate) ejected: usize,
    pub(crate) has_health_checks: bool,
    pub(crate) has_outlier_detection: bool,
    pub(crate) has_names: bool,
}

impl ClusterCounters {
    /// Adds these numbers to a page.
    pub(crate) fn show(
        &self,
        page: &mut Page,
        name: &str,
        levels: MembershipLevels,
        breakers: &[(&'static str, bool)],
    ) {
        let labels = &[name];
        let level = |n: usize| n as u64;
        page.level(&f::MEMBERSHIP_TOTAL, labels, level(levels.total));
        page.level(&f::MEMBERSHIP_HEALTHY, labels, level(levels.healthy));
        let changes = self.membership_changes.get();
        page.count(&f::MEMBERSHIP_CHANGE, labels, changes);
        if levels.has_names {
            for (family, counter) in [
                (&f::UPDATE_ATTEMPT, &self.update_attempts),
                (&f::UPDATE_SUCCESS, &self.update_successes),
                (&f::UPDATE_FAILURE, &self.update_failures),
                (&f::UPDATE_NO_REBUILD, &self.update_no_rebuild),
            ] {
                page.count(family, labels, counter.get());
            }
        }
        for (breaker, open) in breakers {
            page.level(breaker_family(breaker), labels, (*open).into());
        }
        if levels.has_health_checks {
            page.count(&f::HEALTH_CHECK_ATTEMPT, labels, self.checks.get());
            let successes = self.check_successes.get();
            page.count(&f::HEALTH_CHECK_SUCCESS, labels, successes);
            let failures = self.check_failures.get();
            page.count(&f::HEALTH_CHECK_FAILURE, labels, failures);
            let network = self.check_network_failures.get();
            page.count(&f::HEALTH_CHECK_NETWORK_FAILURE, labels, network);
            page.level(&f::HEALTH_CHECK_HEALTHY, labels, level(levels.passing));
        }
        if levels.has_outlier_detection {
            page.level(&f::EJECTIONS_ACTIVE, labels, level(levels.ejected));
            page.count(&f::EJECTIONS_ENFORCED_TOTAL, labels, self.ejections.get());
            let overflow = self.ejections_overflow.get();
            page.count(&f::EJECTIONS_OVERFLOW, labels, overflow);
            let each = EJECTION_KINDS
                .iter()
                .zip(self.detected.iter().zip(&self.enforced));
            for (kind, (detected, enforced)) in each {
                let (of_detected, of_enforced) = ejection_families(kind);
                page.count(of_detected, labels, detected.get());
                page.count(of_enforced, labels, enforced.get());
            }
        }
    }
}

fn breaker_family(breaker: &str) -> &'static Family {
    match breaker {
        "cx" => &f::BREAKER_CX_OPEN,
        "rq_pending" => &f::BREAKER_RQ_PENDING_OPEN,
        "rq" => &f::BREAKER_RQ_OPEN,
        _ => &f::BREAKER_RQ_RETRY_OPEN,
    }
}

fn ejection_families(kind: &str) -> (&'static Family, &'static Family) {
    match kind {
        "consecutive_5xx" => (&f::DETECTED_5XX, &f::ENFORCED_5XX),
        "consecutive_gateway_failure" => (&f::DETECTED_GATEWAY, &f::ENFORCED_GATEWAY),
        "consecutive_local_origin_failure" => (&f::DETECTED_LOCAL, &f::ENFORCED_LOCAL),
        "success_rate" => (&f::DETECTED_SUCCESS_RATE, &f::ENFORCED_SUCCESS_RATE),
        "failure_percentage" => (
            &f::DETECTED_FAILURE_PERCENTAGE,
            &f::ENFORCED_FAILURE_PERCENTAGE,
        ),
        "local_origin_success_rate" => (
            &f::DETECTED_LOCAL_SUCCESS_RATE,
            &f::ENFORCED_LOCAL_SUCCESS_RATE,
        ),
        _ => (
            &f::DETECTED_LOCAL_FAILURE_PERCENTAGE,
            &f::ENFORCED_LOCAL_FAILURE_PERCENTAGE,
        ),
    }
}
