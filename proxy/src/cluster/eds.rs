//! Clusters whose endpoints come from a management server.

use std::sync::Weak;

use tokio::sync::watch;
use weir_config::{ClusterEndpoint, Endpoint};

use super::member::Description;
use super::members::Members;
use super::spec::ClusterSpec;
use crate::discovery::Assignment;

/// Has the members be those of `assignment`; without one, nothing is known of them.
pub(super) fn take(members: &Members, assignment: &Assignment) {
    let endpoints = assignment.as_ref().map_or(&[][..], |endpoints| endpoints);
    members.replace(described(endpoints), assignment.is_some());
}

/// Those that are addresses.
pub(super) fn described(endpoints: &[ClusterEndpoint]) -> impl Iterator<Item = Description> {
    endpoints
        .iter()
        .filter_map(|endpoint| match &endpoint.address.value {
            Endpoint::Address(address) => Some(Description::of(endpoint, address.clone(), None)),
            // None are taken.
            Endpoint::Name { .. } => None,
        })
}

/// Follows what the management server says for as long as the cluster is in use.
pub(super) async fn watch(cluster: Weak<ClusterSpec>) {
    let assignments = cluster
        .upgrade()
        .and_then(|cluster| cluster.assignments.clone());
    let Some(mut assignments) = assignments else {
        return;
    };
    loop {
        let Some(cluster) = cluster.upgrade() else {
            return;
        };
        let assignment = assignments.borrow_and_update().clone();
        take(&cluster.members, &assignment);
        // While nobody says anything, the cluster may go.
        let mut snapshots = cluster.members.subscribe();
        drop(cluster);
        let gone = async { while snapshots.changed().await.is_ok() {} };
        tokio::select! {
            changed = assignments.changed() => if changed.is_err() {
                return;
            },
            () = gone => return,
        }
    }
}

/// What a cluster follows, if its endpoints come like this.
pub(super) type Assignments = watch::Receiver<Assignment>;
