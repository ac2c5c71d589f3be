//! Bodies and configurations.

use std::cell::RefMut;

use super::{Cx, Outcome, Table};
use crate::body::BodyBuffer;
use crate::plugin::RootState;
use crate::stream::StreamContext;
use crate::types::{BufferType, Direction, Status};

pub(super) fn define(t: &mut Table) {
    t.call("proxy_get_buffer_bytes", get_bytes);
    t.call("proxy_get_buffer_status", get_status);
    t.call("proxy_set_buffer_bytes", set_bytes);
    t.call("proxy_get_configuration", get_configuration);
}

fn direction(buffer: BufferType) -> Option<Direction> {
    match buffer {
        BufferType::HttpRequestBody => Some(Direction::Request),
        BufferType::HttpResponseBody => Some(Direction::Response),
        _ => None,
    }
}

fn body(cx: &StreamContext, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
    if cx.can_access_body(direction) {
        cx.stream.body(cx.filter, direction)
    } else {
        None
    }
}

fn get_bytes(
    c: &mut Cx<'_>,
    buffer: u32,
    start: u32,
    max_length: u32,
    bytes_out: u32,
    length_out: u32,
) -> Outcome {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let clip = |size: usize| {
        let start = (start as usize).min(size);
        start..size.min(start + max_length as usize)
    };
    if let Some(direction) = direction(buffer) {
        let Some(cx) = c.state().stream() else {
            return Err(Status::NotFound.into());
        };
        let Some(body) = body(&cx, direction) else {
            return c.give(&[], bytes_out, length_out);
        };
        let range = clip(body.len());
        return c.give_with(range.len(), bytes_out, length_out, |block| {
            body.copy_to(range.start, block);
        });
    }
    let state = c.state().clone();
    let root = state.root();
    let bytes = match (buffer, &root) {
        (BufferType::VmConfiguration, _) => &state.config.configuration,
        (BufferType::PluginConfiguration, Some(root))
            if root.state.get() == RootState::Configuring =>
        {
            &root.plugin.configuration
        }
        _ => return Err(Status::NotFound.into()),
    };
    c.give(&bytes[clip(bytes.len())], bytes_out, length_out)
}

fn get_status(c: &mut Cx<'_>, buffer: u32, length_out: u32, flags_out: u32) -> Outcome {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let state = c.state().clone();
    let length = match (direction(buffer), buffer) {
        (Some(direction), _) => {
            let cx = state.stream().ok_or(Status::NotFound)?;
            body(&cx, direction).map_or(0, |b| b.len())
        }
        (None, BufferType::VmConfiguration) => state.config.configuration.len(),
        (None, BufferType::PluginConfiguration) => state
            .root()
            .filter(|r| r.state.get() == RootState::Configuring)
            .map(|r| r.plugin.configuration.len())
            .ok_or(Status::NotFound)?,
        _ => return Err(Status::NotFound.into()),
    };
    c.write_u32(length_out, u32::try_from(length).unwrap_or(u32::MAX))?;
    c.write_u32(flags_out, 0)?;
    Ok(())
}

fn set_bytes(
    c: &mut Cx<'_>,
    buffer: u32,
    start: u32,
    length: u32,
    data: u32,
    data_length: u32,
) -> Outcome {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let data = c.read_bytes(data, data_length)?;
    let direction = direction(buffer).ok_or(Status::BadArgument)?;
    let cx = c.state().stream().ok_or(Status::NotFound)?;
    let mut body = body(&cx, direction).ok_or(Status::BadArgument)?;
    body.set(start as usize, length as usize, data)?;
    Ok(())
}

/// ABI 0.1.0: the plugin's configuration while it is configured, the VM's at
/// any other time.
fn get_configuration(c: &mut Cx<'_>, bytes_out: u32, length_out: u32) -> Outcome {
    let state = c.state().clone();
    let root = state.root();
    let bytes = match &root {
        Some(root) if root.state.get() == RootState::Configuring => &root.plugin.configuration,
        _ => &state.config.configuration,
    };
    c.give(bytes, bytes_out, length_out)
}
