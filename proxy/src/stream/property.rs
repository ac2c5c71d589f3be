//! Properties of a stream that no header map holds.

use weir_abi::{Property, PropertyError};

use super::FilteredStream;

/// The property at `path`.
pub(super) fn get(stream: &FilteredStream, path: &[&[u8]]) -> Result<Property, PropertyError> {
    let info = &stream.info;
    let connection = &info.connection;
    let value = match path {
        [b"request", b"time"] => Some(Property::Timestamp(info.start_time())),
        [b"request", b"duration"] => info.duration().map(Property::Duration),
        [b"request", b"protocol"] => Some(info.protocol.name().into()),
        [b"request", b"size"] => request_size(stream)?,
        [b"request", b"total_size"] => Some(int(
            info.bytes_received.get() + info.request_headers_bytes.get()
        )),
        [b"request", b"headers_bytes"] => Some(int(info.request_headers_bytes.get())),
        [b"response", b"code"] => info.response_code.get().map(|c| Property::Int(c.into())),
        [b"response", b"code_details"] => {
            let details = info.code_details();
            (!details.is_empty()).then(|| details.into())
        }
        [b"response", b"flags"] => Some(int(info.flags().bits())),
        [b"response", b"size"] => Some(int(info.bytes_sent.get())),
        [b"response", b"total_size"] => Some(int(
            info.bytes_sent.get() + info.response_headers_bytes.get()
        )),
        [b"response", b"headers_bytes"] => Some(int(info.response_headers_bytes.get())),
        [b"source", b"address"] => Some(connection.peer.to_string().into()),
        [b"source", b"port"] => Some(int(connection.peer.port().into())),
        [b"destination", b"address"] => Some(connection.local.to_string().into()),
        [b"destination", b"port"] => Some(int(connection.local.port().into())),
        [b"connection_id"] | [b"connection", b"id"] => Some(Property::Uint(connection.id)),
        [b"connection", b"mtls"] => Some(Property::Bool(false)),
        [b"connection", b"requested_server_name"] => Some("".into()),
        [b"upstream", b"address"] => info.upstream.get().map(|a| a.to_string().into()),
        [b"upstream", b"port"] => info.upstream.get().map(|a| int(a.port().into())),
        [b"upstream", b"local_address"] => info.upstream_local.get().map(|a| a.to_string().into()),
        [b"upstream", b"request_attempt_count"] => Some(int(info.upstream_attempts.get())),
        [name] => set_by_filter(stream, name),
        [b"filter_state", name] => name
            .strip_prefix(b"wasm.")
            .and_then(|name| set_by_filter(stream, name)),
        _ => None,
    };
    value.ok_or(PropertyError::NotFound)
}

fn int(n: u64) -> Property {
    Property::Int(i64::try_from(n).unwrap_or(i64::MAX))
}

fn set_by_filter(stream: &FilteredStream, name: &[u8]) -> Option<Property> {
    let properties = stream.properties.borrow();
    let found = properties.iter().find(|(path, _)| path == name);
    found.map(|(_, value)| value.clone().into())
}

/// Content-Length where the request has one, else the bytes received so far.
fn request_size(stream: &FilteredStream) -> Result<Option<Property>, PropertyError> {
    let headers = stream.request_headers.borrow();
    let Some(length) = headers.get(b"content-length") else {
        return Ok(Some(int(stream.info.bytes_received.get())));
    };
    std::str::from_utf8(length)
        .ok()
        .and_then(|l| l.parse::<u64>().ok())
        .map(|n| Some(int(n)))
        .ok_or(PropertyError::NotFound)
}
