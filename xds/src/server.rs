//! [`Server`]: where a management server is, and how it is spoken to.

use std::fmt;
use std::path::PathBuf;

use crate::resource_type::ResourceType;
use crate::tls::Tls;

/// Where a management server is.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its address.
    pub address: ServerAddress,
    /// How connections to it are encrypted, if they are.
    pub tls: Option<Tls>,
    /// What it is called in requests (`:authority`). Default: the name of the TLS
    /// certificate, or else the host and port; `localhost` behind a socket file.
    pub authority: Option<String>,
}

/// The address of a management server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A name, which is looked up for each connection, or an IP address; and a port.
    Tcp {
        /// The name or the IP address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket file.
    Unix(PathBuf),
}

/// Which of a server's services is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Service {
    /// The one for all types (ADS).
    #[default]
    Aggregated,
    /// The one for a single type, as agents offer it for secrets.
    Single(ResourceType),
}

impl Service {
    /// Whether it has resources of this type.
    pub(crate) fn has(self, kind: ResourceType) -> bool {
        self == Self::Aggregated || self == Self::Single(kind)
    }
}

impl Server {
    /// A server that is spoken to in the clear.
    pub fn plain(address: ServerAddress) -> Self {
        Self {
            address,
            tls: None,
            authority: None,
        }
    }

    /// A server that is spoken to by TLS.
    pub fn encrypted(address: ServerAddress, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..Self::plain(address)
        }
    }

    /// What it is called in requests.
    pub(crate) fn authority(&self) -> String {
        if let Some(authority) = &self.authority {
            return authority.clone();
        }
        match (&self.address, &self.tls) {
            (ServerAddress::Tcp { port, .. }, Some(tls)) => format!("{}:{port}", tls.host()),
            (ServerAddress::Tcp { .. }, None) => self.address.to_string(),
            (ServerAddress::Unix(_), Some(tls)) => tls.host(),
            (ServerAddress::Unix(_), None) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_what_is_known_of_it() {
        let tcp = |host: &str| ServerAddress::Tcp {
            host: host.to_owned(),
            port: 15012,
        };
        let tls = |name| Tls::new(name, Tls::trusting_nobody()).unwrap();
        let unix = ServerAddress::Unix("/run/xds".into());
        let cases = [
            (Server::plain(tcp("istiod")), "istiod:15012"),
            (Server::plain(tcp("::1")), "[::1]:15012"),
            (Server::plain(unix.clone()), "localhost"),
            (
                Server::encrypted(tcp("10.0.0.1"), tls("istiod.svc")),
                "istiod.svc:15012",
            ),
            (
                Server::encrypted(tcp("10.0.0.1"), tls("::1")),
                "[::1]:15012",
            ),
            (Server::encrypted(unix, tls("istiod.svc")), "istiod.svc"),
        ];
        for (server, expected) in cases {
            assert_eq!(server.authority(), expected);
        }
    }
}
