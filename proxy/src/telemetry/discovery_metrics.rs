//! Numbers of the client of a management server.

use std::sync::{Arc, OnceLock};

use weir_xds::{Counters, ResourceType};

use super::family as f;
use super::page::Page;

/// What the client counts, once there is one.
pub(crate) type ControlPlane = Arc<OnceLock<Arc<Counters>>>;

pub(super) fn show(counters: &Counters, page: &mut Page) {
    page.level(
        &f::CONTROL_PLANE_CONNECTED,
        &[],
        counters.is_connected().into(),
    );
    let pending = counters.pending_requests();
    page.level(&f::CONTROL_PLANE_PENDING, &[], pending);
    let clusters = counters.updates(ResourceType::Cluster);
    page.count(&f::CDS_ATTEMPT, &[], clusters.attempt);
    page.count(&f::CDS_SUCCESS, &[], clusters.success);
    page.count(&f::CDS_REJECTED, &[], clusters.rejected);
    page.count(&f::CDS_FAILURE, &[], clusters.failure);
    page.level(&f::CDS_TIME, &[], clusters.time);
    let listeners = counters.updates(ResourceType::Listener);
    page.count(&f::LDS_ATTEMPT, &[], listeners.attempt);
    page.count(&f::LDS_SUCCESS, &[], listeners.success);
    page.count(&f::LDS_REJECTED, &[], listeners.rejected);
    page.count(&f::LDS_FAILURE, &[], listeners.failure);
    page.level(&f::LDS_TIME, &[], listeners.time);
    for kind in ResourceType::ALL {
        let counts = counters.updates(kind);
        for (result, count) in [
            ("success", counts.success),
            ("rejected", counts.rejected),
            ("failure", counts.failure),
        ] {
            page.count(&f::XDS_UPDATES, &[kind.abbreviation(), result], count);
        }
    }
}
