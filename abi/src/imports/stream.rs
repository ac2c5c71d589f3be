//! What a filter does with its stream or connection: continue it, close it,
//! answer it. All of it takes effect when the guest has returned, and none of it while the
//! stream is logged or deleted (in Envoy, some of that ends the process).

use std::rc::Rc;

use super::{Cx, Outcome, Stop, Table};
use crate::connection::ConnectionContext;
use crate::host::LocalResponse;
use crate::stream::StreamContext;
use crate::types::{Direction, Status};
use crate::vm_state::AfterCall;
use crate::wire;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_continue_stream", continue_stream);
    t.call("proxy_close_stream", close_stream);
    t.call("proxy_send_local_response", send_local_response);
    // ABI 0.1.0
    t.call("proxy_continue_request", |c: &mut Cx<'_>| {
        continue_stream(c, 0)
    });
    t.call("proxy_continue_response", |c: &mut Cx<'_>| {
        continue_stream(c, 1)
    });
    t.call("proxy_clear_route_cache", clear_route_cache);
}

/// The stream at hand, while something can be done to it.
fn open_stream(c: &Cx<'_>) -> Option<Rc<StreamContext>> {
    c.state().stream().filter(|cx| !cx.is_over())
}

/// The connection at hand, while something can be done to it.
fn open_connection(c: &Cx<'_>) -> Option<Rc<ConnectionContext>> {
    c.state().connection().filter(|cx| !cx.is_over())
}

/// Stream types of the wire: 0 request, 1 response, 2 downstream, 3 upstream.
fn continue_stream(c: &mut Cx<'_>, stream: u32) -> Outcome {
    let direction = match stream {
        0 => Direction::Request,
        1 => Direction::Response,
        2 => {
            if let Some(cx) = open_connection(c) {
                c.state().queue(AfterCall::ContinueReading(cx));
            }
            return Ok(());
        }
        3 => return Err(Status::Unimplemented.into()),
        _ => return Err(Status::BadArgument.into()),
    };
    if let Some(cx) = open_stream(c) {
        cx.continued(direction);
        c.state().queue(AfterCall::Continue(cx, direction));
    }
    Ok(())
}

fn close_stream(c: &mut Cx<'_>, stream: u32) -> Outcome {
    if stream > 3 {
        return Err(Status::BadArgument.into());
    }
    if stream < 2 {
        if let Some(cx) = open_stream(c) {
            c.state().queue(AfterCall::Close(cx));
        }
    } else if let Some(cx) = open_connection(c) {
        // Either type means the client's connection, and the other with it.
        c.state().queue(AfterCall::CloseConnection(cx));
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // The ABI's own parameters.
fn send_local_response(
    c: &mut Cx<'_>,
    code: u32,
    details: u32,
    details_length: u32,
    body: u32,
    body_length: u32,
    headers: u32,
    headers_length: u32,
    grpc_status: u32,
) -> Outcome {
    let details = c.read_bytes(details, details_length)?;
    let body = c.read_bytes(body, body_length)?;
    let headers = wire::decode_pairs(c.read(headers, headers_length)?).unwrap_or_default();
    let Some(cx) = open_stream(c) else {
        return Ok(());
    };
    if !cx.stream.takes_local_response() {
        return Err(Status::BadArgument.into());
    }
    cx.replied.set(true);
    let response = LocalResponse {
        // 16 bit in Envoy: a larger code is cut, not refused.
        code: (code & 0xffff) as u16,
        details,
        body,
        headers,
        grpc_status: (grpc_status <= 16).then_some(grpc_status),
    };
    c.state().queue(AfterCall::LocalResponse(cx, response));
    Ok(())
}

/// ABI 0.1.0; later versions clear the route by changing the request headers.
fn clear_route_cache(c: &mut Cx<'_>) -> Result<(), Stop> {
    if let Some(cx) = c.state().stream() {
        cx.stream.clear_route_cache();
    }
    Ok(())
}
