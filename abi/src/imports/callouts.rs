//! HTTP and gRPC callouts.

use bytes::Bytes;

use super::headers::canonical;
use super::{Cx, Outcome, Table};
use crate::callout::{CalloutToken, GrpcCall, GrpcStart, HttpCall, timeout};
use crate::headers::HeaderMap;
use crate::types::{HttpMap, Status};
use crate::wire;

pub(super) fn define(t: &mut Table) {
    t.call("proxy_http_call", http_call);
    t.call("envoy_resolve_dns", resolve_dns);
    t.call("proxy_grpc_call", grpc_call);
    t.call("proxy_grpc_stream", grpc_stream);
    t.call("proxy_grpc_send", grpc_send);
    t.call(
        "proxy_grpc_cancel",
        |c: &mut Cx<'_>, token: u32| -> Outcome { Ok(c.state().grpc_cancel(token)?) },
    );
    t.call(
        "proxy_grpc_close",
        |c: &mut Cx<'_>, token: u32| -> Outcome { Ok(c.state().grpc_close(token)?) },
    );
}

/// A map that the guest hands over; what cannot be decoded is an empty one.
fn read_map(c: &mut Cx<'_>, pairs: u32, length: u32) -> Result<HeaderMap, Status> {
    let pairs = wire::decode_pairs(c.read(pairs, length)?).unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        match canonical(HttpMap::RequestHeaders, &name) {
            b":authority" => headers.add(":authority", value),
            _ => headers.add(name, value),
        }
    }
    Ok(headers)
}

#[allow(clippy::too_many_arguments)] // The ABI's own parameters.
fn http_call(
    c: &mut Cx<'_>,
    cluster: u32,
    cluster_length: u32,
    headers: u32,
    headers_length: u32,
    body: u32,
    body_length: u32,
    trailers: u32,
    trailers_length: u32,
    milliseconds: u32,
    token_out: u32,
) -> Outcome {
    let cluster = c.read_bytes(cluster, cluster_length)?;
    let headers = read_map(c, headers, headers_length)?;
    let body = c.read_bytes(body, body_length)?;
    let trailers = read_map(c, trailers, trailers_length)?;
    c.write_u32(token_out, 0)?;
    let needed: [&[u8]; 3] = [b":path", b":method", b":authority"];
    if !needed.iter().all(|name| headers.contains(name)) {
        return Err(Status::BadArgument.into());
    }
    let call = HttpCall {
        cluster,
        headers,
        body,
        trailers,
        timeout: timeout(milliseconds)?,
    };
    let state = c.state();
    let root = state.root().ok_or(Status::InternalFailure)?;
    let token = state.http_call(root, call)?;
    tell(c, token, token_out)
}

/// Stores the token of a callout; its place has been written to before.
fn tell(c: &mut Cx<'_>, token: CalloutToken, token_out: u32) -> Outcome {
    Ok(c.write_u32(token_out, token.0)?)
}

/// Where the parameters that a gRPC call and stream begin with are.
struct Parameters {
    target: (u32, u32),
    service: (u32, u32),
    method: (u32, u32),
    metadata: (u32, u32),
}

impl Parameters {
    fn read(self, c: &mut Cx<'_>) -> Result<GrpcStart, Status> {
        Ok(GrpcStart {
            target: c.read_bytes(self.target.0, self.target.1)?,
            service: c.read_bytes(self.service.0, self.service.1)?,
            method: c.read_bytes(self.method.0, self.method.1)?,
            metadata: read_map(c, self.metadata.0, self.metadata.1)?,
        })
    }
}

#[allow(clippy::too_many_arguments)] // The ABI's own parameters.
fn grpc_call(
    c: &mut Cx<'_>,
    target: u32,
    target_length: u32,
    service: u32,
    service_length: u32,
    method: u32,
    method_length: u32,
    metadata: u32,
    metadata_length: u32,
    message: u32,
    message_length: u32,
    milliseconds: u32,
    token_out: u32,
) -> Outcome {
    let parameters = Parameters {
        target: (target, target_length),
        service: (service, service_length),
        method: (method, method_length),
        metadata: (metadata, metadata_length),
    };
    let start = parameters.read(c)?;
    let message: Bytes = c.read_bytes(message, message_length)?;
    c.write_u32(token_out, 0)?;
    let call = GrpcCall {
        start,
        message,
        timeout: timeout(milliseconds)?,
    };
    let state = c.state();
    let root = state.root().ok_or(Status::InternalFailure)?;
    let token = state.grpc_call(root, call)?;
    tell(c, token, token_out)
}

#[allow(clippy::too_many_arguments)] // The ABI's own parameters.
fn grpc_stream(
    c: &mut Cx<'_>,
    target: u32,
    target_length: u32,
    service: u32,
    service_length: u32,
    method: u32,
    method_length: u32,
    metadata: u32,
    metadata_length: u32,
    token_out: u32,
) -> Outcome {
    let parameters = Parameters {
        target: (target, target_length),
        service: (service, service_length),
        method: (method, method_length),
        metadata: (metadata, metadata_length),
    };
    let start = parameters.read(c)?;
    c.write_u32(token_out, 0)?;
    let state = c.state();
    let root = state.root().ok_or(Status::InternalFailure)?;
    let token = state.grpc_stream(root, start)?;
    tell(c, token, token_out)
}

fn resolve_dns(c: &mut Cx<'_>, name: u32, length: u32, token_out: u32) -> Outcome {
    let name = c.read_bytes(name, length)?;
    c.write_u32(token_out, 0)?;
    let name = std::str::from_utf8(&name).map_err(|_| Status::BadArgument)?;
    let state = c.state();
    let root = state.root().ok_or(Status::InternalFailure)?;
    let token = state.resolve_dns(root, name)?;
    Ok(c.write_u32(token_out, token.0)?)
}

fn grpc_send(c: &mut Cx<'_>, token: u32, message: u32, length: u32, end: u32) -> Outcome {
    let message = c.read_bytes(message, length)?;
    Ok(c.state().grpc_send(token, message, end != 0)?)
}
