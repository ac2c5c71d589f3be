//! Whether connections to endpoints are looked after while nothing moves on them.

use std::time::Duration;

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static TCP_BLOCK: Block = Block {
    name: "`tcp_keepalive`",
    keys: &[
        ("keepalive_probes", "9"),
        ("keepalive_time", "60s"),
        ("keepalive_interval", "10s"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static CONNECTION_BLOCK: Block = Block {
    name: "`connection_keepalive`",
    keys: &[("interval", "30s"), ("timeout", "5s")],
    not_yet: &[],
    hints: &[],
};

/// `tcp_keepalive`: Envoy's `TcpKeepalive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// `keepalive_probes`: how many go unanswered before the connection is given
    /// up; at least 1. Default: 9.
    pub keepalive_probes: u32,
    /// `keepalive_time`: how long nothing has moved when the first is sent, in
    /// whole seconds. Default: 2h.
    pub keepalive_time: Duration,
    /// `keepalive_interval`: from one to the next, in whole seconds. Default: 75s.
    pub keepalive_interval: Duration,
}

impl Default for TcpKeepalive {
    /// As Linux has it.
    fn default() -> Self {
        Self {
            keepalive_probes: 9,
            keepalive_time: Duration::from_secs(7200),
            keepalive_interval: Duration::from_secs(75),
        }
    }
}

impl FromYaml for TcpKeepalive {
    const EXPECTED: &'static str = TCP_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = TCP_BLOCK.open(node, problems);
        let default = Self::default();
        Self {
            keepalive_probes: fields.number_from("keepalive_probes", 1, default.keepalive_probes),
            keepalive_time: fields.whole_seconds("keepalive_time", default.keepalive_time),
            keepalive_interval: fields
                .whole_seconds("keepalive_interval", default.keepalive_interval),
        }
    }
}

/// `connection_keepalive`: Envoy's `KeepaliveSettings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionKeepalive {
    /// `interval`: from one PING to the next; more than 0. Required.
    pub interval: Duration,
    /// `timeout`: a connection on which no answer has come by then is closed; more
    /// than 0. Required.
    pub timeout: Duration,
}

impl FromYaml for ConnectionKeepalive {
    const EXPECTED: &'static str = CONNECTION_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = CONNECTION_BLOCK.open(node, problems);
        Self {
            interval: fields.required_positive("interval"),
            timeout: fields.required_positive("timeout"),
        }
    }
}
