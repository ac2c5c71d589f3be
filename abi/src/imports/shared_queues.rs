//! Queues from VM to VM.

use std::sync::Arc;

use super::shared_data::told_if_full;
use super::{Cx, Outcome, Table};
use crate::types::Status;
use crate::vm_limits::Limit;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_register_shared_queue", register);
    t.call("proxy_resolve_shared_queue", resolve);
    t.call("proxy_enqueue_shared_queue", enqueue);
    t.call("proxy_dequeue_shared_queue", dequeue);
}

/// The caller's root context becomes the one that is told of items.
fn register(c: &mut Cx<'_>, name: u32, length: u32, queue_out: u32) -> Outcome {
    let name = c.read_bytes(name, length)?;
    c.slice(queue_out, 4)?;
    let state = c.state();
    let root = state.root();
    let consumer = root.as_ref().and_then(|root| {
        let consumer = state.host.queue_consumer(root.id);
        if consumer.is_none() {
            state.not_yet_told_of(root.id, &name);
        }
        consumer
    });
    let registered = state.config.shared.register_queue(&name, consumer);
    let queue = told_if_full(state, registered, Limit::SharedQueues)?;
    Ok(c.write_u32(queue_out, queue)?)
}

fn resolve(
    c: &mut Cx<'_>,
    vm_id: u32,
    vm_id_length: u32,
    name: u32,
    name_length: u32,
    queue_out: u32,
) -> Outcome {
    let vm_id = c.read_bytes(vm_id, vm_id_length)?;
    let name = c.read_bytes(name, name_length)?;
    // A `vm_id` is text.
    let vm_id = std::str::from_utf8(&vm_id).map_err(|_| Status::NotFound)?;
    let queue = c.state().config.shared.resolve_queue(vm_id, &name);
    Ok(c.write_u32(queue_out, queue.ok_or(Status::NotFound)?)?)
}

/// The consumer of an item may belong to another `vm_id`, and so does the limit.
fn enqueue(c: &mut Cx<'_>, queue: u32, item: u32, length: u32) -> Outcome {
    let item = c.read_bytes(item, length)?;
    let state = c.state();
    if state.drops_callout() {
        return Ok(());
    }
    let pushed = state.config.shared.enqueue(queue, item);
    told_if_full(state, pushed, Limit::SharedQueues)?;
    Ok(())
}

fn dequeue(c: &mut Cx<'_>, queue: u32, item_out: u32, length_out: u32) -> Outcome {
    // An item that could not be handed over would be lost.
    c.slice(item_out, 4)?;
    c.slice(length_out, 4)?;
    if c.state().drops_callout() {
        return Err(Status::Empty.into());
    }
    let space = Arc::clone(&c.state().config.shared);
    let item = space.dequeue(queue)?;
    c.give(&item, item_out, length_out)
}
