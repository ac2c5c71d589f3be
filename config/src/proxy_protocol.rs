//! The PROXY protocol, by which a proxy tells the one behind it who the client is.

use std::time::Duration;

use crate::defaults::PROXY_PROTOCOL_TIMEOUT;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, words};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`proxy_protocol`",
    keys: &[("timeout", "15s")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static UPSTREAM_BLOCK: Block = Block {
    name: "`proxy_protocol` of a cluster",
    keys: &[("version", "v2")],
    not_yet: &[],
    hints: &[(
        "timeout",
        "",
        "it is a key of `proxy_protocol` of a listener",
    )],
};

/// `listeners[].proxy_protocol`: connections begin with a header of the PROXY protocol,
/// version 1 or 2; one that does not is closed. For a listener that only such proxies
/// reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// `timeout`: how long the header may take to come; 0 is without end. Default:
    /// 15s.
    pub timeout: Option<Duration>,
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self {
            timeout: Some(PROXY_PROTOCOL_TIMEOUT),
        }
    }
}

impl FromYaml for ProxyProtocol {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            timeout: fields.limit("timeout", Some(PROXY_PROTOCOL_TIMEOUT)),
        }
    }
}

/// `clusters[].proxy_protocol`: connections to the endpoints begin with a header of the
/// PROXY protocol, in clear even before TLS. It tells of the two ends of the client's
/// connection, and each of those gets connections of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamProxyProtocol {
    /// `version`: how the header is written. Default: `v1`.
    pub version: ProxyProtocolVersion,
}

/// `version`: how a header of the PROXY protocol is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// `v1`: as a line of text.
    V1,
    /// `v2`: in binary.
    V2,
}

words!(ProxyProtocolVersion, "a version of the PROXY protocol",
    "v1" => Self::V1, "v2" => Self::V2);

impl FromYaml for UpstreamProxyProtocol {
    const EXPECTED: &'static str = UPSTREAM_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            version: ProxyProtocolVersion::V1,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = UPSTREAM_BLOCK.open(node, problems);
        let version = fields.optional("version");
        Self {
            version: version.unwrap_or(ProxyProtocolVersion::V1),
        }
    }
}
