//! What looks after clusters off the workers: looks names up, checks endpoints, judges
//! them.

use std::io;
use std::sync::{Arc, Weak};
use std::thread;

use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout_at};

use super::spec::ClusterSpec;
use super::{dns, eds, health, outlier};
use crate::limits::CLUSTER_START_PATIENCE;

/// Starts to look after `clusters`, which are new, for as long as they are in use.
/// Returns when the names of each have been looked up and its endpoints been checked
/// once, or after a while.
///
/// # Errors
/// When the thread does not start.
pub(crate) async fn start(clusters: &[Arc<ClusterSpec>]) -> io::Result<()> {
    let needs_care = |cluster: &&Arc<ClusterSpec>| {
        cluster.dns.is_some()
            || cluster.assignments.is_some()
            || !cluster.config.health_checks.is_empty()
            || cluster.config.outlier_detection.is_some()
    };
    let clusters: Vec<_> = clusters.iter().filter(needs_care).collect();
    if clusters.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let cared: Vec<Weak<ClusterSpec>> = clusters.iter().map(|c| Arc::downgrade(c)).collect();
    thread::Builder::new()
        .name("clusters".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                let tasks: Vec<_> = cared
                    .into_iter()
                    .flat_map(|cluster| {
                        [
                            spawn_local(dns::watch(Weak::clone(&cluster))),
                            spawn_local(eds::watch(Weak::clone(&cluster))),
                            spawn_local(health::watch(Weak::clone(&cluster))),
                            spawn_local(outlier::watch(cluster)),
                        ]
                    })
                    .collect();
                for task in tasks {
                    if let Err(error) = task.await {
                        tracing::error!("clusters: {error}");
                    }
                }
            });
        })?;
    let deadline = Instant::now() + CLUSTER_START_PATIENCE;
    for cluster in clusters {
        let mut snapshots = cluster.members.subscribe();
        // What comes too late is used when it comes.
        let settled = snapshots.wait_for(|snapshot| snapshot.is_settled());
        let _ = timeout_at(deadline, settled).await;
    }
    Ok(())
}
