//! Active health checks: requests of Weir's own that tell whether an endpoint is
//! there.

use std::time::Duration;

use super::UpstreamProtocol;
use crate::any::Base64;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml, words};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a health check",
    keys: &[
        ("http", "{ path: /healthz }"),
        ("tcp", "{}"),
        ("grpc", "{ service_name: my.Service }"),
        ("timeout", "1s"),
        ("interval", "5s"),
        ("initial_jitter", "1s"),
        ("interval_jitter", "1s"),
        ("interval_jitter_percent", "10"),
        ("unhealthy_threshold", "3"),
        ("healthy_threshold", "2"),
        ("reuse_connection", "false"),
        ("no_traffic_interval", "60s"),
        ("no_traffic_healthy_interval", "60s"),
        ("unhealthy_interval", "5s"),
        ("unhealthy_edge_interval", "5s"),
        ("healthy_edge_interval", "5s"),
        ("always_log_health_check_failures", "true"),
    ],
    not_yet: &[],
    hints: &[
        (
            "http_health_check",
            "http",
            "it is `http` here: `http: { path: /healthz }`",
        ),
        ("tcp_health_check", "tcp", "it is `tcp` here: `tcp: {}`"),
        ("grpc_health_check", "grpc", "it is `grpc` here: `grpc: {}`"),
    ],
};

pub(crate) static HTTP_BLOCK: Block = Block {
    name: "the health check `http`",
    keys: &[
        ("path", "/healthz"),
        ("host", "web.example"),
        ("method", "GET"),
        ("protocol", "http2"),
        ("expected_statuses", "[{ start: 200, end: 300 }]"),
        ("retriable_statuses", "[{ start: 500, end: 600 }]"),
    ],
    not_yet: &[],
    hints: &[(
        "codec_client_type",
        "",
        "it is `protocol` here: `protocol: http2`",
    )],
};

pub(crate) static STATUSES_BLOCK: Block = Block {
    name: "a range of statuses",
    keys: &[("start", "200"), ("end", "300")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static TCP_BLOCK: Block = Block {
    name: "the health check `tcp`",
    keys: &[
        ("send", "{ text: 50494e470d0a }"),
        ("receive", "[{ text: 504f4e47 }]"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static PAYLOAD_BLOCK: Block = Block {
    name: "a payload",
    keys: &[("text", "50494e47"), ("binary", "UElORw==")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static GRPC_BLOCK: Block = Block {
    name: "the health check `grpc`",
    keys: &[("service_name", "my.Service"), ("authority", "web.example")],
    not_yet: &[],
    hints: &[],
};

/// `health_checks[]`: Envoy's `HealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// `http`, `tcp` or `grpc`: one of them. Required.
    pub kind: HealthCheckKind,
    /// `timeout`: for one check; more than 0. Required.
    pub timeout: Duration,
    /// `interval`: from one check to the next; more than 0. Required.
    pub interval: Duration,
    /// `initial_jitter`: the first check waits for up to so long, at random.
    /// Default: 0.
    pub initial_jitter: Duration,
    /// `interval_jitter`: up to so much is added to each interval, at random.
    /// Default: 0.
    pub interval_jitter: Duration,
    /// `interval_jitter_percent`: the same, as a part of the interval. Default: 0.
    pub interval_jitter_percent: u32,
    /// `unhealthy_threshold`: checks in a row that fail until the endpoint counts
    /// as unhealthy; at least 1. One answer that is not as expected is enough.
    /// Required.
    pub unhealthy_threshold: u32,
    /// `healthy_threshold`: checks in a row that succeed until it counts as healthy;
    /// at least 1. The very first is enough. Required.
    pub healthy_threshold: u32,
    /// `reuse_connection`: whether checks share a connection. Default: true.
    pub reuse_connection: bool,
    /// `no_traffic_interval`: in place of `interval`, as long as the cluster has
    /// had no connection. Default: 60s.
    pub no_traffic_interval: Duration,
    /// `no_traffic_healthy_interval`: the same after a check that has succeeded.
    /// Default: `no_traffic_interval`.
    pub no_traffic_healthy_interval: Option<Duration>,
    /// `unhealthy_interval`: for endpoints that are unhealthy. Default: `interval`.
    pub unhealthy_interval: Option<Duration>,
    /// `unhealthy_edge_interval`: for endpoints that are about to become unhealthy.
    /// Default: `unhealthy_interval`.
    pub unhealthy_edge_interval: Option<Duration>,
    /// `healthy_edge_interval`: for endpoints that are about to become healthy.
    /// Default: `interval`.
    pub healthy_edge_interval: Option<Duration>,
    /// `always_log_health_check_failures`: whether each failure is logged, not just
    /// each change. Default: false.
    pub always_log_health_check_failures: bool,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheckKind {
    /// `http`: a request.
    Http(HttpHealthCheck),
    /// `tcp`: a connection, and perhaps bytes.
    Tcp(TcpHealthCheck),
    /// `grpc`: a call of `grpc.health.v1.Health`.
    Grpc(GrpcHealthCheck),
}

/// `http`: Envoy's `HttpHealthCheck`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpHealthCheck {
    /// `path`: what is asked for, from `/`. Required.
    pub path: String,
    /// `host`: the authority. Default: the name of the cluster.
    pub host: String,
    /// `method`. Default: `GET`.
    pub method: HealthCheckMethod,
    /// `protocol`: what the request is made in. Default: `http1`.
    pub protocol: UpstreamProtocol,
    /// `expected_statuses`: those of healthy endpoints. Default: 200.
    pub expected_statuses: Vec<Statuses>,
    /// `retriable_statuses`: those that count against `unhealthy_threshold`; others
    /// make an endpoint unhealthy at once. Default: none.
    pub retriable_statuses: Vec<Statuses>,
}

/// `method`: of a health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthCheckMethod {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
}

words!(HealthCheckMethod, "a method of health checks",
    "GET" => Self::Get, "HEAD" => Self::Head, "POST" => Self::Post, "PUT" => Self::Put,
    "DELETE" => Self::Delete, "OPTIONS" => Self::Options, "TRACE" => Self::Trace,
    "PATCH" => Self::Patch);

impl HealthCheckMethod {
    /// As it is sent.
    pub fn name(self) -> &'static str {
        crate::read::Word::word(self)
    }
}

/// A range of statuses: Envoy's `Int64Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    /// `start`: the first, from 100. Required.
    pub start: u16,
    /// `end`: the first behind them, up to 600. Required.
    pub end: u16,
}

impl Statuses {
    /// Whether one of `ranges` has the status.
    pub fn contain(ranges: &[Self], status: u16) -> bool {
        let has = |range: &Self| (range.start..range.end).contains(&status);
        ranges.iter().any(has)
    }

    /// Notes a range in which nothing is.
    pub(crate) fn check(self, at: crate::Span, problems: &mut Problems) {
        if self.start < 100 || self.end > 600 || self.start >= self.end {
            let (start, end) = (self.start, self.end);
            let message = format!("{start} up to {end} is not a range of statuses");
            let help = "from 100 up to, but not including, 600";
            problems.push(Problem::new(at, message).help(help));
        }
    }
}

/// `tcp`: Envoy's `TcpHealthCheck`. Without bytes to send and receive, a connection
/// is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpHealthCheck {
    /// `send`: bytes that are sent. Default: none.
    pub send: Vec<u8>,
    /// `receive`: what must come, in this order, with anything in between. Default:
    /// nothing.
    pub receive: Vec<Vec<u8>>,
}

/// `grpc`: Envoy's `GrpcHealthCheck`, over HTTP/2 whatever the cluster speaks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcHealthCheck {
    /// `service_name`: what is asked for. Default: empty, the server as a whole.
    pub service_name: String,
    /// `authority`. Default: the name of the cluster.
    pub authority: String,
}

impl FromYaml for HealthCheck {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::of(HealthCheckKind::Tcp(TcpHealthCheck::default()))
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let http = fields.optional::<HttpHealthCheck>("http");
        let tcp = fields.optional::<TcpHealthCheck>("tcp");
        let grpc = fields.optional::<GrpcHealthCheck>("grpc");
        if fields.one_of(&["http", "tcp", "grpc"]).is_none() {
            fields.require("http");
        }
        let kind = match (http, grpc) {
            (Some(http), _) => HealthCheckKind::Http(http),
            (None, Some(grpc)) => HealthCheckKind::Grpc(grpc),
            (None, None) => HealthCheckKind::Tcp(tcp.unwrap_or_default()),
        };
        let other = Self::of(kind);
        Self {
            timeout: fields.required_positive("timeout"),
            interval: fields.required_positive("interval"),
            initial_jitter: fields.optional("initial_jitter").unwrap_or_default(),
            interval_jitter: fields.optional("interval_jitter").unwrap_or_default(),
            interval_jitter_percent: fields.number_from("interval_jitter_percent", 0, 0),
            unhealthy_threshold: fields.required_count("unhealthy_threshold"),
            healthy_threshold: fields.required_count("healthy_threshold"),
            reuse_connection: fields.optional("reuse_connection").unwrap_or(true),
            no_traffic_interval: fields.positive("no_traffic_interval", other.no_traffic_interval),
            no_traffic_healthy_interval: fields.positive_limit("no_traffic_healthy_interval"),
            unhealthy_interval: fields.positive_limit("unhealthy_interval"),
            unhealthy_edge_interval: fields.positive_limit("unhealthy_edge_interval"),
            healthy_edge_interval: fields.positive_limit("healthy_edge_interval"),
            always_log_health_check_failures: fields
                .optional("always_log_health_check_failures")
                .unwrap_or(false),
            kind: other.kind,
        }
    }
}

impl HealthCheck {
    /// One for which everything that has a default has it.
    pub(crate) fn of(kind: HealthCheckKind) -> Self {
        Self {
            kind,
            timeout: Duration::from_secs(1),
            interval: Duration::from_secs(1),
            initial_jitter: Duration::ZERO,
            interval_jitter: Duration::ZERO,
            interval_jitter_percent: 0,
            unhealthy_threshold: 1,
            healthy_threshold: 1,
            reuse_connection: true,
            no_traffic_interval: Duration::from_secs(60),
            no_traffic_healthy_interval: None,
            unhealthy_interval: None,
            unhealthy_edge_interval: None,
            healthy_edge_interval: None,
            always_log_health_check_failures: false,
        }
    }
}

impl HttpHealthCheck {
    /// One for which everything that has a default has it.
    pub(crate) fn of(path: String) -> Self {
        Self {
            path,
            host: String::new(),
            method: HealthCheckMethod::Get,
            protocol: UpstreamProtocol::Http1,
            expected_statuses: Vec::new(),
            retriable_statuses: Vec::new(),
        }
    }

    /// Notes a path that no request has.
    pub(crate) fn check_path(path: &Spanned<String>, problems: &mut Problems) {
        let printable = |c: char| c.is_ascii_graphic();
        let is_path = path.starts_with('/') && path.chars().all(printable);
        if !path.is_empty() && !is_path {
            let message = format!("`{}` is not a path", path.value);
            let help = "it starts with `/` and has no spaces";
            problems.push(Problem::new(path.span, message).help(help));
        }
    }
}

impl FromYaml for HttpHealthCheck {
    const EXPECTED: &'static str = HTTP_BLOCK.name;

    fn placeholder() -> Self {
        Self::of("/".to_owned())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = HTTP_BLOCK.open(node, problems);
        let path = fields.required_text("path");
        Self::check_path(&path, fields.problems);
        let other = Self::of(path.value);
        Self {
            host: fields.optional("host").unwrap_or_default(),
            method: fields.optional("method").unwrap_or(other.method),
            protocol: protocol(&mut fields).unwrap_or(other.protocol),
            expected_statuses: fields.optional("expected_statuses").unwrap_or_default(),
            retriable_statuses: fields.optional("retriable_statuses").unwrap_or_default(),
            path: other.path,
        }
    }
}

/// In what a request is made; there is no client for whose protocol it could be.
fn protocol(fields: &mut Fields<'_, '_>) -> Option<UpstreamProtocol> {
    let protocol: Spanned<UpstreamProtocol> = fields.optional("protocol")?;
    if protocol.value == UpstreamProtocol::Downstream {
        let problem = Problem::new(protocol.span, "a health check has no client");
        fields
            .problems
            .push(problem.help("it speaks `http1` or `http2`"));
    }
    Some(protocol.value)
}

impl FromYaml for Statuses {
    const EXPECTED: &'static str = STATUSES_BLOCK.name;

    fn placeholder() -> Self {
        Self {
            start: 200,
            end: 201,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = STATUSES_BLOCK.open(node, problems);
        fields.require("start");
        fields.require("end");
        let start = fields.valid::<u16>("start");
        let end = fields.valid::<u16>("end");
        let (Some(start), Some(end)) = (start, end) else {
            return Self::placeholder();
        };
        let statuses = Self {
            start: start.value,
            end: end.value,
        };
        statuses.check(start.span, fields.problems);
        statuses
    }
}

impl FromYaml for TcpHealthCheck {
    const EXPECTED: &'static str = TCP_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = TCP_BLOCK.open(node, problems);
        let send = fields.optional::<Payload>("send");
        let receive = fields.optional::<Vec<Payload>>("receive");
        Self {
            send: send.map(|payload| payload.0).unwrap_or_default(),
            receive: receive
                .unwrap_or_default()
                .into_iter()
                .map(|payload| payload.0)
                .collect(),
        }
    }
}

/// Bytes: Envoy's `HealthCheck.Payload`.
struct Payload(Vec<u8>);

impl FromYaml for Payload {
    const EXPECTED: &'static str = PAYLOAD_BLOCK.name;

    fn placeholder() -> Self {
        Self(Vec::new())
    }

    /// `text`: in hexadecimal digits. `binary`: in base64. One of them is required.
    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = PAYLOAD_BLOCK.open(node, problems);
        if fields.one_of(&["text", "binary"]).is_none() {
            fields.require("text");
        }
        let text = fields.valid::<String>("text");
        let binary = fields.optional::<Base64>("binary");
        match (text, binary) {
            (Some(text), _) => Self(hexadecimal(&text, &mut fields)),
            (None, Some(binary)) => Self(binary.0),
            (None, None) => Self::placeholder(),
        }
    }
}

fn hexadecimal(text: &Spanned<String>, fields: &mut Fields<'_, '_>) -> Vec<u8> {
    let bytes = bytes_of_hexadecimal(text);
    if bytes.is_none() {
        let message = format!("`{}` is not pairs of hexadecimal digits", text.value);
        let problem = Problem::new(text.span, message);
        let help = "`PING` is `50494e47`; or write base64 as `binary`";
        fields.problems.push(problem.help(help));
    }
    bytes.unwrap_or_default()
}

/// The bytes that pairs of hexadecimal digits stand for; `None` if it is not such
/// pairs, or none at all.
pub(crate) fn bytes_of_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let digit = |b: u8| {
        char::from(b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

impl FromYaml for GrpcHealthCheck {
    const EXPECTED: &'static str = GRPC_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = GRPC_BLOCK.open(node, problems);
        Self {
            service_name: fields.optional("service_name").unwrap_or_default(),
            authority: fields.optional("authority").unwrap_or_default(),
        }
    }
}
