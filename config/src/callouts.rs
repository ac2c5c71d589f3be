//! Requests that filters make themselves.

use crate::defaults::CALLOUT_RESPONSE_LIMIT;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`callouts`",
    keys: &[("response_limit", "16MiB"), ("envoy_headers", "true")],
    not_yet: &[],
    hints: &[],
};

/// `callouts`: HTTP and gRPC requests that filters make themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Callouts {
    /// `response_limit`: bytes of one response, or of one message of a gRPC
    /// stream. A longer one is cut off. Default: 16MiB.
    pub response_limit: usize,
    /// `envoy_headers`: whether requests carry `x-envoy-internal` and
    /// `x-envoy-expected-rq-timeout-ms`, and responses show
    /// `x-envoy-upstream-service-time`. Default: false; true in Envoy's own
    /// configuration.
    pub envoy_headers: bool,
}

impl Default for Callouts {
    fn default() -> Self {
        Self {
            response_limit: CALLOUT_RESPONSE_LIMIT,
            envoy_headers: false,
        }
    }
}

impl Callouts {
    /// As Envoy has it.
    pub(crate) fn of_envoy() -> Self {
        Self {
            envoy_headers: true,
            ..Self::default()
        }
    }
}

impl FromYaml for Callouts {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let other = Self::default();
        Self {
            response_limit: fields.bytes("response_limit", other.response_limit),
            envoy_headers: fields.optional("envoy_headers").unwrap_or(false),
        }
    }
}
