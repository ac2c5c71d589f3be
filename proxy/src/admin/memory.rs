//! `/memory`: of the process, and of filters.

use serde_json::{Value as Json, json};

use super::AdminState;
use super::answer::Answer;
use crate::telemetry::memory;

/// `/memory`
pub(super) fn memory(state: &AdminState) -> Answer {
    let served = state.served.load_full();
    let vms = served.iter().flat_map(|served| &served.generation.vms);
    let guests = vms.map(|vm| {
        let workers = state.metrics.vm(vm).memory;
        json!({
            "vm_id": vm.config.vm_id,
            "plugins": vm.plugin_names(),
            "bytes": workers.iter().sum::<u64>(),
            "workers": workers,
        })
    });
    let guests: Vec<Json> = guests.collect();
    let process = memory::now();
    // The names of Envoy's, which has numbers as text.
    let text = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string());
    Answer::json(&json!({
        "allocated": text(process.allocated),
        "heap_size": text(process.heap),
        "total_physical_bytes": text(process.resident),
        "guests": guests,
    }))
}
