//! The header of the PROXY protocol (versions 1 and 2), with which a proxy begins a
//! connection: who its client is, and what that has connected to.

mod read;
mod write;

use std::net::SocketAddr;

use weir_config::Address;

pub(crate) use self::read::read;
pub(crate) use self::write::header;

/// With what headers begin.
const V1_PREFIX: &[u8] = b"PROXY ";
const V2_PREFIX: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version and command, in version 2.
const V2_LOCAL: u8 = 0x20;
const V2_PROXY: u8 = 0x21;

/// Family and transport, in version 2.
const V2_TCP4: u8 = 0x11;
const V2_TCP6: u8 = 0x21;

/// The two ends of a connection to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// On whose account a connection to an endpoint is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Originator {
    /// The proxy's own.
    Proxy,
    /// A client's whose addresses are none of IP.
    Unknown,
    /// A client's.
    Client(Ends),
}

impl Originator {
    /// A client's, whose connection has these ends.
    pub(crate) fn client(client: &Address, destination: &Address) -> Self {
        match (client, destination) {
            (Address::Ip(client), Address::Ip(destination)) => Self::Client(Ends {
                client: *client,
                destination: *destination,
            }),
            _ => Self::Unknown,
        }
    }
}
