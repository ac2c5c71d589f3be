//! The judge: ejects outliers and takes them back.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::time::interval_at;
use weir_config::OutlierDetection;

use super::rates::{self, Counted};
use super::{Kind, Suspicion};
use crate::cluster::member::{Flag, Member};
use crate::cluster::members::Members;
use crate::cluster::spec::ClusterSpec;
use crate::telemetry::EJECTION_KINDS;

impl Kind {
    fn name(self) -> &'static str {
        EJECTION_KINDS[self as usize]
    }

    /// Of 100 outliers of this kind, how many are ejected.
    fn enforced(self, config: &OutlierDetection) -> u32 {
        match self {
            Self::Consecutive5xx => config.enforcing_consecutive_5xx,
            Self::ConsecutiveGatewayFailure => config.enforcing_consecutive_gateway_failure,
            Self::ConsecutiveLocalOriginFailure => {
                config.enforcing_consecutive_local_origin_failure
            }
            Self::SuccessRate => config.enforcing_success_rate,
            Self::FailurePercentage => config.enforcing_failure_percentage,
            Self::LocalOriginSuccessRate => config.enforcing_local_origin_success_rate,
            Self::LocalOriginFailurePercentage => config.enforcing_failure_percentage_local_origin,
        }
    }
}

/// Judges the endpoints of a cluster for as long as it is in use.
pub(in crate::cluster) async fn watch(cluster: Weak<ClusterSpec>) {
    let Some((mut suspected, interval)) = cluster.upgrade().and_then(|cluster| {
        let members = &cluster.members;
        let suspected = members.suspected.lock();
        let suspected = suspected.unwrap_or_else(PoisonError::into_inner).take()?;
        Some((suspected, members.outlier_detection()?.interval))
    }) else {
        return;
    };
    let first = tokio::time::Instant::now() + interval;
    let mut ticks = interval_at(first, interval);
    loop {
        tokio::select! {
            suspicion = suspected.recv() => {
                let (Some(suspicion), Some(cluster)) = (suspicion, cluster.upgrade()) else {
                    return;
                };
                suspected_of(&cluster.members, &suspicion);
            }
            _ = ticks.tick() => {
                let Some(cluster) = cluster.upgrade() else {
                    return;
                };
                sweep(&cluster.members, Instant::now());
            }
        }
    }
}

fn suspected_of(members: &Members, (member, kind): &Suspicion) {
    let Some(config) = members.outlier_detection() else {
        return;
    };
    if detect(members, config, member, *kind, Instant::now()) {
        members.publish();
    }
    // From here it counts anew, ejected or not.
    member.blame.forget_kind(*kind);
}

/// Notes an outlier, and ejects it if it is to be. Gives whether it was.
fn detect(
    members: &Members,
    config: &OutlierDetection,
    member: &Arc<Member>,
    kind: Kind,
    now: Instant,
) -> bool {
    let counters = &members.counters;
    // It may have been reported by several workers at once.
    if member.has(Flag::FAILED_OUTLIER_CHECK) {
        return false;
    }
    counters.detected[kind as usize].add(1);
    let levels = members.levels();
    if levels.total == 0 {
        return false;
    }
    let part = 100 * (levels.ejected + 1);
    let fits = part <= config.max_ejection_percent as usize * levels.total;
    let is_first = config.always_eject_one_host && levels.ejected == 0;
    if !fits && !is_first {
        counters.ejections_overflow.add(1);
        return false;
    }
    if fastrand::u32(0..100) >= kind.enforced(config) {
        return false;
    }
    let mut monitor = member
        .monitor
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let jitter = config.max_ejection_time_jitter.mul_f64(fastrand::f64());
    monitor.ejected = Some((now, jitter));
    let base = config.base_ejection_time;
    if base * monitor.times < longest(config) + base {
        monitor.times += 1;
    }
    counters.ejections.add(1);
    counters.enforced[kind as usize].add(1);
    member.set(Flag::FAILED_OUTLIER_CHECK, true);
    let time = time_out(config, monitor.times) + jitter;
    tracing::warn!(
        cluster = members.name(),
        endpoint = %member.about.address,
        "ejected for {time:?}: {}",
        kind.name()
    );
    true
}

/// An ejection lasts no longer than this.
fn longest(config: &OutlierDetection) -> Duration {
    config.max_ejection_time.max(config.base_ejection_time)
}

/// How long the ejection number `times` in a row lasts.
fn time_out(config: &OutlierDetection, times: u32) -> Duration {
    let time = config.base_ejection_time.saturating_mul(times);
    time.min(longest(config))
}

/// Takes endpoints back, and looks at success rates.
fn sweep(members: &Members, now: Instant) {
    let Some(config) = members.outlier_detection() else {
        return;
    };
    let snapshot = members.current();
    let mut changed = false;
    for member in &snapshot.members {
        let mut monitor = member
            .monitor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match monitor.ejected {
            Some((since, jitter)) => {
                let over = since + time_out(config, monitor.times) + jitter;
                if now >= over {
                    drop(monitor);
                    changed |= take_back(members, member);
                }
            }
            // It has done well since the last time.
            None => monitor.times = monitor.times.saturating_sub(1),
        }
    }
    changed |= compare(members, config, &snapshot.members, false, now);
    if config.split_external_local_origin_errors {
        changed |= compare(members, config, &snapshot.members, true, now);
    }
    if changed {
        members.publish();
    }
}

/// Ends the ejection of an endpoint; gives whether it was ejected.
pub(in crate::cluster) fn take_back(members: &Members, member: &Member) -> bool {
    let mut monitor = member
        .monitor
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if monitor.ejected.take().is_none() {
        return false;
    }
    drop(monitor);
    member.blame.forget();
    member.set(Flag::FAILED_OUTLIER_CHECK, false);
    tracing::info!(
        cluster = members.name(),
        endpoint = %member.about.address,
        "no longer ejected"
    );
    true
}

/// Compares success rates since the last time: of answers, or of attempts to reach
/// endpoints.
fn compare(
    members: &Members,
    config: &OutlierDetection,
    all: &[Arc<Member>],
    local: bool,
    now: Instant,
) -> bool {
    let counted = |member: &Arc<Member>| {
        let now = if local {
            Counted {
                total: member.sum(|c| &c.local.total),
                successes: member.sum(|c| &c.local.successes),
            }
        } else {
            Counted {
                total: member.sum(|c| &c.external.total),
                successes: member.sum(|c| &c.external.successes),
            }
        };
        let mut monitor = member
            .monitor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = if local {
            &mut monitor.local
        } else {
            &mut monitor.external
        };
        now.since(std::mem::replace(known, now))
    };
    let counted: Vec<Counted> = all.iter().map(counted).collect();
    let rates = |volume: u32| {
        let rates = all.iter().zip(&counted);
        let present = rates.filter(|(member, _)| !member.has(Flag::FAILED_OUTLIER_CHECK));
        let rates = present.filter_map(|(member, c)| Some((member, c.rate(volume)?)));
        rates.collect::<Vec<_>>()
    };
    let mut changed = false;
    let (kind_of_rate, kind_of_percentage) = if local {
        (
            Kind::LocalOriginSuccessRate,
            Kind::LocalOriginFailurePercentage,
        )
    } else {
        (Kind::SuccessRate, Kind::FailurePercentage)
    };
    let of_rate = rates(config.success_rate_request_volume);
    let only: Vec<f64> = of_rate.iter().map(|(_, rate)| *rate).collect();
    let threshold = rates::threshold(
        &only,
        config.success_rate_minimum_hosts,
        config.success_rate_stdev_factor,
    );
    if let Some(threshold) = threshold {
        for (member, rate) in &of_rate {
            if *rate < threshold {
                changed |= detect(members, config, member, kind_of_rate, now);
            }
        }
    }
    let of_percentage = rates(config.failure_percentage_request_volume);
    if of_percentage.len() >= config.failure_percentage_minimum_hosts as usize {
        for (member, rate) in &of_percentage {
            if 100.0 - rate >= f64::from(config.failure_percentage_threshold) {
                changed |= detect(members, config, member, kind_of_percentage, now);
            }
        }
    }
    changed
}
