//! [`Origin`]: from where connections are made.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Protocol, Socket, Type};

/// From where a connection is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Port 0 takes any. Without an address, the system chooses one.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) whose: Whose,
    /// Of packets; 0 is none.
    pub(crate) mark: u32,
}

/// Whose an address may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This machine's.
    Own,
    /// This machine's, now or later.
    Free,
    /// Any machine's: the system takes packets for it as if it were its own.
    Anyones,
}

impl Origin {
    /// A socket from which to connect to `address`, without waiting.
    pub(super) fn socket(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        if self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        let Some(own) = self.address else {
            return Ok(socket);
        };
        match (self.whose, address) {
            (Whose::Own, _) => {}
            (Whose::Free, SocketAddr::V4(_)) => socket.set_freebind_v4(true)?,
            (Whose::Free, SocketAddr::V6(_)) => socket.set_freebind_v6(true)?,
            (Whose::Anyones, SocketAddr::V4(_)) => socket.set_ip_transparent_v4(true)?,
            (Whose::Anyones, SocketAddr::V6(_)) => socket.set_ip_transparent_v6(true)?,
        }
        if own.port() == 0 {
            // A port is chosen when it is known for which endpoint, and can be the one of
            // another connection until then.
            setsockopt(&socket.as_fd(), IpBindAddressNoPort, &true)?;
        }
        socket.bind(&own.into())?;
        Ok(socket)
    }
}
