//! The PROXY protocol, by which a proxy in front tells who the client is.

use std::time::Duration;

use crate::defaults::PROXY_PROTOCOL_TIMEOUT;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`proxy_protocol`",
    keys: &[("timeout", "15s")],
    not_yet: &[],
    hints: &[],
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
