//! How much a cluster may have under way.

use crate::defaults::RETRY_CONCURRENCY;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`circuit_breakers`",
    keys: &[
        ("max_connections", "1024"),
        ("max_pending_requests", "1024"),
        ("max_requests", "1024"),
        ("max_retries", "3"),
    ],
    not_yet: &[],
    hints: &[(
        "thresholds",
        "",
        "what stands under `thresholds` in Envoy stands here as it is: `max_requests: 100`",
    )],
};

/// `circuit_breakers`: Envoy's thresholds, of the default priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreakers {
    /// `max_connections`: connections to all endpoints; requests wait for one
    /// then. Default: 1024.
    pub max_connections: u32,
    /// `max_pending_requests`: requests that wait for a connection. Default: 1024.
    pub max_pending_requests: u32,
    /// `max_requests`: requests under way. Default: 1024.
    pub max_requests: u32,
    /// `max_retries`: requests under way that are not the first of their stream.
    /// Default: 3.
    pub max_retries: u32,
}

impl Default for CircuitBreakers {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: RETRY_CONCURRENCY,
        }
    }
}

impl FromYaml for CircuitBreakers {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let default = Self::default();
        let mut of = |key, default| fields.optional(key).unwrap_or(default);
        Self {
            max_connections: of("max_connections", default.max_connections),
            max_pending_requests: of("max_pending_requests", default.max_pending_requests),
            max_requests: of("max_requests", default.max_requests),
            max_retries: of("max_retries", default.max_retries),
        }
    }
}
