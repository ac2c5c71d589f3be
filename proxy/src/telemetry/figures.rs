//! Figures: what the numbers of one thing come to, over all workers, for the admin's
//! pages.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::cell::Snapshot;
use super::failures::FailureRecord;

/// What the VMs of one specification come to.
#[derive(Debug, Default)]
pub(crate) struct VmFigures {
    /// VMs that take calls, spares included.
    pub(crate) vms: u64,
    /// Bytes of guest memory by worker.
    pub(crate) memory: Vec<u64>,
    pub(crate) restarts: u64,
    /// Workers on which it fails again and again.
    pub(crate) crash_loops: u64,
    pub(crate) recycles: u64,
    pub(crate) callouts_active: u64,
}

/// What one plugin comes to.
#[derive(Debug, Default)]
pub(crate) struct PluginFigures {
    /// Contexts of streams.
    pub(crate) streams: u64,
    pub(crate) local_responses: u64,
    pub(crate) hostcalls: u64,
    /// By reason.
    pub(crate) failures: Vec<(&'static str, u64)>,
    /// By callback, those that were made.
    pub(crate) callbacks: Vec<(&'static str, Snapshot)>,
    /// The last one first.
    pub(crate) last_failures: Vec<Arc<FailureRecord>>,
}

impl PluginFigures {
    /// Failures for whatever reason.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }

    /// Callbacks by name, with how many there were and how long they took.
    pub(crate) fn callbacks_json(&self) -> Json {
        let callbacks = self.callbacks.iter();
        let callbacks = callbacks.map(|(name, samples)| {
            let of_one = json!({ "count": samples.count(), "seconds": samples.total() });
            ((*name).to_owned(), of_one)
        });
        Json::Object(callbacks.collect::<Map<_, _>>())
    }

    /// All callbacks that streams pay for together.
    pub(crate) fn time(&self) -> Option<Snapshot> {
        let of_streams = |name: &&str| !ROOT_CALLBACKS.contains(name);
        let callbacks = self.callbacks.iter().filter(|(name, _)| of_streams(name));
        callbacks
            .map(|(_, samples)| samples.clone())
            .reduce(|mut sum, more| {
                sum.add(&more);
                sum
            })
    }
}

/// What is called for a plugin as a whole.
const ROOT_CALLBACKS: [&str; 5] = [
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_queue_ready",
    "proxy_on_foreign_function",
];

/// What a listener comes to.
#[derive(Debug)]
pub(crate) struct ListenerFigures {
    pub(crate) connections: u64,
    pub(crate) active_connections: u64,
    pub(crate) requests: u64,
    pub(crate) active_requests: u64,
    /// By class, from 1xx on.
    pub(crate) codes: Vec<u64>,
    /// Milliseconds that requests took.
    pub(crate) time: Snapshot,
}

/// What a cluster comes to.
#[derive(Debug)]
pub(crate) struct ClusterFigures {
    pub(crate) connections: u64,
    pub(crate) connect_failures: u64,
    pub(crate) requests: u64,
    pub(crate) active_requests: u64,
    pub(crate) failures: u64,
    pub(crate) codes: Vec<u64>,
    pub(crate) time: Snapshot,
}

impl Snapshot {
    /// Upper bounds and counts of the buckets, the last of which has no bound.
    pub(crate) fn to_json(&self) -> Json {
        let bounds = self
            .buckets
            .bounds
            .iter()
            .map(|b| b / self.buckets.per_unit);
        json!({
            "bounds": bounds.collect::<Vec<_>>(),
            "counts": self.counts,
            "sum": self.total(),
        })
    }

    /// Sum of the samples, in the unit that is shown.
    #[allow(clippy::cast_precision_loss)] // It is for people to read.
    pub(crate) fn total(&self) -> f64 {
        self.sum as f64 / self.buckets.per_unit
    }
}

/// Adds up what several workers have counted.
pub(super) fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
