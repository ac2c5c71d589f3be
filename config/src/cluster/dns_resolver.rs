//! Whom names are asked of.

use std::net::SocketAddr;
use std::time::Duration;

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::schema::Shape;
use crate::source::Span;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`dns_resolver`",
    keys: &[
        ("resolvers", "[10.0.0.2:53]"),
        ("query_timeout", "5s"),
        ("query_tries", "2"),
        ("use_tcp_for_dns_lookups", "true"),
        ("no_default_search_domain", "true"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `dns_resolver`: Envoy's `CaresDnsResolverConfig`. What is not there is as
/// `/etc/resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsResolver {
    /// `resolvers`: name servers, asked in this order. Default: those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// `query_timeout`: how long one of them has to answer a question; more than 0.
    pub query_timeout: Option<Duration>,
    /// `query_tries`: how often all of them are asked before that is a failure; at
    /// least 1.
    pub query_tries: Option<u32>,
    /// `use_tcp_for_dns_lookups`: by TCP only. Default: by UDP, and by TCP for what
    /// is too long.
    pub use_tcp_for_dns_lookups: bool,
    /// `no_default_search_domain`: names are complete as they are. Default: those
    /// with few dots are tried in the system's search domains.
    pub no_default_search_domain: bool,
}

impl FromYaml for DnsResolver {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let resolvers: Vec<Server> = fields.optional("resolvers").unwrap_or_default();
        let query_timeout = fields.positive_limit("query_timeout");
        let query_tries = fields.number_from("query_tries", 1, 0);
        Self {
            resolvers: resolvers.into_iter().map(|server| server.0).collect(),
            query_timeout,
            query_tries: (query_tries > 0).then_some(query_tries),
            use_tcp_for_dns_lookups: fields.optional("use_tcp_for_dns_lookups").unwrap_or(false),
            no_default_search_domain: fields.optional("no_default_search_domain").unwrap_or(false),
        }
    }
}

/// An address that can be asked.
struct Server(SocketAddr);

impl FromYaml for Server {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn placeholder() -> Self {
        Self(SocketAddr::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let before = problems.total();
        let address = SocketAddr::read(node, problems);
        if problems.total() == before {
            check_port(address, node.span, problems);
        }
        Self(address)
    }

    fn shape() -> Shape {
        SocketAddr::shape()
    }
}

/// Notes a port that no name server can be asked at.
pub(crate) fn check_port(resolver: SocketAddr, span: Span, problems: &mut Problems) {
    if resolver.port() == 0 {
        let problem = Problem::new(span, "a resolver needs a port other than 0");
        problems.push(problem.help("name servers are at port 53"));
    }
}
