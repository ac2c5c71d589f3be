//! Data that VMs of one `vm_id` share.

use std::sync::Arc;

use super::{Cx, Outcome, Table};
use crate::types::Status;
use crate::vm_limits::Limit;
use crate::vm_state::VmState;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_get_shared_data", get);
    t.call("proxy_set_shared_data", set);
}

fn get(
    c: &mut Cx<'_>,
    key: u32,
    key_length: u32,
    value_out: u32,
    length_out: u32,
    cas_out: u32,
) -> Outcome {
    let space = Arc::clone(&c.state().config.shared);
    let found = space.get(c.read(key, key_length)?);
    let (value, cas) = found.ok_or(Status::NotFound)?;
    c.slice(cas_out, 4)?;
    c.give(&value, value_out, length_out)?;
    Ok(c.write_u32(cas_out, cas)?)
}

fn set(
    c: &mut Cx<'_>,
    key: u32,
    key_length: u32,
    value: u32,
    value_length: u32,
    cas: u32,
) -> Outcome {
    let key = c.read_bytes(key, key_length)?;
    let value = c.read_bytes(value, value_length)?;
    let state = c.state();
    let set = state.config.shared.set(&key, &value, cas);
    told_if_full(state, set, Limit::SharedData)?;
    Ok(())
}

/// Tells the host of a limit that was reached.
pub(super) fn told_if_full<T>(
    state: &VmState,
    result: Result<T, Status>,
    limit: Limit,
) -> Result<T, Status> {
    if matches!(result, Err(Status::InternalFailure)) {
        state.limit_reached(limit);
    }
    result
}
