//! Active health checks: Weir's own requests to endpoints, one task an endpoint, off
//! the workers. As in Envoy (`health_checker_impl.cc`).

mod exchange;
mod grpc;
mod http;
mod standing;
mod tcp;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use weir_config::{Address, HealthCheck, HealthCheckKind};

use self::http::{HttpProbe, Target};
use self::standing::{Change, Standing};
use super::member::{Flag, Member};
use super::outlier;
use super::spec::ClusterSpec;

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Healthy,
    /// The endpoint itself says that it is not.
    Unhealthy(String),
    /// It says so in a way that may pass.
    Retriable(String),
    /// There was no answer.
    Network(String),
}

/// Checks the endpoints of a cluster for as long as it is in use.
pub(super) async fn watch(cluster: Weak<ClusterSpec>) {
    let strong = cluster.upgrade();
    let checked = strong.filter(|cluster| !cluster.config.health_checks.is_empty());
    let Some(mut snapshots) = checked.map(|cluster| cluster.members.subscribe()) else {
        return;
    };
    let mut known: Vec<Weak<Member>> = Vec::new();
    loop {
        let members = snapshots.borrow_and_update().members.clone();
        let is_there = |known: &Weak<Member>| {
            let mut members = members.iter();
            members.any(|member| known.as_ptr() == Arc::as_ptr(member))
        };
        // The tasks of those that are gone find out themselves.
        known.retain(is_there);
        for member in &members {
            if !known.iter().any(|k| k.as_ptr() == Arc::as_ptr(member)) {
                known.push(Arc::downgrade(member));
                spawn_local(check_member(Weak::clone(&cluster), Arc::downgrade(member)));
            }
        }
        drop(members);
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

/// Checks one endpoint for as long as it is one of the cluster's.
async fn check_member(cluster: Weak<ClusterSpec>, member: Weak<Member>) {
    let Some(is_checked) = member.upgrade().map(|m| !m.has(Flag::PENDING_ACTIVE_HC)) else {
        return;
    };
    let mut standing = Standing::new(is_checked);
    let mut probe = HttpProbe::default();
    let mut pause = None;
    loop {
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        let (Some(cluster), Some(member)) = (cluster.upgrade(), member.upgrade()) else {
            return;
        };
        let snapshot = cluster.members.current();
        let Some(check) = cluster.config.health_checks.first() else {
            return;
        };
        if !snapshot.members.iter().any(|m| Arc::ptr_eq(m, &member)) {
            return;
        }
        if pause.is_none() && !check.initial_jitter.is_zero() {
            sleep(check.initial_jitter.mul_f64(fastrand::f64())).await;
        }
        cluster.members.counters.checks.add(1);
        let asked = ask(&cluster, &member, check, &mut probe);
        let verdict = match timeout(check.timeout, asked).await {
            Ok(verdict) => verdict,
            Err(_) => {
                // Whatever it waits for, it is not to be waited for again.
                probe = HttpProbe::default();
                Verdict::Network("no answer in time".to_owned())
            }
        };
        let (is_success, change) = settle(&cluster, &member, check, &verdict, &mut standing);
        let has_traffic = snapshot
            .members
            .iter()
            .any(|m| m.sum(|c| &c.connections) > 0);
        pause = Some(interval(check, is_success, change, has_traffic));
    }
}

/// Asks an endpoint how it is.
async fn ask(
    cluster: &ClusterSpec,
    member: &Member,
    check: &HealthCheck,
    probe: &mut HttpProbe,
) -> Verdict {
    let mut address = member.about.address.clone();
    if let (Address::Ip(address), Some(port)) = (&mut address, member.about.health_check_port) {
        address.set_port(port);
    }
    let target = Target {
        cluster,
        address: &address,
        host: member.about.host.as_deref(),
        metadata: member.about.metadata.as_deref(),
        reuse: check.reuse_connection,
    };
    match &check.kind {
        HealthCheckKind::Http(http) => http::check(http, target, probe).await,
        HealthCheckKind::Tcp(tcp) => tcp::check(tcp, cluster, &address).await,
        HealthCheckKind::Grpc(grpc) => grpc::check(grpc, target, probe).await,
    }
}

/// Takes a verdict over; gives whether it is a good one, and what it has changed.
fn settle(
    cluster: &ClusterSpec,
    member: &Member,
    check: &HealthCheck,
    verdict: &Verdict,
    standing: &mut Standing,
) -> (bool, Change) {
    let counters = &cluster.members.counters;
    let failed = member.has(Flag::FAILED_ACTIVE_HC);
    let is_first = standing.is_first();
    let change = standing.take(verdict, failed, check);
    let is_success = *verdict == Verdict::Healthy;
    let mut is_news = member.set(Flag::PENDING_ACTIVE_HC, false);
    let (name, address) = (cluster.name.as_str(), &member.about.address);
    match verdict {
        Verdict::Healthy => counters.check_successes.add(1),
        Verdict::Unhealthy(_) | Verdict::Retriable(_) => counters.check_failures.add(1),
        Verdict::Network(_) => {
            counters.check_failures.add(1);
            counters.check_network_failures.add(1);
        }
    }
    if change == Change::Changed {
        is_news |= member.set(Flag::FAILED_ACTIVE_HC, !is_success);
    }
    match verdict {
        Verdict::Healthy => {
            if change == Change::Changed {
                tracing::info!(cluster = name, endpoint = %address, "healthy");
            }
            let ends_ejection = cluster
                .config
                .outlier_detection
                .is_some_and(|outlier| outlier.successful_active_health_check_uneject_host);
            if ends_ejection {
                is_news |= outlier::take_back(&cluster.members, member);
            }
        }
        Verdict::Unhealthy(why) | Verdict::Retriable(why) | Verdict::Network(why) => {
            if change == Change::Changed || is_first && failed {
                tracing::warn!(cluster = name, endpoint = %address, "unhealthy: {why}");
            } else if check.always_log_health_check_failures {
                tracing::warn!(cluster = name, endpoint = %address, "health check: {why}");
            }
        }
    }
    if is_news {
        cluster.members.publish();
    }
    (is_success, change)
}

/// How long it is until the next check.
fn interval(check: &HealthCheck, is_success: bool, change: Change, has_traffic: bool) -> Duration {
    let is_pending = change == Change::Pending;
    let base = if !has_traffic {
        let healthy = check.no_traffic_healthy_interval.filter(|_| is_success);
        healthy.unwrap_or(check.no_traffic_interval)
    } else if is_success {
        let edge = check.healthy_edge_interval.filter(|_| is_pending);
        edge.unwrap_or(check.interval)
    } else {
        let unhealthy = check.unhealthy_interval.unwrap_or(check.interval);
        let edge = check.unhealthy_edge_interval.filter(|_| is_pending);
        edge.unwrap_or(unhealthy)
    };
    let part = f64::from(check.interval_jitter_percent) / 100.0;
    let jitter = check.interval_jitter + base.mul_f64(part);
    base + jitter.mul_f64(fastrand::f64())
}
