//! Who the client is: `x-forwarded-for` and its kin.

use std::net::{IpAddr, SocketAddr};

use weir_abi::HeaderMap;
use weir_config::{Address, HttpOptions};

use super::append;
use crate::stream::ConnectionInfo;

/// Who the client is, by the headers as they came: whoever is told of by the
/// proxies in front that are believed, or else the peer. Without
/// `use_remote_address`, the peer is one of them.
pub(crate) fn client(
    headers: &HeaderMap,
    options: &HttpOptions,
    connection: &ConnectionInfo,
) -> Address {
    let hops = options.xff_num_trusted_hops as usize;
    let skipped = if options.use_remote_address {
        hops.checked_sub(1)
    } else {
        Some(hops)
    };
    let told = skipped.and_then(|skipped| from_the_right(headers, skipped));
    told.map_or_else(
        || connection.peer.clone(),
        |ip| SocketAddr::new(ip, 0).into(),
    )
}

pub(super) fn prepare(headers: &mut HeaderMap, options: &HttpOptions, connection: &ConnectionInfo) {
    let hops = options.xff_num_trusted_hops as usize;
    if !options.use_remote_address {
        if !headers.contains(b"x-forwarded-proto") {
            headers.add("x-forwarded-proto", connection.scheme());
        }
        return;
    }
    let client = client(headers, options, connection).ip();
    // As in Envoy, Unix sockets leave no trace.
    if let Some(peer) = connection.peer.ip().filter(|_| !options.skip_xff_append) {
        let peer = peer.to_canonical().to_string();
        append(headers, "x-forwarded-for", &peer, ",");
    }
    // Nobody in front is trusted to say it.
    if hops == 0 || !headers.contains(b"x-forwarded-proto") {
        headers.replace("x-forwarded-proto", connection.scheme());
    }
    if let Some(port) = connection.local.port()
        && options.append_x_forwarded_port
        && (hops == 0 || !headers.contains(b"x-forwarded-port"))
    {
        headers.replace("x-forwarded-port", port.to_string());
    }
    if let Some(client) = client {
        headers.replace(
            "x-envoy-external-address",
            client.to_canonical().to_string(),
        );
    }
}

/// The address in `x-forwarded-for` that has `skipped` others to its right.
fn from_the_right(headers: &HeaderMap, skipped: usize) -> Option<IpAddr> {
    let values = headers.get_all(b"x-forwarded-for");
    let all: Vec<&[u8]> = values.flat_map(|v| v.split(|b| *b == b',')).collect();
    let place = all.len().checked_sub(skipped + 1)?;
    let text = std::str::from_utf8(all[place].trim_ascii()).ok()?;
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}
