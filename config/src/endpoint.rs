//! Servers of a cluster: by address, or by a name that is looked up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use crate::address::Address;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::FromYaml;
use crate::schema::Shape;
use crate::source::Span;
use crate::yaml::Node;

/// `endpoints[]`: a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// IP address and port, or a Unix socket.
    Address(Address),
    /// Host name and port; in clusters that look names up.
    Name {
        /// The name.
        host: String,
        /// The port, not 0.
        port: u16,
    },
}

impl Endpoint {
    /// The host and the port, whichever kind the host is.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        match host.parse::<IpAddr>() {
            Ok(ip) => Self::Address(SocketAddr::new(ip, port).into()),
            Err(_) => Self::Name {
                host: host.to_owned(),
                port,
            },
        }
    }

    /// The port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Address(address) => address.port(),
            Self::Name { port, .. } => Some(*port),
        }
    }

    /// As it is written in a configuration.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Address(address) => address.written(),
            Self::Name { .. } => self.to_string(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromYaml for Endpoint {
    const EXPECTED: &'static str = Address::EXPECTED;

    fn placeholder() -> Self {
        Self::Address(Address::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let name = node.text().and_then(named);
        let before = problems.total();
        let endpoint = name.unwrap_or_else(|| Self::Address(Address::read(node, problems)));
        if problems.total() == before {
            check_port(&endpoint, node.span, problems);
        }
        endpoint
    }

    fn shape() -> Shape {
        Shape::Is(json!({ "type": "string", "pattern": "^(.+:[0-9]+|unix:[/@].+)$" }))
    }
}

/// `host.name:port`.
fn named(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    is_name(host).then(|| Endpoint::Name {
        host: host.to_owned(),
        port,
    })
}

/// Whether `host` could be a name: not an address, and of the characters that
/// names have.
pub(crate) fn is_name(host: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    host.contains(|c: char| c.is_ascii_alphabetic()) && host.chars().all(in_name)
}

/// Notes a port that nothing can be connected to.
pub(crate) fn check_port(endpoint: &Endpoint, span: Span, problems: &mut Problems) {
    if endpoint.port() == Some(0) {
        let message = "an endpoint needs a port other than 0";
        problems.push(Problem::new(span, message));
    }
}
