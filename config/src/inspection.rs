//! What is found out about a connection before anything is read from it.

use std::time::Duration;

use crate::defaults::INSPECTION_TIMEOUT;
use crate::port_range::PortRange;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`inspect`",
    keys: &[
        ("tls", "true"),
        ("http", "true"),
        ("tls_except_ports", "[3306, 30000-32767]"),
        ("http_except_ports", "[3306, 30000-32767]"),
        ("timeout", "15s"),
        ("continue_on_timeout", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `listeners[].inspect`: what is found out about a connection before its filter chain is
/// chosen. A connection on which the server speaks first has nothing to be found, and
/// waits for `timeout`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// `tls`: whether it begins with a handshake of TLS, for which name, and for which
    /// protocols; for `match`, access logs and filters. Default: if a `match` needs it.
    pub tls: Option<bool>,
    /// `http`: which version of HTTP plain text begins with. Default: if a `match`
    /// needs it.
    pub http: Option<bool>,
    /// `tls_except_ports`: connections for these ports are not looked at for TLS: of a
    /// server that speaks first. Default: none.
    pub tls_except_ports: Vec<PortRange>,
    /// `http_except_ports`: nor these for HTTP. Default: none.
    pub http_except_ports: Vec<PortRange>,
    /// `timeout`: how long the client may take until all of it is known; 0 is without
    /// end. Default: 15s.
    pub timeout: Option<Duration>,
    /// `continue_on_timeout`: whether a connection of which not all is known by then is
    /// served by what is, rather than closed. Default: false.
    pub continue_on_timeout: bool,
}

impl Default for Inspection {
    fn default() -> Self {
        Self {
            tls: None,
            http: None,
            tls_except_ports: Vec::new(),
            http_except_ports: Vec::new(),
            timeout: Some(INSPECTION_TIMEOUT),
            continue_on_timeout: false,
        }
    }
}

impl FromYaml for Inspection {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            tls: fields.optional("tls"),
            http: fields.optional("http"),
            tls_except_ports: fields.optional("tls_except_ports").unwrap_or_default(),
            http_except_ports: fields.optional("http_except_ports").unwrap_or_default(),
            timeout: fields.limit("timeout", Some(INSPECTION_TIMEOUT)),
            continue_on_timeout: fields.optional("continue_on_timeout").unwrap_or(false),
        }
    }
}
