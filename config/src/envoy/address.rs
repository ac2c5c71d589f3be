//! Envoy's `core.v3.Address`.

use std::net::SocketAddr;

use super::message::Message;
use crate::address::{Address, UnixName};
use crate::endpoint::{Endpoint, is_name};
use crate::error::Problem;
use crate::file_mode::FileMode;
use crate::source::Spanned;

/// What an address can be.
const KINDS: [&str; 2] = ["socket_address", "pipe"];

/// A message's field `address`.
pub(super) fn read(parent: &Message<'_, '_>) -> Option<Spanned<Endpoint>> {
    // The mode is for who makes the socket.
    any(parent).map(|(endpoint, _)| endpoint)
}

/// The same, for an address to bind.
pub(super) fn bound(parent: &Message<'_, '_>) -> (Spanned<Address>, Option<FileMode>) {
    let placeholder = Address::Ip(SocketAddr::from(([0, 0, 0, 0], 0)));
    let placeholder = Spanned::new(placeholder, parent.at());
    let Some((endpoint, mode)) = any(parent) else {
        return (placeholder, None);
    };
    match endpoint.value {
        Endpoint::Address(address) => {
            let has_file = address.unix().is_some_and(|name| name.path().is_some());
            // Envoy gives an abstract one none either.
            (
                Spanned::new(address, endpoint.span),
                mode.filter(|_| has_file),
            )
        }
        Endpoint::Name { host, .. } => {
            let path = parent.path_of("address");
            let message = format!("{path}: `{host}` is a name, and an IP address is needed here");
            parent.reader.problem(Problem::new(endpoint.span, message));
            (placeholder, None)
        }
    }
}

fn any(parent: &Message<'_, '_>) -> Option<(Spanned<Endpoint>, Option<FileMode>)> {
    let Some(address) = parent.message("address") else {
        parent.missing("address");
        return None;
    };
    match address.one_of(&KINDS) {
        Some("pipe") => pipe(&address.message("pipe")?),
        Some(_) => Some((socket(&address.message("socket_address")?)?, None)),
        None => {
            // Internal addresses are reported as unknown fields.
            if !address.has_unknown() {
                address.missing("socket_address");
            }
            None
        }
    }
}

fn socket(socket: &Message<'_, '_>) -> Option<Spanned<Endpoint>> {
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

fn pipe(pipe: &Message<'_, '_>) -> Option<(Spanned<Endpoint>, Option<FileMode>)> {
    let mode = mode(pipe);
    let path = pipe.required_text("path");
    match UnixName::new(&path.value) {
        Ok(name) => {
            let endpoint = Endpoint::Address(Address::Unix(name));
            Some((Spanned::new(endpoint, path.span), mode))
        }
        Err(error) => {
            if !path.is_empty() {
                let message = format!("{}: {error}", pipe.path_of("path"));
                pipe.reader.problem(Problem::new(path.span, message));
            }
            None
        }
    }
}

/// A number of which 0 stands for none; in octal if it begins with a 0, as Envoy's YAML
/// has it.
fn mode(pipe: &Message<'_, '_>) -> Option<FileMode> {
    let node = pipe.node("mode")?;
    let number = node.text().and_then(|text| match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    });
    if number == Some(0) {
        return None;
    }
    let mode = number.and_then(FileMode::of_bits);
    if mode.is_none() {
        pipe.mismatch(
            node,
            &pipe.path_of("mode"),
            "a number from 0 to 511, or 0777",
        );
    }
    mode
}
