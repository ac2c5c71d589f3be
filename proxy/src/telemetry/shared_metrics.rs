//! Metrics of what VMs share by their `vm_id`.

use weir_abi::SharedState;

use super::family as f;
use super::page::Page;

/// Shows the numbers of each `vm_id`.
pub(super) fn show(shared: &SharedState, page: &mut Page) {
    for space in shared.stats() {
        let vm_id = [&*space.vm_id];
        page.level(&f::SHARED_DATA_BYTES, &vm_id, space.data_bytes as u64);
        page.level(&f::SHARED_DATA_ENTRIES, &vm_id, space.data_entries as u64);
        page.count(&f::SHARED_DATA_REFUSED, &vm_id, space.data_refused);
        page.count(&f::SHARED_DATA_EVICTED, &vm_id, space.data_evicted);
        page.level(&f::SHARED_QUEUES, &vm_id, space.queues as u64);
        page.level(&f::SHARED_QUEUE_BYTES, &vm_id, space.queue_bytes as u64);
        page.level(&f::SHARED_QUEUE_ITEMS, &vm_id, space.queue_items as u64);
        page.count(&f::SHARED_QUEUE_REFUSED, &vm_id, space.queue_refused);
    }
}
