//! Where a connection was going before the system redirected it.

use std::net::SocketAddr;

use socket2::SockRef;
use weir_config::Address;

use crate::socket::SocketStream;

/// The address that `connection` was for, if that is not where it has come in: `bound`
/// is the listener's, which takes connections for any address if it is `transparent`.
/// Nobody redirects those of Unix sockets.
pub(crate) fn original_dst(
    connection: &SocketStream,
    bound: &Address,
    transparent: bool,
) -> Option<SocketAddr> {
    let bound = bound.inet()?;
    let local = canonical(connection.local_address()?.inet()?);
    if transparent {
        // What was for the listener itself would come back to it without end.
        let is_own = local.port() == bound.port()
            && (bound.ip().is_unspecified() || local == canonical(bound));
        return (!is_own).then_some(local);
    }
    let socket = SockRef::from(connection);
    let original = match local {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    // What was not redirected has no other address, or is for this one.
    let original = canonical(original.ok()?.as_socket()?);
    (original != local).then_some(original)
}

/// The same for sockets of either family.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
