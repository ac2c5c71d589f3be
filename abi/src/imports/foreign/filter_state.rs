//! `set_envoy_filter_state`: objects that other parts of the proxy read (Envoy,
//! `set_envoy_filter_state.proto`, and its object factories).

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::message::{Value, fields};
use super::property::span;
use super::{Call, Given};
use crate::context::Context;
use crate::host::{LifeSpan, Refused};
use crate::types::Status;

/// Which values an object takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Anything,
    Number,
    Ip,
    SocketAddress,
}

/// The objects that Envoy 1.40 makes of bytes, and Weir keeps.
const OBJECTS: [(&str, Takes); 16] = [
    ("envoy.bool", Takes::Anything),
    (
        "envoy.filters.listener.original_dst.local_ip",
        Takes::SocketAddress,
    ),
    (
        "envoy.filters.listener.original_dst.remote_ip",
        Takes::SocketAddress,
    ),
    ("envoy.hashable_string", Takes::Anything),
    ("envoy.network.application_protocols", Takes::Anything),
    ("envoy.network.ip", Takes::Ip),
    ("envoy.network.network_namespace", Takes::Anything),
    (
        "envoy.network.transport_socket.original_dst_address",
        Takes::SocketAddress,
    ),
    ("envoy.network.upstream_server_name", Takes::Anything),
    ("envoy.network.upstream_subject_alt_names", Takes::Anything),
    ("envoy.ratelimit.hits_addend", Takes::Number),
    ("envoy.string", Takes::Anything),
    ("envoy.tcp_proxy.cluster", Takes::Anything),
    ("envoy.tcp_proxy.disable_tunneling", Takes::Anything),
    (
        "envoy.tcp_proxy.per_connection_idle_timeout_ms",
        Takes::Number,
    ),
    ("envoy.upstream.dynamic_host", Takes::Anything),
];

/// The port, beside them, is kept apart: Envoy takes any number for one.
const DYNAMIC_PORT: &str = "envoy.upstream.dynamic_port";

impl Takes {
    fn of(key: &[u8]) -> Option<Self> {
        if key == DYNAMIC_PORT.as_bytes() {
            return Some(Self::Number);
        }
        let object = OBJECTS.iter().find(|(known, _)| known.as_bytes() == key);
        object.map(|(_, takes)| *takes)
    }

    fn accepts(self, value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else {
            return self == Self::Anything;
        };
        match self {
            Self::Anything => true,
            Self::Number => text.parse::<u64>().is_ok(),
            Self::Ip => text.parse::<IpAddr>().is_ok(),
            Self::SocketAddress => text.parse::<SocketAddr>().is_ok(),
        }
    }
}

pub(super) fn set(call: &Call<'_>) -> Result<Given, Status> {
    let (mut key, mut value, mut life) = (&b""[..], &b""[..], LifeSpan::default());
    for field in fields(call.argument) {
        match field.ok_or(Status::BadArgument)? {
            (1, Value::Bytes(text)) => key = text,
            (2, Value::Bytes(text)) => value = text,
            (3, Value::Varint(n)) => life = span(n),
            _ => {}
        }
    }
    let takes = Takes::of(key).ok_or(Status::NotFound)?;
    let context = call.state.context().ok_or(Status::NotFound)?;
    if matches!(context, Context::Root(_)) {
        return Err(Status::NotFound);
    }
    if !takes.accepts(value) {
        return Err(Status::BadArgument);
    }
    let value = Bytes::copy_from_slice(value);
    let stored = match &context {
        Context::Root(_) => Err(Refused::NotTaken),
        Context::Stream(cx) => cx.stream.set_filter_state(key, value, life),
        Context::Connection(cx) => cx.connection.set_filter_state(key, value),
    };
    match stored {
        Ok(()) => Ok(None),
        Err(_) => Err(Status::BadArgument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_what_it_is_for() {
        let takes =
            |key: &str, value: &str| Takes::of(key.as_bytes()).unwrap().accepts(value.as_bytes());
        assert!(takes("envoy.tcp_proxy.cluster", ""));
        assert!(takes("envoy.upstream.dynamic_port", "70000"));
        assert!(!takes("envoy.upstream.dynamic_port", "x"));
        assert!(takes("envoy.network.ip", "::1"));
        assert!(!takes("envoy.network.ip", "nope"));
        assert!(Takes::of(b"envoy.tcp_proxy").is_none());
    }
}
