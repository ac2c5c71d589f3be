//! Weir's configuration: one YAML file, read and checked as a whole.
//!
//! [`parse`] takes the text and gives a [`Config`] or everything that is wrong
//! with it, each error with its place in the file and, where there is one, the
//! next thing to try. It does no I/O: whether a file exists or a port is free
//! is for the proxy to find out, which then uses [`Config::error`] to point at
//! the place in the file that asked for it.
//!
//! The doc comments on the types are the reference of the file's keys.
#![forbid(unsafe_code)]

mod access_log;
mod address;
mod admin;
mod any;
mod blocks;
mod callouts;
mod capability;
mod check;
mod cidr;
mod client_cert_details;
mod cluster;
mod code;
mod compile_cache;
mod config;
pub mod defaults;
mod document;
mod endpoint;
mod environment;
pub mod envoy;
mod error;
mod failure;
mod file_mode;
mod filter_chain;
mod filter_chain_match;
mod guest_limits;
mod http2_options;
mod http_filter;
mod http_options;
mod identity;
mod inspection;
mod istio;
mod limits;
mod listener;
mod metadata;
mod modules;
mod native_filter;
mod not_yet;
mod original_src;
mod plugin;
mod port_range;
mod problems;
mod proxy_protocol;
mod rbac;
mod read;
mod redact;
mod report;
mod retry_budget;
mod rollout;
mod route;
mod schema;
mod source;
mod tcp_proxy;
mod tls;
mod tracing;
mod verify;
mod virtual_host;
mod vm;
mod write;
mod yaml;

pub use access_log::{
    AccessLog, Field, HeaderField, JsonFormat, LogFormat, LogPath, Operator, Piece, Template,
    TimePiece, TlsField, TlsOf,
};
pub use address::{Address, UnixName, UnixNameError};
pub use admin::Admin;
pub use callouts::Callouts;
pub use cidr::Cidr;
pub use client_cert_details::{ClientCertDetail, ForwardClientCert};
pub use cluster::{
    Bind, CircuitBreakers, Cluster, ClusterEndpoint, ConnectionKeepalive, Discovery,
    DnsLookupFamily, DnsResolver, GrpcHealthCheck, HealthCheck, HealthCheckKind, HealthCheckMethod,
    HttpHealthCheck, LbPolicy, LeastRequest, Maglev, OriginalDst, OutlierDetection, RingHash,
    SlowStart, Statuses, TcpHealthCheck, TcpKeepalive, UpstreamProtocol,
};
pub use code::{Code, ImageReference, ModuleUri, PullPolicy, RemoteCode, Retries, is_loopback};
pub use compile_cache::CompileCache;
pub use config::{Config, parse};
pub use document::{Document, Element, unknown_key};
pub use endpoint::Endpoint;
pub use environment::EnvironmentVariables;
pub use error::{ConfigError, ConfigErrors};
pub use failure::{Backoff, FailurePolicies, FailurePolicy, ReloadConfig};
pub use file_mode::FileMode;
pub use filter_chain::FilterChain;
pub use filter_chain_match::{FilterChainMatch, PLAIN_HTTP, SourceType, TransportProtocol};
pub use guest_limits::{
    DeadlineKind, Limits, SharedDataEviction, SharedDataLimits, SharedQueueLimits,
};
pub use http_filter::HttpFilter;
pub use http_options::{Codec, EscapedSlashes, HttpOptions, ServerHeader};
pub use http2_options::Http2Options;
pub use identity::{Locality, Node};
pub use inspection::Inspection;
pub use istio::{
    Dimension, Dimensions, Istio, IstioMetric, IstioReporter, IstioStats, IstioTag, MetricOverride,
    PeerMetadata,
};
pub use listener::{Direction, Listener};
pub use metadata::{Metadata, Struct};
pub use modules::Modules;
pub use native_filter::{Native, NativeFilter};
pub use original_src::OriginalSrc;
pub use plugin::{HeaderValues, Isolation, PluginConfig};
pub use port_range::PortRange;
pub use proxy_protocol::{ProxyProtocol, ProxyProtocolVersion, UpstreamProxyProtocol};
pub use rbac::{
    FilterStateMatch, MetadataMatch, MetadataSource, Rbac, RbacAction, RbacCondition, RbacPolicy,
    RbacRules, ValueMatch,
};
pub use read::{ByteSize, Decimal, Percent};
pub use redact::{redact, redacted};
pub use retry_budget::RetryBudget;
pub use rollout::{Canary, RollbackOn, Rollout, StickyBy};
pub use route::{
    AppendAction, Connect, CookieHash, Cors, Destination, DirectResponse, FilterSetting, Forward,
    HashPolicy, HashSource, HeaderMatch, HeaderMatcher, HeaderMutations, HeaderToAdd, HostRewrite,
    MirrorPolicy, PathMatch, PathRewrite, PathTemplate, PathTemplateError, QueryMatch,
    QueryMatcher, Redirect, RedirectCode, RedirectPath, RegexRewrite, RetryOn, RetryPolicy, Route,
    RouteAction, RouteFilter, RouteFilters, RouteMatch, StringMatch, TextMatcher, WeightedCluster,
};
pub use schema::schema;
pub use source::{Position, Source, Span, Spanned};
pub use tcp_proxy::TcpProxy;
pub use tls::{
    ClientCertificates, ListenerTls, Pem, SanMatch, SanType, TlsCertificate, TlsCipher, TlsCiphers,
    TlsMatch, TlsVersion, TlsVersions, UpstreamTls, Verification,
};
pub use tracing::{Otlp, Sampling, Tracing};
pub use verify::{Verify, VerifyKey};
pub use virtual_host::VirtualHost;
pub use vm::VmConfig;
pub use write::yaml;
