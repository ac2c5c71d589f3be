//! Bodies, data of connections, and configurations.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use bytes::Bytes;

use super::{Cx, Outcome, Table};
use crate::body::BodyBuffer;
use crate::callout::{HttpCallResponse, Received};
use crate::connection::ConnectionContext;
use crate::limits::BODY_BYTES_MAX;
use crate::plugin::RootState;
use crate::stream::StreamContext;
use crate::types::{BufferType, Direction, Side, Status};
use crate::vm_limits::Limit;
use crate::vm_state::VmState;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_get_buffer_bytes", get_bytes);
    t.call("proxy_get_buffer_status", get_status);
    t.call("proxy_set_buffer_bytes", set_bytes);
    t.call("proxy_get_configuration", get_configuration);
}

/// Where the bytes of a buffer are.
enum Source {
    Body(Rc<StreamContext>, Direction),
    Data(Rc<ConnectionContext>, Side),
    Call(Rc<HttpCallResponse>),
    Message(Rc<RefCell<BodyBuffer>>),
    ReadOnly(Bytes),
}

impl Source {
    /// Only the plugin configuration and the body of a callout's response come
    /// and go; any other buffer is empty when there is nothing in it.
    fn of(state: &VmState, buffer: BufferType) -> Result<Self, Status> {
        let direction = match buffer {
            BufferType::HttpRequestBody => Direction::Request,
            BufferType::HttpResponseBody => Direction::Response,
            BufferType::VmConfiguration => {
                return Ok(Self::ReadOnly(state.config.configuration.clone()));
            }
            BufferType::PluginConfiguration => {
                return plugin_configuration(state)
                    .map(Self::ReadOnly)
                    .ok_or(Status::NotFound);
            }
            BufferType::DownstreamData => return Ok(Self::data(state, Side::Downstream)),
            BufferType::UpstreamData => return Ok(Self::data(state, Side::Upstream)),
            BufferType::CallResponseBody => {
                return match state.callouts.received() {
                    Some(Received::Http(response)) => Ok(Self::Call(response)),
                    _ => Err(Status::NotFound),
                };
            }
            BufferType::GrpcReceive => {
                return Ok(match state.callouts.received() {
                    Some(Received::Message(message)) => Self::Message(message),
                    _ => Self::ReadOnly(Bytes::new()),
                });
            }
            BufferType::CallData => {
                return Ok(Self::ReadOnly(match state.callouts.received() {
                    Some(Received::Addresses(addresses)) => addresses,
                    _ => Bytes::new(),
                }));
            }
        };
        Ok(state.stream().map_or_else(
            || Self::ReadOnly(Bytes::new()),
            |cx| Self::Body(cx, direction),
        ))
    }

    fn data(state: &VmState, side: Side) -> Self {
        match state.connection() {
            Some(cx) => Self::Data(cx, side),
            None => Self::ReadOnly(Bytes::new()),
        }
    }

    /// The bytes that can be changed, if there are such now.
    fn buffer(&self) -> Option<RefMut<'_, BodyBuffer>> {
        match self {
            Self::Body(cx, direction) => body(cx, *direction),
            Self::Data(cx, side) => cx.data(*side),
            Self::Message(message) => Some(message.borrow_mut()),
            Self::Call(_) | Self::ReadOnly(_) => None,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Body(..) | Self::Data(..) | Self::Message(_) => {
                self.buffer().map_or(0, |b| b.len())
            }
            Self::Call(response) => response.body.len(),
            Self::ReadOnly(bytes) => bytes.len(),
        }
    }

    fn copy_to(&self, start: usize, block: &mut [u8]) {
        match self {
            Self::Body(..) | Self::Data(..) | Self::Message(_) => {
                if let Some(buffer) = self.buffer() {
                    buffer.copy_to(start, block);
                }
            }
            Self::Call(response) => response.body.copy_to(start, block),
            Self::ReadOnly(bytes) => block.copy_from_slice(&bytes[start..start + block.len()]),
        }
    }
}

/// The plugin's configuration, while its root context is created or configured.
fn plugin_configuration(state: &VmState) -> Option<Bytes> {
    let root = state.root()?;
    let readable = [RootState::Created, RootState::Configuring].contains(&root.state.get());
    readable.then(|| root.plugin.configuration.clone())
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
    let source = Source::of(c.state(), buffer)?;
    let size = source.len();
    let start = (start as usize).min(size);
    let length = (size - start).min(max_length as usize);
    c.give_with(length, bytes_out, length_out, |block| {
        source.copy_to(start, block);
    })
}

fn get_status(c: &mut Cx<'_>, buffer: u32, length_out: u32, flags_out: u32) -> Outcome {
    let buffer = BufferType::from_wire(buffer).ok_or(Status::BadArgument)?;
    let length = Source::of(c.state(), buffer)?.len();
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
    let source = Source::of(c.state(), buffer)?;
    let data = c.read_bytes(data, data_length)?;
    let mut buffer = source.buffer().ok_or(Status::BadArgument)?;
    if !data.is_empty() && buffer.len() + data.len() > BODY_BYTES_MAX {
        drop(buffer);
        c.state().limit_reached(Limit::BodyBytes);
        return Err(Status::InternalFailure.into());
    }
    buffer.set(start as usize, length as usize, data)?;
    Ok(())
}

/// ABI 0.1.0: the plugin's configuration while it can be read, the VM's at any
/// other time.
fn get_configuration(c: &mut Cx<'_>, bytes_out: u32, length_out: u32) -> Outcome {
    let state = c.state();
    let bytes = plugin_configuration(state).unwrap_or_else(|| state.config.configuration.clone());
    c.give(&bytes, bytes_out, length_out)
}
