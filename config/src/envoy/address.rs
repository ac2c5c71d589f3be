//! Envoy's `core.v3.Address`.

use std::borrow::Cow;
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
    let Some(address) = no_name(parent, &parent.path_of("address"), endpoint) else {
        return (placeholder, None);
    };
    let name = address.value.unix();
    let has_file = name.is_some_and(|name| name.path().is_some());
    // Envoy gives an abstract one none either.
    (address, mode.filter(|_| has_file))
}

/// An address to ask questions at, by UDP or TCP.
pub(super) fn server(address: &Message<'_, '_>) -> Option<Spanned<SocketAddr>> {
    let Some(socket) = address.message("socket_address") else {
        // Others are reported as unknown fields.
        if !address.has_unknown() {
            address.missing("socket_address");
        }
        return None;
    };
    let endpoint = self::socket(&socket, &[("TCP", 0, ()), ("UDP", 1, ())])?;
    let server = no_name(address, address.path(), endpoint)?;
    let span = server.span;
    server.value.inet().map(|server| Spanned::new(server, span))
}

/// An address of this machine's, whose port may be 0.
pub(super) fn own(address: &Message<'_, '_>) -> Option<SocketAddr> {
    address.word("protocol", &[("TCP", 0, ())]);
    let host = address.required_text("address");
    let port = address
        .number::<u16>("port_value")
        .map_or(0, |port| port.value);
    let endpoint = Spanned::new(Endpoint::of(&host.value, port), host.span);
    no_name(address, address.path(), endpoint)?.value.inet()
}

/// Notes a name where there has to be an address.
fn no_name(
    message: &Message<'_, '_>,
    path: &str,
    endpoint: Spanned<Endpoint>,
) -> Option<Spanned<Address>> {
    match endpoint.value {
        Endpoint::Address(address) => Some(Spanned::new(address, endpoint.span)),
        Endpoint::Name { host, .. } => {
            let text = format!("{path}: `{host}` is a name, and an IP address is needed here");
            message.reader.problem(Problem::new(endpoint.span, text));
            None
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
        Some(_) => {
            let socket = address.message("socket_address")?;
            Some((self::socket(&socket, &[("TCP", 0, ())])?, None))
        }
        None => {
            // Internal addresses are reported as unknown fields.
            if !address.has_unknown() {
                address.missing("socket_address");
            }
            None
        }
    }
}

/// An address with one of these protocols.
fn socket(
    socket: &Message<'_, '_>,
    protocols: &[(&'static str, i64, ())],
) -> Option<Spanned<Endpoint>> {
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

fn pipe(pipe: &Message<'_, '_>) -> Option<(Spanned<Endpoint>, Option<FileMode>)> {
    let mode = mode(pipe);
    let path = pipe.required_text("path");
    match UnixName::new(&absolute(&path.value)) {
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

/// Envoy's names of files are relative to the working directory.
fn absolute(path: &str) -> Cow<'_, str> {
    if path.is_empty() || path.starts_with(['/', '@']) {
        return path.into();
    }
    let folder = std::env::current_dir().unwrap_or_default();
    let path = folder.join(path.strip_prefix("./").unwrap_or(path));
    path.to_string_lossy().into_owned().into()
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
