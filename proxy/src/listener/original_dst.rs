//! Where a connection was going before the system redirected it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::SockRef;
use weir_config::Address;

use crate::socket::SocketStream;

/// Where a connection was going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginalDestination {
    /// Where it has come in.
    Here,
    Elsewhere(SocketAddr),
    /// The listener itself, by another of its addresses: what connects to that comes
    /// back to it without end.
    Itself(SocketAddr),
}

/// The address that `connection` was for; `bound` is the listener's, which takes
/// connections for any address if it is `transparent`. Nobody redirects those of Unix
/// sockets.
pub(crate) fn original_dst(
    connection: &SocketStream,
    bound: &Address,
    transparent: bool,
) -> OriginalDestination {
    find(connection, bound, transparent).unwrap_or(OriginalDestination::Here)
}

fn find(
    connection: &SocketStream,
    bound: &Address,
    transparent: bool,
) -> Option<OriginalDestination> {
    let bound = canonical(bound.inet()?);
    let local = canonical(connection.local_address()?.inet()?);
    let is_for_bound = |address: SocketAddr| {
        address.port() == bound.port() && (bound.ip().is_unspecified() || address == bound)
    };
    if transparent {
        // It was not redirected.
        return Some(if is_for_bound(local) {
            OriginalDestination::Here
        } else {
            OriginalDestination::Elsewhere(local)
        });
    }
    let socket = SockRef::from(connection);
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // What was not redirected has no other address, or is for this one.
    let original = canonical(original.ok()?.as_socket()?);
    if original == local {
        return None;
    }
    // Others may listen at the same port of other machines.
    Some(if is_for_bound(original) && is_own(original.ip()) {
        OriginalDestination::Itself(original)
    } else {
        OriginalDestination::Elsewhere(original)
    })
}

/// Whether this machine has the address.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The same for sockets of either family.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
