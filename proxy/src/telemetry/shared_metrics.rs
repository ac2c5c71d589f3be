//! Metrics of what VMs share by their `vm_id`.

use prometheus::{IntCounterVec, IntGaugeVec, Result};
use weir_abi::SharedState;

const LABELS: [&str; 1] = ["vm_id"];

/// Registers a sample for each `vm_id`.
pub(super) fn render(
    shared: &SharedState,
    counter: &impl Fn(&str, &str, &[&str]) -> Result<IntCounterVec>,
    gauge: &impl Fn(&str, &str, &[&str]) -> Result<IntGaugeVec>,
) -> Result<()> {
    let bytes = gauge(
        "weir_wasm_shared_data_bytes",
        "Shared data, keys and values",
        &LABELS,
    )?;
    let entries = gauge(
        "weir_wasm_shared_data_entries",
        "Keys of shared data",
        &LABELS,
    )?;
    let refused = counter(
        "weir_wasm_shared_data_refused_total",
        "Values for which a limit left no room",
        &LABELS,
    )?;
    let evicted = counter(
        "weir_wasm_shared_data_evicted_total",
        "Entries that made room for others",
        &LABELS,
    )?;
    let queues = gauge("weir_wasm_shared_queues", "Shared queues", &LABELS)?;
    let queue_bytes = gauge(
        "weir_wasm_shared_queue_bytes",
        "Bytes in shared queues",
        &LABELS,
    )?;
    let queue_items = gauge(
        "weir_wasm_shared_queue_items",
        "Items in shared queues",
        &LABELS,
    )?;
    let queue_refused = counter(
        "weir_wasm_shared_queue_refused_total",
        "Items and queues for which a limit left no room",
        &LABELS,
    )?;
    for space in shared.stats() {
        let set = |gauge: &IntGaugeVec, value: usize| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            gauge.with_label_values(&[&space.vm_id]).set(value);
        };
        let count = |counter: &IntCounterVec, value| {
            counter.with_label_values(&[&space.vm_id]).inc_by(value);
        };
        set(&bytes, space.data_bytes);
        set(&entries, space.data_entries);
        count(&refused, space.data_refused);
        count(&evicted, space.data_evicted);
        set(&queues, space.queues);
        set(&queue_bytes, space.queue_bytes);
        set(&queue_items, space.queue_items);
        count(&queue_refused, space.queue_refused);
    }
    Ok(())
}
