//! Detection of outliers: endpoints that fail while others do not are left out for a
//! while, as in Envoy (`outlier_detection_impl.cc`).
//!
//! Workers count in cells of their own, which a judge adds up now and then. What must
//! be noticed at once, failures in a row, is counted by all workers together, in
//! numbers that are written only while an endpoint fails.

mod judge;
mod rates;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(super) use self::judge::{take_back, watch};
use super::member::Member;
use super::members::Members;
use crate::telemetry::EndpointCells;

/// What came of a request, or of an attempt to reach an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A response with this status.
    Answered(u16),
    /// There is a connection, which is all that was wanted.
    Connected,
    /// No connection, or one that broke.
    Failed,
    /// Nothing in time.
    TimedOut,
}

/// Why an endpoint is an outlier; by its place in
/// [`crate::telemetry::EJECTION_KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Consecutive5xx,
    ConsecutiveGatewayFailure,
    ConsecutiveLocalOriginFailure,
    SuccessRate,
    FailurePercentage,
    LocalOriginSuccessRate,
    LocalOriginFailurePercentage,
}

/// An endpoint has failed often enough in a row.
pub(super) type Suspicion = (Arc<Member>, Kind);

/// Failures of an endpoint in a row.
#[derive(Debug, Default)]
pub(super) struct Blame {
    any: AtomicU32,
    gateway: AtomicU32,
    local: AtomicU32,
}

/// Adds one; gives whether that makes `limit`.
fn add(counter: &AtomicU32, limit: u32) -> bool {
    counter.fetch_add(1, Ordering::Relaxed) + 1 == limit
}

/// Does not write where there is nothing to write: that is the rule.
fn clear(counter: &AtomicU32) {
    if counter.load(Ordering::Relaxed) != 0 {
        counter.store(0, Ordering::Relaxed);
    }
}

impl Blame {
    fn forget_kind(&self, kind: Kind) {
        match kind {
            Kind::Consecutive5xx => clear(&self.any),
            Kind::ConsecutiveGatewayFailure => clear(&self.gateway),
            Kind::ConsecutiveLocalOriginFailure => clear(&self.local),
            Kind::SuccessRate
            | Kind::FailurePercentage
            | Kind::LocalOriginSuccessRate
            | Kind::LocalOriginFailurePercentage => {}
        }
    }

    fn forget(&self) {
        clear(&self.any);
        clear(&self.gateway);
        clear(&self.local);
    }
}

/// What the judge knows of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    /// Since when it is ejected, and for how long it is so beyond the rule.
    ejected: Option<(Instant, Duration)>,
    /// How often it has been lately.
    times: u32,
    /// What had been counted when it was last looked at.
    external: rates::Counted,
    local: rates::Counted,
}

impl Monitor {
    /// What holds for who takes the endpoint's place, which is counted anew.
    pub(super) fn handed_on(&self) -> Self {
        Self {
            ejected: self.ejected,
            times: self.times,
            ..Self::default()
        }
    }
}

/// Counts what came of a request.
pub(super) fn report(
    members: &Members,
    member: &Arc<Member>,
    cells: &EndpointCells,
    outcome: Outcome,
) {
    let Some(config) = members.outlier_detection() else {
        return;
    };
    let suspect = |kind| {
        // Who would judge, ends with the cluster.
        let _ = members.suspicions.send((Arc::clone(member), kind));
    };
    let blame = &member.blame;
    let split = config.split_external_local_origin_errors;
    let status = match outcome {
        Outcome::Answered(status) => Some(status),
        Outcome::Connected if !split => Some(200),
        Outcome::Failed if !split => Some(503),
        Outcome::TimedOut if !split => Some(504),
        Outcome::Connected | Outcome::Failed | Outcome::TimedOut => None,
    };
    if split {
        let success = matches!(outcome, Outcome::Answered(_) | Outcome::Connected);
        cells.local.count(success);
        if success {
            clear(&blame.local);
        } else if add(&blame.local, config.consecutive_local_origin_failure) {
            suspect(Kind::ConsecutiveLocalOriginFailure);
        }
    }
    let Some(status) = status else {
        return;
    };
    cells.external.count(status < 500);
    if status < 500 {
        clear(&blame.any);
        clear(&blame.gateway);
        return;
    }
    if !(502..=504).contains(&status) {
        clear(&blame.gateway);
    } else if add(&blame.gateway, config.consecutive_gateway_failure) {
        suspect(Kind::ConsecutiveGatewayFailure);
    }
    if add(&blame.any, config.consecutive_5xx) {
        suspect(Kind::Consecutive5xx);
    }
}
