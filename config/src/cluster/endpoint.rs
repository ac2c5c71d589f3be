//! An endpoint of a cluster, and how it stands to the others.

use std::fmt;

use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::schema::Shape;
use crate::source::{Span, Spanned};
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "an endpoint",
    keys: &[
        ("address", "127.0.0.1:9000"),
        ("weight", "3"),
        ("priority", "1"),
        ("health_check_port", "8081"),
        ("metadata", "{ my.filter: { key: value } }"),
    ],
    not_yet: &[],
    hints: &[
        (
            "load_balancing_weight",
            "",
            "it is `weight` here: `{ address: 127.0.0.1:9000, weight: 3 }`",
        ),
        (
            "health_check_config",
            "",
            "write `health_check_port: 8081` in the endpoint",
        ),
    ],
};

/// The highest priority, which is the least wanted: as in Envoy.
pub(crate) const PRIORITY_MAX: u32 = 128;

/// `endpoints[]`: a server, by its address alone or with more about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEndpoint {
    /// `address`: IP address and port, a name and a port, or a Unix socket. Required.
    pub address: Spanned<Endpoint>,
    /// `weight`: its part of the requests of its priority, against that of the
    /// others; at least 1. Default: 1.
    pub weight: u32,
    /// `priority`: 0 comes first; endpoints of others are used as far as those
    /// before are not healthy. At most 128, none left out. Default: 0.
    pub priority: u32,
    /// `health_check_port`: where active health checks go. Default: that of the
    /// address.
    pub health_check_port: Option<u16>,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
}

impl ClusterEndpoint {
    /// One like any other.
    pub(crate) fn at(address: Spanned<Endpoint>) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            health_check_port: None,
            metadata: Metadata::default(),
        }
    }
}

/// Notes a port that an endpoint cannot have.
pub(crate) fn check_health_check_port(endpoint: &Endpoint, at: Span, problems: &mut Problems) {
    if endpoint.port().is_none() {
        let message = "a Unix socket has no other port for health checks";
        problems.push(Problem::new(at, message));
    }
}

impl fmt::Display for ClusterEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.value.fmt(f)
    }
}

impl FromYaml for ClusterEndpoint {
    const EXPECTED: &'static str = Endpoint::EXPECTED;

    fn placeholder() -> Self {
        Self::at(Spanned::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        if !matches!(node.value, Value::Mapping(_)) {
            return Self::at(Spanned::read(node, problems));
        }
        let mut fields = BLOCK.open(node, problems);
        let weight = fields.valid::<u32>("weight");
        if let Some(weight) = weight.filter(|weight| weight.value == 0) {
            let problem = Problem::new(weight.span, "a weight is at least 1");
            let help = "leave the endpoint out to have no requests sent to it";
            fields.problems.push(problem.help(help));
        }
        let priority = fields.valid::<u32>("priority");
        if let Some(priority) = priority.filter(|priority| priority.value > PRIORITY_MAX) {
            let message = format!("priorities go from 0 to {PRIORITY_MAX}");
            fields.problems.push(Problem::new(priority.span, message));
        }
        let port = fields.valid::<u16>("health_check_port");
        if let Some(port) = port.filter(|port| port.value == 0) {
            let message = "a health check needs a port other than 0";
            fields.problems.push(Problem::new(port.span, message));
        }
        let address: Spanned<Endpoint> = fields.required("address");
        if port.is_some() {
            let at = fields.key_span("health_check_port");
            check_health_check_port(&address, at, fields.problems);
        }
        Self {
            address,
            weight: weight.map_or(1, |weight| weight.value.max(1)),
            priority: priority.map_or(0, |priority| priority.value),
            health_check_port: port.map(|port| port.value),
            metadata: fields.optional("metadata").unwrap_or_default(),
        }
    }

    fn shape() -> Shape {
        let block = Shape::Block(|node, problems| {
            Self::read(node, problems);
        });
        Shape::Any(vec![Endpoint::shape(), block])
    }
}
