//! Where requests go.

use std::time::Duration;

use crate::defaults::{BUFFER_LIMIT, CONNECT_TIMEOUT, DNS_REFRESH_RATE, UPSTREAM_IDLE_TIMEOUT};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::http2_options::Http2Options;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::retry_budget::RetryBudget;
use crate::source::{Span, Spanned};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a cluster",
    keys: &[
        ("name", "web"),
        ("type", "strict_dns"),
        ("endpoints", "[127.0.0.1:9000]"),
        ("connect_timeout", "5s"),
        ("protocol", "http2"),
        ("http2", "{ max_concurrent_streams: 100 }"),
        ("trailers", "true"),
        ("buffer_limit", "1MiB"),
        ("idle_timeout", "1m"),
        ("max_requests_per_connection", "100"),
        ("dns_refresh_rate", "5s"),
        ("dns_lookup_family", "v4_only"),
        ("retry_budget", "{ budget_percent: 20% }"),
        ("metadata", "{ my.filter: { key: value } }"),
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
    /// `type`: how endpoints are found. Default: `static`.
    pub discovery: Discovery,
    /// `endpoints`: addresses, or names if `type` says so; at least one.
    /// Required.
    pub endpoints: Vec<Spanned<Endpoint>>,
    /// `connect_timeout`: for a connection to be established; more than 0.
    /// Default: 5s.
    pub connect_timeout: Duration,
    /// `protocol`: what the endpoints speak. Default: `http1`.
    pub protocol: UpstreamProtocol,
    /// `http2`: limits of HTTP/2 connections.
    pub http2: Http2Options,
    /// `trailers`: whether HTTP/1 trailers are passed on to the endpoints.
    /// Default: true; from Envoy's configuration: `enable_trailers`, false.
    pub trailers: bool,
    /// `buffer_limit`: bytes that may wait on one connection. Default: 1MiB.
    pub buffer_limit: usize,
    /// `idle_timeout`: how long a connection may wait for its next request; 0
    /// is without end. Default: 60s; from Envoy's configuration: 1h.
    pub idle_timeout: Option<Duration>,
    /// `max_requests_per_connection`: a connection is closed after so many.
    /// Default: no limit.
    pub max_requests_per_connection: Option<u32>,
    /// `dns_refresh_rate`: how often names are looked up; at least 1ms.
    /// Default: 5s.
    pub dns_refresh_rate: Duration,
    /// `dns_lookup_family`: which addresses of a name count. Default: `auto`.
    pub dns_lookup_family: DnsLookupFamily,
    /// `retry_budget`: how many retries there may be at once. Default: 3, on all workers
    /// together.
    pub retry_budget: Option<RetryBudget>,
    /// `metadata`: for filters. Default: empty.
    pub metadata: Metadata,
}

/// `type`: how the endpoints of a cluster are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// `static`: `endpoints` are addresses.
    Static,
    /// `strict_dns`: every address of every name is an endpoint.
    StrictDns,
    /// `logical_dns`: there is one name, and its first address is the endpoint.
    LogicalDns,
}

words!(Discovery, "a type of cluster",
    "static" => Self::Static,
    "strict_dns" => Self::StrictDns,
    "logical_dns" => Self::LogicalDns);

/// `protocol`: what the endpoints of a cluster speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// `http1`: HTTP/1.1.
    Http1,
    /// `http2`: HTTP/2 without negotiation.
    Http2,
}

words!(UpstreamProtocol, "a protocol",
    "http1" => Self::Http1, "http2" => Self::Http2);

/// `dns_lookup_family`: which addresses of a name count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsLookupFamily {
    /// `auto`: IPv6 if there is any, or else IPv4.
    Auto,
    /// `v4_only`
    V4Only,
    /// `v6_only`
    V6Only,
    /// `v4_preferred`: IPv4 if there is any, or else IPv6.
    V4Preferred,
    /// `all`: both.
    All,
}

words!(DnsLookupFamily, "a family of addresses",
    "auto" => Self::Auto,
    "v4_only" => Self::V4Only,
    "v6_only" => Self::V6Only,
    "v4_preferred" => Self::V4Preferred,
    "all" => Self::All);

impl Cluster {
    /// A cluster for which everything that has a default has it.
    pub(crate) fn named(name: Spanned<String>) -> Self {
        Self {
            name,
            discovery: Discovery::Static,
            endpoints: Vec::new(),
            connect_timeout: CONNECT_TIMEOUT,
            protocol: UpstreamProtocol::Http1,
            http2: Http2Options::default(),
            trailers: true,
            buffer_limit: BUFFER_LIMIT,
            idle_timeout: Some(UPSTREAM_IDLE_TIMEOUT),
            max_requests_per_connection: None,
            dns_refresh_rate: DNS_REFRESH_RATE,
            dns_lookup_family: DnsLookupFamily::Auto,
            retry_budget: None,
            metadata: Metadata::default(),
        }
    }
}

impl FromYaml for Cluster {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::named(Spanned::placeholder())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let name = fields.required_text("name");
        let endpoints: Spanned<Vec<Spanned<Endpoint>>> = fields.required("endpoints");
        if fields.node("endpoints").is_some_and(Node::is_empty_list) {
            let problem = Problem::new(endpoints.span, "a cluster needs at least one endpoint");
            let help = "for example `endpoints: [127.0.0.1:9000]`";
            fields.problems.push(problem.help(help));
        }
        let other = Self::named(name);
        let cluster = Self {
            discovery: fields.optional("type").unwrap_or(other.discovery),
            endpoints: endpoints.value,
            connect_timeout: positive(&mut fields, "connect_timeout", other.connect_timeout),
            protocol: fields.optional("protocol").unwrap_or(other.protocol),
            http2: fields.optional("http2").unwrap_or_default(),
            trailers: fields.optional("trailers").unwrap_or(other.trailers),
            buffer_limit: fields.bytes("buffer_limit", other.buffer_limit),
            idle_timeout: fields.limit("idle_timeout", other.idle_timeout),
            max_requests_per_connection: fields
                .optional("max_requests_per_connection")
                .filter(|max| *max > 0),
            dns_refresh_rate: positive(&mut fields, "dns_refresh_rate", other.dns_refresh_rate),
            dns_lookup_family: fields
                .optional("dns_lookup_family")
                .unwrap_or(other.dns_lookup_family),
            retry_budget: fields.optional("retry_budget"),
            metadata: fields.optional("metadata").unwrap_or_default(),
            name: other.name,
        };
        check_endpoints(&cluster, endpoints.span, fields.problems);
        cluster
    }
}

/// A duration of which 0 would make no sense: no connection would ever succeed.
fn positive(fields: &mut Fields<'_, '_>, key: &str, default: Duration) -> Duration {
    let Some(duration) = fields.valid::<Duration>(key) else {
        return default;
    };
    if duration.is_zero() {
        let problem = Problem::new(duration.span, format!("`{key}` must be more than 0"));
        fields.problems.push(problem);
    }
    duration.value
}

/// Notes endpoints that do not go with the type of their cluster.
pub(crate) fn check_endpoints(cluster: &Cluster, at: Span, problems: &mut Problems) {
    match cluster.discovery {
        Discovery::Static => {
            for endpoint in &cluster.endpoints {
                if let Endpoint::Name { host, .. } = &endpoint.value {
                    let message = format!("`{host}` is a name, and this cluster takes addresses");
                    let help = "set the cluster's type to `strict_dns` to have names looked up";
                    problems.push(Problem::new(endpoint.span, message).help(help));
                }
            }
        }
        Discovery::LogicalDns if cluster.endpoints.len() > 1 => {
            let message = "a `logical_dns` cluster has one endpoint";
            let help = "with `strict_dns`, there can be several";
            problems.push(Problem::new(at, message).help(help));
        }
        Discovery::StrictDns | Discovery::LogicalDns => {}
    }
}
