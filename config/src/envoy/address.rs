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
    let Some(socket) = address.message("socket_address") else {
        // Pipes and internal addresses are reported as unknown fields.
        if !address.has_unknown() {
            address.missing("socket_address");
        }
        return None;
    };
    socket.word("protocol", &[("TCP", 0, ())]);
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

/// The same, for an address to bind.
pub(super) fn bound(parent: &Message<'_, '_>) -> Spanned<SocketAddr> {
    let placeholder = Spanned::new(SocketAddr::from(([0, 0, 0, 0], 0)), parent.at());
    let Some(endpoint) = read(parent) else {
        return placeholder;
    };
    match endpoint.value {
        Endpoint::Address(address) => Spanned::new(address, endpoint.span),
        Endpoint::Name { host, .. } => {
            let path = parent.path_of("address");
            let message = format!("{path}: `{host}` is a name, and an IP address is needed here");
            parent.reader.problem(Problem::new(endpoint.span, message));
            placeholder
        }
    }
}
