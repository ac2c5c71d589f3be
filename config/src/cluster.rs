//! Where requests go.

mod bind;
mod circuit_breakers;
mod dns_resolver;
mod endpoint;
mod health_check;
mod keepalive;
mod load_balancing;
mod numbers;
mod original_dst;
mod outlier_detection;

pub use bind::Bind;
pub use circuit_breakers::CircuitBreakers;
pub use dns_resolver::DnsResolver;
pub use endpoint::ClusterEndpoint;
pub use health_check::{
    GrpcHealthCheck, HealthCheck, HealthCheckKind, HealthCheckMethod, HttpHealthCheck, Statuses,
    TcpHealthCheck,
};
pub use keepalive::{ConnectionKeepalive, TcpKeepalive};
pub use load_balancing::{LbPolicy, LeastRequest, Maglev, RingHash, SlowStart};
pub use original_dst::OriginalDst;
pub use outlier_detection::OutlierDetection;

pub(crate) use bind::BLOCK as BIND_BLOCK;
pub(crate) use circuit_breakers::BLOCK as CIRCUIT_BREAKERS_BLOCK;
pub(crate) use dns_resolver::{BLOCK as DNS_RESOLVER_BLOCK, check_port as check_resolver_port};
pub(crate) use endpoint::{BLOCK as ENDPOINT_BLOCK, PRIORITY_MAX, check_health_check_port};
pub(crate) use health_check::{
    BLOCK as HEALTH_CHECK_BLOCK, GRPC_BLOCK as GRPC_CHECK_BLOCK, HTTP_BLOCK as HTTP_CHECK_BLOCK,
    PAYLOAD_BLOCK, STATUSES_BLOCK, TCP_BLOCK as TCP_CHECK_BLOCK, bytes_of_hexadecimal,
};
pub(crate) use keepalive::{
    CONNECTION_BLOCK as CONNECTION_KEEPALIVE_BLOCK, TCP_BLOCK as TCP_KEEPALIVE_BLOCK,
};
pub(crate) use load_balancing::{
    LEAST_REQUEST_BLOCK, MAGLEV_BLOCK, RING_HASH_BLOCK, SLOW_START_BLOCK,
};
pub(crate) use original_dst::BLOCK as ORIGINAL_DST_BLOCK;
pub(crate) use outlier_detection::BLOCK as OUTLIER_DETECTION_BLOCK;

use std::time::Duration;

use crate::defaults::{
    BUFFER_LIMIT, CONNECT_TIMEOUT, DNS_REFRESH_RATE, HEALTHY_PANIC_THRESHOLD,
    OVERPROVISIONING_FACTOR, UPSTREAM_IDLE_TIMEOUT,
};
use crate::endpoint::Endpoint;
use crate::error::Problem;
use crate::failure::Backoff;
use crate::http2_options::Http2Options;
use crate::metadata::Metadata;
use crate::problems::Problems;
use crate::proxy_protocol::UpstreamProxyProtocol;
use crate::read::{Block, Fields, FromYaml, Word, words};
use crate::retry_budget::RetryBudget;
use crate::source::{Span, Spanned};
use crate::tls::{TlsMatch, UpstreamTls, Verification};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a cluster",
    keys: &[
        ("name", "web"),
        ("type", "strict_dns"),
        ("endpoints", "[127.0.0.1:9000]"),
        ("original_dst", "{}"),
        ("lb_policy", "least_request"),
        ("least_request", "{ choice_count: 3 }"),
        ("ring_hash", "{ minimum_ring_size: 1024 }"),
        ("maglev", "{ table_size: 65537 }"),
        ("slow_start", "{ window: 30s }"),
        ("healthy_panic_threshold", "50"),
        ("fail_traffic_on_panic", "true"),
        ("overprovisioning_factor", "140"),
        (
            "health_checks",
            "[{ http: { path: /healthz }, timeout: 1s, interval: 5s, unhealthy_threshold: 3, \
             healthy_threshold: 2 }]",
        ),
        ("outlier_detection", "{ consecutive_5xx: 3 }"),
        ("circuit_breakers", "{ max_requests: 100 }"),
        ("connect_timeout", "5s"),
        ("protocol", "http2"),
        ("tls", "{ ca: authorities.pem }"),
        (
            "tls_matches",
            "[{ name: mesh, match: { tlsMode: istio }, tls: { ca: authorities.pem } }]",
        ),
        ("proxy_protocol", "{ version: v2 }"),
        ("http2", "{ max_concurrent_streams: 100 }"),
        ("trailers", "true"),
        ("buffer_limit", "1MiB"),
        ("idle_timeout", "1m"),
        ("max_requests_per_connection", "100"),
        ("bind", "{ addresses: [127.0.0.6] }"),
        ("tcp_keepalive", "{ keepalive_time: 60s }"),
        ("connection_keepalive", "{ interval: 30s, timeout: 5s }"),
        ("dns_refresh_rate", "5s"),
        ("dns_failure_refresh_rate", "{ base_interval: 1s }"),
        ("dns_jitter", "1s"),
        ("dns_lookup_family", "v4_only"),
        ("respect_dns_ttl", "true"),
        ("dns_min_refresh_rate", "5s"),
        ("dns_resolver", "{ resolvers: [10.0.0.2:53] }"),
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
    /// `endpoints`: addresses, or names if `type` says so; at least one. Required,
    /// unless there is `original_dst`.
    pub endpoints: Vec<ClusterEndpoint>,
    /// `original_dst`: in place of `endpoints`, whether each connection goes to where
    /// the client's was going. Default: no.
    pub original_dst: Option<OriginalDst>,
    /// In place of `endpoints`: the name by which they come from a management server. Only
    /// clusters that come from there themselves have one.
    pub service_name: Option<String>,
    /// `lb_policy`: how endpoints take turns. Default: `round_robin`.
    pub lb_policy: LbPolicy,
    /// `least_request`: how that policy compares.
    pub least_request: LeastRequest,
    /// `ring_hash`: how large its ring is.
    pub ring_hash: RingHash,
    /// `maglev`: how large its table is.
    pub maglev: Maglev,
    /// `slow_start`: whether endpoints that are new get fewer requests at first.
    /// Default: no.
    pub slow_start: Option<SlowStart>,
    /// `healthy_panic_threshold`: if fewer of a priority's endpoints than this part
    /// of 100 are healthy, all are used; 0 never uses one that is not. Default: 50.
    pub healthy_panic_threshold: u32,
    /// `fail_traffic_on_panic`: whether none is used then. Default: false.
    pub fail_traffic_on_panic: bool,
    /// `overprovisioning_factor`: a priority takes all requests as long as its
    /// healthy part, times this in hundredths, is all of it; at least 1. Default:
    /// 140.
    pub overprovisioning_factor: u32,
    /// `health_checks`: what is asked of endpoints now and then; at most one.
    /// Default: none.
    pub health_checks: Vec<HealthCheck>,
    /// `outlier_detection`: whether endpoints that fail are left out for a while.
    /// Default: no.
    pub outlier_detection: Option<OutlierDetection>,
    /// `circuit_breakers`: how much may be under way.
    pub circuit_breakers: CircuitBreakers,
    /// `connect_timeout`: for a connection to be established; more than 0.
    /// Default: 5s.
    pub connect_timeout: Duration,
    /// `protocol`: what the endpoints speak. Default: `http1`.
    pub protocol: UpstreamProtocol,
    /// `tls`: connections are encrypted. Default: they are not.
    pub tls: Option<UpstreamTls>,
    /// `tls_matches`: endpoints that are spoken to in another way. Default: none.
    pub tls_matches: Vec<TlsMatch>,
    /// `proxy_protocol`: connections begin with a header that tells who the client is.
    /// Default: they do not.
    pub proxy_protocol: Option<UpstreamProxyProtocol>,
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
    /// `bind`: from where connections are made. Default: as the system chooses.
    pub bind: Bind,
    /// `tcp_keepalive`: whether the system sends probes on connections that are
    /// idle. Default: no.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `connection_keepalive`: whether HTTP/2 connections are asked for a sign of
    /// life. Default: no.
    pub connection_keepalive: Option<ConnectionKeepalive>,
    /// `dns_refresh_rate`: how long after one look-up of a name the next follows;
    /// more than 0. Default: 5s.
    pub dns_refresh_rate: Duration,
    /// `dns_failure_refresh_rate`: how long after one that has failed.
    /// Default: `dns_refresh_rate`.
    pub dns_failure_refresh_rate: Option<Backoff>,
    /// `dns_jitter`: up to so much is added to each pause after a look-up that has
    /// not failed, at random. Default: 0.
    pub dns_jitter: Duration,
    /// `dns_lookup_family`: which addresses of a name count. Default: `auto`.
    pub dns_lookup_family: DnsLookupFamily,
    /// `respect_dns_ttl`: whether a name is looked up again when the answer ends, in
    /// place of `dns_refresh_rate`. Default: false.
    pub respect_dns_ttl: bool,
    /// `dns_min_refresh_rate`: how long an answer holds at least. Default: 0.
    pub dns_min_refresh_rate: Duration,
    /// `dns_resolver`: whom names are asked of. Default: as the system has it.
    pub dns_resolver: DnsResolver,
    /// `retry_budget`: how many retries there may be at once. Default: as
    /// `circuit_breakers` says.
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
    /// `http2`: HTTP/2; with `tls`, it is what is offered.
    Http2,
    /// `downstream`: what the client speaks, for each request; HTTP/1.1 for those of
    /// Weir itself.
    Downstream,
}

words!(UpstreamProtocol, "a protocol",
    "http1" => Self::Http1, "http2" => Self::Http2, "downstream" => Self::Downstream);

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
            original_dst: None,
            service_name: None,
            lb_policy: LbPolicy::RoundRobin,
            least_request: LeastRequest::default(),
            ring_hash: RingHash::default(),
            maglev: Maglev::default(),
            slow_start: None,
            healthy_panic_threshold: HEALTHY_PANIC_THRESHOLD,
            fail_traffic_on_panic: false,
            overprovisioning_factor: OVERPROVISIONING_FACTOR,
            health_checks: Vec::new(),
            outlier_detection: None,
            circuit_breakers: CircuitBreakers::default(),
            connect_timeout: CONNECT_TIMEOUT,
            protocol: UpstreamProtocol::Http1,
            tls: None,
            tls_matches: Vec::new(),
            proxy_protocol: None,
            http2: Http2Options::default(),
            trailers: true,
            buffer_limit: BUFFER_LIMIT,
            idle_timeout: Some(UPSTREAM_IDLE_TIMEOUT),
            max_requests_per_connection: None,
            bind: Bind::default(),
            tcp_keepalive: None,
            connection_keepalive: None,
            dns_refresh_rate: DNS_REFRESH_RATE,
            dns_failure_refresh_rate: None,
            dns_jitter: Duration::ZERO,
            dns_lookup_family: DnsLookupFamily::Auto,
            respect_dns_ttl: false,
            dns_min_refresh_rate: Duration::ZERO,
            dns_resolver: DnsResolver::default(),
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
        fields.one_of(&["endpoints", "original_dst"]);
        let endpoints: Spanned<Vec<ClusterEndpoint>> = match fields.node("original_dst") {
            Some(_) => Spanned::new(
                fields.optional("endpoints").unwrap_or_default(),
                fields.at(),
            ),
            None => fields.required("endpoints"),
        };
        if fields.node("endpoints").is_some_and(Node::is_empty_list) {
            let problem = Problem::new(endpoints.span, "a cluster needs at least one endpoint");
            let help = "for example `endpoints: [127.0.0.1:9000]`";
            fields.problems.push(problem.help(help));
        }
        let other = Self::named(name);
        let cluster = Self {
            discovery: fields.optional("type").unwrap_or(other.discovery),
            endpoints: endpoints.value,
            original_dst: fields.optional("original_dst"),
            service_name: None,
            lb_policy: fields.optional("lb_policy").unwrap_or(other.lb_policy),
            least_request: fields.optional("least_request").unwrap_or_default(),
            ring_hash: fields.optional("ring_hash").unwrap_or_default(),
            maglev: fields.optional("maglev").unwrap_or_default(),
            slow_start: fields.optional("slow_start"),
            healthy_panic_threshold: fields
                .percent("healthy_panic_threshold", other.healthy_panic_threshold),
            fail_traffic_on_panic: fields.optional("fail_traffic_on_panic").unwrap_or(false),
            overprovisioning_factor: fields.number_from(
                "overprovisioning_factor",
                1,
                other.overprovisioning_factor,
            ),
            health_checks: fields.optional("health_checks").unwrap_or_default(),
            outlier_detection: fields.optional("outlier_detection"),
            circuit_breakers: fields.optional("circuit_breakers").unwrap_or_default(),
            connect_timeout: fields.positive("connect_timeout", other.connect_timeout),
            protocol: fields.optional("protocol").unwrap_or(other.protocol),
            tls: fields.optional("tls"),
            tls_matches: fields.optional("tls_matches").unwrap_or_default(),
            proxy_protocol: fields.optional("proxy_protocol"),
            http2: fields.optional("http2").unwrap_or_default(),
            trailers: fields.optional("trailers").unwrap_or(other.trailers),
            buffer_limit: fields.bytes("buffer_limit", other.buffer_limit),
            idle_timeout: fields.limit("idle_timeout", other.idle_timeout),
            max_requests_per_connection: fields
                .optional("max_requests_per_connection")
                .filter(|max| *max > 0),
            bind: fields.optional("bind").unwrap_or_default(),
            tcp_keepalive: fields.optional("tcp_keepalive"),
            connection_keepalive: fields.optional("connection_keepalive"),
            dns_refresh_rate: fields.positive("dns_refresh_rate", other.dns_refresh_rate),
            dns_failure_refresh_rate: fields.optional("dns_failure_refresh_rate"),
            dns_jitter: fields.optional("dns_jitter").unwrap_or_default(),
            dns_lookup_family: fields
                .optional("dns_lookup_family")
                .unwrap_or(other.dns_lookup_family),
            respect_dns_ttl: fields.optional("respect_dns_ttl").unwrap_or(false),
            dns_min_refresh_rate: fields.optional("dns_min_refresh_rate").unwrap_or_default(),
            dns_resolver: fields.optional("dns_resolver").unwrap_or_default(),
            retry_budget: fields.optional("retry_budget"),
            metadata: fields.optional("metadata").unwrap_or_default(),
            name: other.name,
        };
        check_endpoints(&cluster, endpoints.span, fields.problems);
        check_options(&cluster, &mut fields);
        cluster
    }
}

/// Notes endpoints that do not go with the type of their cluster.
pub(crate) fn check_endpoints(cluster: &Cluster, at: Span, problems: &mut Problems) {
    match cluster.discovery {
        Discovery::Static => {
            for endpoint in &cluster.endpoints {
                if let Endpoint::Name { host, .. } = &endpoint.address.value {
                    let message = format!("`{host}` is a name, and this cluster takes addresses");
                    let help = "set the cluster's type to `strict_dns` to have names looked up";
                    problems.push(Problem::new(endpoint.address.span, message).help(help));
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
    check_names(cluster, problems);
    // A priority that nobody has would never be passed on to.
    let has = |priority: u32| cluster.endpoints.iter().any(|e| e.priority == priority);
    let highest = cluster.endpoints.iter().map(|e| e.priority).max();
    if let Some(gap) = (0..=highest.unwrap_or(0).min(PRIORITY_MAX)).find(|p| !has(*p))
        && !cluster.endpoints.is_empty()
    {
        let message = format!("no endpoint of the cluster has the priority {gap}");
        let help = "priorities are 0 and so on, with none left out";
        problems.push(Problem::new(at, message).help(help));
    }
}

/// Keys that say what to do with endpoints that are known before they are needed.
const OF_ENDPOINTS: [&str; 5] = [
    "type",
    "lb_policy",
    "slow_start",
    "health_checks",
    "outlier_detection",
];

/// Notes endpoints whose certificate would have to be for a name that they do not have.
fn check_names(cluster: &Cluster, problems: &mut Problems) {
    let wants_name = |tls: &UpstreamTls| {
        tls.verify == Verification::Full
            && tls.sni.as_ref().is_none_or(|sni| sni.is_empty())
            && tls.match_subject_alt_names.is_empty()
    };
    let matches = cluster.tls_matches.iter();
    let mut all = matches.filter_map(|m| m.tls.as_ref()).chain(&cluster.tls);
    if !all.any(wants_name) {
        return;
    }
    let is_unix = |e: &&ClusterEndpoint| e.address.port().is_none();
    for endpoint in cluster.endpoints.iter().filter(is_unix) {
        let message = "a Unix socket has no name for a certificate to be for";
        let help = "say in `tls` which it is: `sni: web.example.com`";
        problems.push(Problem::new(endpoint.address.span, message).help(help));
    }
}

/// Notes keys that have no effect, or clash.
fn check_options(cluster: &Cluster, fields: &mut Fields<'_, '_>) {
    let policy = cluster.lb_policy;
    let keys = [
        ("least_request", LbPolicy::LeastRequest),
        ("ring_hash", LbPolicy::RingHash),
        ("maglev", LbPolicy::Maglev),
    ];
    let mut problems = Vec::new();
    for key in OF_ENDPOINTS {
        if cluster.original_dst.is_some() && fields.node(key).is_some() {
            let message = format!("`{key}` has no effect beside `original_dst`");
            problems.push(Problem::new(fields.key_span(key), message));
        }
    }
    for (key, of) in keys {
        if fields.node(key).is_some() && policy != of {
            let message = format!("`{key}` has no effect without `lb_policy: {key}`");
            problems.push(Problem::new(fields.key_span(key), message));
        }
    }
    let by_turns = matches!(policy, LbPolicy::RoundRobin | LbPolicy::LeastRequest);
    if fields.node("slow_start").is_some() && !by_turns {
        let message = format!("`slow_start` has no effect with `{}`", policy.word());
        let help = "it is for `round_robin` and `least_request`";
        problems.push(Problem::new(fields.key_span("slow_start"), message).help(help));
    }
    if cluster.health_checks.len() > 1 {
        let message = "a cluster has one health check at most";
        problems.push(Problem::new(fields.key_span("health_checks"), message));
    }
    if fields.node("connection_keepalive").is_some() && cluster.protocol == UpstreamProtocol::Http1
    {
        let message = "`connection_keepalive` has no effect without `protocol: http2`";
        let problem = Problem::new(fields.key_span("connection_keepalive"), message);
        problems.push(problem.help("with HTTP/1, there is `tcp_keepalive`"));
    }
    if fields.node("dns_min_refresh_rate").is_some() && !cluster.respect_dns_ttl {
        let message = "`dns_min_refresh_rate` has no effect without `respect_dns_ttl`";
        problems.push(Problem::new(
            fields.key_span("dns_min_refresh_rate"),
            message,
        ));
    }
    for problem in problems {
        fields.problems.push(problem);
    }
}
