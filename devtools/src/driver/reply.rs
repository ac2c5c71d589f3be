//! Responses that a filter sends itself, as the client gets them.

use bytes::Bytes;
use weir_abi::{HeaderMap, LocalResponse};

/// Headers and body of a local response to a request with these headers (Envoy,
/// `Utility::prepareLocalReply`). For gRPC it is a reply of trailers alone: status and
/// message stand in the headers.
pub(super) fn compose(response: &LocalResponse, request: &HeaderMap) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.add(":status", response.code.to_string());
    for (name, value) in &response.headers {
        if !name.eq_ignore_ascii_case(b":status") {
            headers.add(name.clone(), value.clone());
        }
    }
    if is_grpc(request) {
        headers.replace(":status", "200");
        headers.replace("content-type", "application/grpc");
        let status = response.grpc_status;
        let status = status.unwrap_or_else(|| grpc_status(response.code));
        headers.add("grpc-status", status.to_string());
        if !response.body.is_empty() {
            headers.add("grpc-message", response.body.clone());
        }
        return (headers, Bytes::new());
    }
    if response.body.is_empty() {
        headers.remove(b"content-length");
        return (headers, Bytes::new());
    }
    headers.overwrite("content-length", response.body.len().to_string());
    if !headers.contains(b"content-type") {
        headers.add("content-type", "text/plain");
    }
    let is_head = request
        .get(b":method")
        .is_some_and(|method| method == "HEAD");
    let body = if is_head {
        Bytes::new()
    } else {
        response.body.clone()
    };
    (headers, body)
}

fn is_grpc(request: &HeaderMap) -> bool {
    request
        .get(b"content-type")
        .is_some_and(|value| value == "application/grpc" || value.starts_with(b"application/grpc+"))
}

/// gRPC status for an HTTP status (gRPC, `doc/http-grpc-status-mapping.md`).
fn grpc_status(code: u16) -> u32 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
