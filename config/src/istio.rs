//! What Istio has its proxies tell: standard metrics, and to each other who they are.

mod dimension;

use std::time::Duration;

pub(crate) use self::dimension::is_label;
pub use self::dimension::{Dimension, Dimensions};
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, words};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`istio`",
    keys: &[
        ("stats", "{ reporter: destination }"),
        ("peer_metadata", "{ downstream_discovery: true }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static STATS_BLOCK: Block = Block {
    name: "`stats`",
    keys: &[
        ("reporter", "destination"),
        ("host_header_fallback", "false"),
        ("tcp_reporting_duration", "5s"),
        ("metrics", "[{ name: request_bytes, drop: true }]"),
    ],
    not_yet: &[],
    hints: &[(
        "disable_host_header_fallback",
        "host_header_fallback",
        "write `host_header_fallback: false`",
    )],
};

pub(crate) static METRIC_BLOCK: Block = Block {
    name: "a metric",
    keys: &[
        ("name", "requests_total"),
        ("drop", "true"),
        ("tags_to_remove", "[source_version]"),
        ("dimensions", "{ request_host: request.host }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static PEER_METADATA_BLOCK: Block = Block {
    name: "`peer_metadata`",
    keys: &[
        ("downstream_discovery", "true"),
        ("upstream_discovery", "true"),
        ("downstream_propagation", "true"),
        ("upstream_propagation", "true"),
        ("skip_external_clusters", "true"),
        ("additional_labels", "[role]"),
    ],
    not_yet: &[],
    hints: &[],
};

/// How often the numbers of a connection that is open are brought up to date.
pub(crate) const REPORTING_DURATION: Duration = Duration::from_secs(5);

/// `istio`: what Istio's filters do in a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Istio {
    /// `stats`: Istio's standard metrics. Default: none.
    pub stats: Option<IstioStats>,
    /// `peer_metadata`: sidecars tell each other of their workloads, in the headers
    /// `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`. Default: they do not.
    pub peer_metadata: Option<PeerMetadata>,
}

/// `stats`: Istio's standard metrics, from `istio_requests_total` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IstioStats {
    /// `reporter`: at which end of a request this proxy stands. Default: that of the
    /// listener's `direction`: `destination` for `inbound`, or else `source`.
    pub reporter: Option<IstioReporter>,
    /// `host_header_fallback`: whether the host that is asked for stands for the service
    /// where the cluster's metadata names none. Default: true.
    pub host_header_fallback: bool,
    /// `tcp_reporting_duration`: how often a connection with `tcp` that is open is
    /// counted; 0 is when it ends. Default: 5 s.
    pub tcp_reporting_duration: Option<Duration>,
    /// `metrics`: metrics that are not as they are by themselves; what comes later goes
    /// before. Default: none.
    pub metrics: Vec<MetricOverride>,
}

impl Default for IstioStats {
    fn default() -> Self {
        Self {
            reporter: None,
            host_header_fallback: true,
            tcp_reporting_duration: Some(REPORTING_DURATION),
            metrics: Vec::new(),
        }
    }
}

/// `metrics[]`: how a metric is changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricOverride {
    /// `name`: of the metric, without `istio_`. Default: all of them.
    pub name: Option<IstioMetric>,
    /// `drop`: whether it is left out. Default: false.
    pub drop: bool,
    /// `tags_to_remove`: labels that it does not get. Default: none.
    pub tags_to_remove: Vec<IstioTag>,
    /// `dimensions`: labels that it gets besides, or that have another value: a text in
    /// quotes, or an attribute such as `request.host` or `request.headers['x-team']`.
    /// Default: none.
    pub dimensions: Dimensions,
}

/// `peer_metadata`: which way sidecars tell of their workloads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerMetadata {
    /// `downstream_discovery`: whether clients tell in requests; the headers go no
    /// further. Default: false.
    pub downstream_discovery: bool,
    /// `upstream_discovery`: whether endpoints tell in responses; the headers go no
    /// further. Default: false.
    pub upstream_discovery: bool,
    /// `downstream_propagation`: whether clients are told that have told themselves.
    /// Default: false.
    pub downstream_propagation: bool,
    /// `upstream_propagation`: whether endpoints are told. Default: false.
    pub upstream_propagation: bool,
    /// `skip_external_clusters`: not those of clusters whose metadata has
    /// `istio: { external: true }`, nor of `PassthroughCluster`. Default: false.
    pub skip_external_clusters: bool,
    /// `additional_labels`: labels of the workload that are told besides its names and
    /// versions. Default: none.
    pub additional_labels: Vec<String>,
}

/// `reporter`: at which end of a request a proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IstioReporter {
    /// `source`: beside the client.
    Source,
    /// `destination`: beside the server.
    Destination,
    /// `waypoint`: between them.
    Waypoint,
}

words!(IstioReporter, "a reporter",
    "source" => Self::Source,
    "destination" => Self::Destination,
    "waypoint" => Self::Waypoint);

/// A standard metric of Istio's, without `istio_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // They are Istio's.
pub enum IstioMetric {
    Requests,
    RequestDuration,
    RequestBytes,
    ResponseBytes,
    RequestMessages,
    ResponseMessages,
    ConnectionsOpened,
    ConnectionsClosed,
    SentBytes,
    ReceivedBytes,
}

words!(IstioMetric, "a standard metric",
    "requests_total" => Self::Requests,
    "request_duration_milliseconds" => Self::RequestDuration,
    "request_bytes" => Self::RequestBytes,
    "response_bytes" => Self::ResponseBytes,
    "request_messages_total" => Self::RequestMessages,
    "response_messages_total" => Self::ResponseMessages,
    "tcp_connections_opened_total" => Self::ConnectionsOpened,
    "tcp_connections_closed_total" => Self::ConnectionsClosed,
    "tcp_sent_bytes_total" => Self::SentBytes,
    "tcp_received_bytes_total" => Self::ReceivedBytes);

impl IstioMetric {
    /// Whether it is of requests, and not of connections.
    pub fn is_of_requests(self) -> bool {
        !matches!(
            self,
            Self::ConnectionsOpened
                | Self::ConnectionsClosed
                | Self::SentBytes
                | Self::ReceivedBytes
        )
    }
}

macro_rules! tags {
    ($($tag:ident = $name:literal,)*) => {
        /// A label of Istio's standard metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // They are Istio's.
        pub enum IstioTag { $($tag),* }

        impl IstioTag {
            /// All of them, each at the place of its number.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$tag, $name)),*];
        }

        words!(IstioTag, "a label of Istio's metrics", $($name => Self::$tag),*);
    };
}

tags! {
    Reporter = "reporter",
    SourceWorkload = "source_workload",
    SourceWorkloadNamespace = "source_workload_namespace",
    SourcePrincipal = "source_principal",
    SourceApp = "source_app",
    SourceVersion = "source_version",
    SourceCanonicalService = "source_canonical_service",
    SourceCanonicalRevision = "source_canonical_revision",
    SourceCluster = "source_cluster",
    DestinationWorkload = "destination_workload",
    DestinationWorkloadNamespace = "destination_workload_namespace",
    DestinationPrincipal = "destination_principal",
    DestinationApp = "destination_app",
    DestinationVersion = "destination_version",
    DestinationService = "destination_service",
    DestinationServiceName = "destination_service_name",
    DestinationServiceNamespace = "destination_service_namespace",
    DestinationCanonicalService = "destination_canonical_service",
    DestinationCanonicalRevision = "destination_canonical_revision",
    DestinationCluster = "destination_cluster",
    RequestProtocol = "request_protocol",
    ResponseCode = "response_code",
    GrpcResponseStatus = "grpc_response_status",
    ResponseFlags = "response_flags",
    ConnectionSecurityPolicy = "connection_security_policy",
}

impl FromYaml for Istio {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            stats: fields.optional("stats"),
            peer_metadata: fields.optional("peer_metadata"),
        }
    }
}

impl FromYaml for IstioStats {
    const EXPECTED: &'static str = STATS_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = STATS_BLOCK.open(node, problems);
        Self {
            reporter: fields.optional("reporter"),
            host_header_fallback: fields.optional("host_header_fallback").unwrap_or(true),
            tcp_reporting_duration: fields
                .limit("tcp_reporting_duration", Some(REPORTING_DURATION)),
            metrics: fields.optional("metrics").unwrap_or_default(),
        }
    }
}

impl FromYaml for MetricOverride {
    const EXPECTED: &'static str = METRIC_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = METRIC_BLOCK.open(node, problems);
        let metric = Self {
            name: fields.optional("name"),
            drop: fields.optional("drop").unwrap_or(false),
            tags_to_remove: fields.optional("tags_to_remove").unwrap_or_default(),
            dimensions: fields.optional("dimensions").unwrap_or_default(),
        };
        let changes = !metric.tags_to_remove.is_empty() || !metric.dimensions.0.is_empty();
        if metric.drop && changes {
            let message = "a metric that is left out has no labels";
            let problem = Problem::new(fields.key_span("drop"), message);
            fields.problems.push(problem);
        }
        metric
    }
}

impl FromYaml for PeerMetadata {
    const EXPECTED: &'static str = PEER_METADATA_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = PEER_METADATA_BLOCK.open(node, problems);
        let mut flag = |key| fields.optional(key).unwrap_or(false);
        Self {
            downstream_discovery: flag("downstream_discovery"),
            upstream_discovery: flag("upstream_discovery"),
            downstream_propagation: flag("downstream_propagation"),
            upstream_propagation: flag("upstream_propagation"),
            skip_external_clusters: flag("skip_external_clusters"),
            additional_labels: fields.optional("additional_labels").unwrap_or_default(),
        }
    }
}
