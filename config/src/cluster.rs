//! Where requests go.

use std::net::SocketAddr;
use std::time::Duration;

use crate::defaults::CONNECT_TIMEOUT;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a cluster",
    keys: &[
        ("name", "web"),
        ("endpoints", "[127.0.0.1:9000]"),
        ("connect_timeout", "5s"),
    ],
    not_yet: &[],
    hints: &[(
        "load_assignment",
        "endpoints",
        "write `endpoints: [127.0.0.1:9000]`",
    )],
};

/// `clusters[]`: servers that are as good as one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `name`: unique among clusters; what routes and callouts refer to.
    /// Required.
    pub name: Spanned<String>,
    /// `endpoints`: IP addresses and ports; at least one. Required.
    pub endpoints: Vec<Spanned<SocketAddr>>,
    /// `connect_timeout`: for a connection to be established; more than 0.
    /// Default: 5s.
    pub connect_timeout: Duration,
}

impl FromYaml for Cluster {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: FromYaml::placeholder(),
            endpoints: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let endpoints: Spanned<Vec<Spanned<Endpoint>>> = fields.required("endpoints");
        if fields.node("endpoints").is_some_and(Node::is_empty_list) {
            let problem = Problem::new(endpoints.span, "a cluster needs at least one endpoint");
            let help = "for example `endpoints: [127.0.0.1:9000]`";
            fields.problems.push(problem.help(help));
        }
        let endpoints = endpoints.value.into_iter();
        Self {
            name: fields.required_text("name"),
            endpoints: endpoints.map(|e| Spanned::new(e.value.0, e.span)).collect(),
            connect_timeout: connect_timeout(&mut fields),
        }
    }
}

/// 0 would mean that no connection ever succeeds.
fn connect_timeout(fields: &mut Fields<'_, '_>) -> Duration {
    let Some(timeout) = fields.valid::<Duration>("connect_timeout") else {
        return CONNECT_TIMEOUT;
    };
    if timeout.is_zero() {
        let problem = Problem::new(timeout.span, "`connect_timeout` must be more than 0");
        fields.problems.push(problem);
    }
    timeout.value
}

/// An address that can be connected to.
struct Endpoint(SocketAddr);

impl FromYaml for Endpoint {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn placeholder() -> Self {
        Self(SocketAddr::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let address = SocketAddr::read(node, problems);
        if address.port() == 0 && problems.total() == before {
            let message = "an endpoint needs a port other than 0";
            problems.push(Problem::new(node.span, message));
        }
        Self(address)
    }
}
