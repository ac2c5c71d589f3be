//! Connections that are passed on as they are.

use std::time::Duration;

use crate::defaults::TCP_IDLE_TIMEOUT;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`tcp`",
    keys: &[("cluster", "database"), ("idle_timeout", "1h")],
    not_yet: &[],
    hints: &[],
};

/// `tcp`: passes the bytes of connections on to a cluster, whatever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpProxy {
    /// `cluster`: the name of one of the `clusters`. Required.
    pub cluster: Spanned<String>,
    /// `idle_timeout`: how long nothing may move; 0 waits without end.
    /// Default: 1h.
    pub idle_timeout: Option<Duration>,
}

impl FromYaml for TcpProxy {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            cluster: Spanned::placeholder(),
            idle_timeout: None,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            cluster: fields.required_text("cluster"),
            idle_timeout: fields.limit("idle_timeout", Some(TCP_IDLE_TIMEOUT)),
        }
    }
}
