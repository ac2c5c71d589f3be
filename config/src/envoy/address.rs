//! Envoy's `core.v3.Address`.

use std::net::SocketAddr;

use super::message::Message;
use crate::endpoint::{Endpoint, is_name};
use crate::error::Problem;
use crate::source::Spanned;

/// The `socket_address` of a message's field `address`.
pub(super) fn read(parent: &Message<'_, '_>) -> Option<Spanned<Endpoint>> {
    let Some(address) = parent.message("address") else {
        parent.missing("address");
        return None;
    };
    of(&address, &[("TCP", 0, ())])
}

/// The `socket_address` of an address, with one of these protocols.
fn of(
    address: &Message<'_, '_>,
    protocols: &[(&'static str, i64, ())],
) -> Option<Spanned<Endpoint>> {
    let Some(socket) = address.message("socket_address") else {
        // Pipes and internal addresses are reported as unknown fields.
        if !address.has_unknown() {
            address.missing("socket_address");
        }
        return None;
    };
    socket.word("protocol", protocols);
    socket.only("ipv4_compat", false);
    socket.refuse("named_port", "write the number as `port_value`");
    let host = socket.required_text("address");
    let port = socket.number::<u16>("port_value")?;
    let endpoint = Endpoint::of(&host.value, port.value);
    if let Endpoint::Name { host: name, .. } = &endpoint
        && !is_name(name)
    {
        let path = socket.path_of("address");
        let message = format!("{path}: `{name}` is neither an IP address nor a host name");
        socket.reader.problem(Problem::new(host.span, message));
        return None;
    }
    Some(Spanned::new(endpoint, host.span))
}

/// The same as [`read`], for an address to bind.
pub(super) fn bound(parent: &Message<'_, '_>) -> Spanned<SocketAddr> {
    let placeholder = Spanned::new(SocketAddr::from(([0, 0, 0, 0], 0)), parent.at());
    let endpoint = read(parent);
    endpoint
        .and_then(|endpoint| ip(parent, &parent.path_of("address"), endpoint))
        .unwrap_or(placeholder)
}

/// An address to ask questions at, by UDP or TCP.
pub(super) fn server(address: &Message<'_, '_>) -> Option<Spanned<SocketAddr>> {
    let endpoint = of(address, &[("TCP", 0, ()), ("UDP", 1, ())])?;
    ip(address, address.path(), endpoint)
}

/// Notes a name where there has to be an address.
fn ip(
    message: &Message<'_, '_>,
    path: &str,
    endpoint: Spanned<Endpoint>,
) -> Option<Spanned<SocketAddr>> {
    match endpoint.value {
        Endpoint::Address(address) => Some(Spanned::new(address, endpoint.span)),
        Endpoint::Name { host, .. } => {
            let text = format!("{path}: `{host}` is a name, and an IP address is needed here");
            message.reader.problem(Problem::new(endpoint.span, text));
            None
        }
    }
}
