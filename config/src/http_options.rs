//! How a listener speaks HTTP: what Envoy's connection manager is told.

use std::time::Duration;

use crate::client_cert_details::{ClientCertDetail, ForwardClientCert};
use crate::http2_options::Http2Options;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, words};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`http`",
    keys: &[
        ("codec", "auto"),
        ("max_request_headers_bytes", "60KiB"),
        ("max_headers_count", "100"),
        ("stream_idle_timeout", "5m"),
        ("idle_timeout", "75s"),
        ("request_timeout", "30s"),
        ("request_headers_timeout", "10s"),
        ("delayed_close_timeout", "1s"),
        ("trailers", "true"),
        ("http10", "true"),
        ("upgrades", "[websocket]"),
        ("server_name", "weir"),
        ("server_header", "overwrite"),
        ("http2", "{ max_concurrent_streams: 100 }"),
        ("generate_request_id", "true"),
        ("preserve_external_request_id", "true"),
        ("use_remote_address", "true"),
        ("xff_num_trusted_hops", "1"),
        ("skip_xff_append", "true"),
        ("forward_client_cert_details", "sanitize_set"),
        ("set_current_client_cert_details", "[subject, uri, dns]"),
        ("normalize_path", "true"),
        ("merge_slashes", "true"),
        ("ignore_port_in_host_matching", "true"),
        ("path_with_escaped_slashes_action", "keep_unchanged"),
        ("envoy_headers", "true"),
        ("strip_envoy_headers", "true"),
        ("proxy_100_continue", "true"),
        ("append_x_forwarded_port", "true"),
        ("via", "edge"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `http`: how a listener speaks HTTP. Every time limit is off if it is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// `codec`: which HTTP versions are taken. Default: `auto`.
    pub codec: Codec,
    /// `max_request_headers_bytes`: a larger head is answered with 431.
    /// Default: 60KiB.
    pub max_request_headers_bytes: usize,
    /// `max_headers_count`: headers of one message. Default: 100.
    pub max_headers_count: usize,
    /// `stream_idle_timeout`: how long nothing may move in a stream.
    /// Default: 5m.
    pub stream_idle_timeout: Option<Duration>,
    /// `idle_timeout`: how long a connection may be without a stream.
    /// Default: 75s; from Envoy's configuration: 1h.
    pub idle_timeout: Option<Duration>,
    /// `request_timeout`: for a request to arrive as a whole. Default: off.
    pub request_timeout: Option<Duration>,
    /// `request_headers_timeout`: for its headers to arrive. Default: off.
    pub request_headers_timeout: Option<Duration>,
    /// `delayed_close_timeout`: how long a client gets to read the last
    /// response before its connection is cut. Default: 1s.
    pub delayed_close_timeout: Option<Duration>,
    /// `trailers`: whether HTTP/1 trailers are passed on. Default: true; from
    /// Envoy's configuration: `enable_trailers`, false.
    pub trailers: bool,
    /// `http10`: whether HTTP/1.0 is taken. Default: true; from Envoy's
    /// configuration: `accept_http_10`, false.
    pub http10: bool,
    /// `upgrades`: protocols that a client may upgrade to, lower case.
    /// Default: `[websocket]`; from Envoy's configuration: none.
    pub upgrades: Vec<String>,
    /// `server_name`: what responses name as their server. Default: `weir`;
    /// from Envoy's configuration: `envoy`.
    pub server_name: String,
    /// `server_header`: what happens to the endpoint's own. Default:
    /// `overwrite`.
    pub server_header: ServerHeader,
    /// `http2`: limits of HTTP/2 connections.
    pub http2: Http2Options,
    /// `generate_request_id`: whether a request without `x-request-id` gets
    /// one. Default: false; from Envoy's configuration: true.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`: whether the `x-request-id` of a client
    /// outside stays, with `use_remote_address`. Default: false.
    pub preserve_external_request_id: bool,
    /// `use_remote_address`: whether the client's address is that of its
    /// connection, which is then added to `x-forwarded-for`; or else what
    /// `x-forwarded-for` says is believed. Default: false.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`: proxies in front whose `x-forwarded-for` is
    /// believed. Default: 0.
    pub xff_num_trusted_hops: u32,
    /// `skip_xff_append`: leaves `x-forwarded-for` alone in spite of
    /// `use_remote_address`. Default: false.
    pub skip_xff_append: bool,
    /// `forward_client_cert_details`: what happens to `x-forwarded-client-cert`, with
    /// which proxies tell each other who the client is. Default: `sanitize`.
    pub forward_client_cert_details: ForwardClientCert,
    /// `set_current_client_cert_details`: what it tells of a client's certificate,
    /// besides its digest: `subject`, `uri`, `dns`. Default: nothing.
    pub set_current_client_cert_details: Vec<ClientCertDetail>,
    /// `normalize_path`: whether `.` and `..` are resolved in paths (RFC 3986)
    /// before anything sees them. Default: false.
    pub normalize_path: bool,
    /// `merge_slashes`: whether `//` becomes `/` in paths. Default: false.
    pub merge_slashes: bool,
    /// `ignore_port_in_host_matching`: whether the virtual host is found by the host of a
    /// request without its port. Default: false.
    pub ignore_port_in_host_matching: bool,
    /// `path_with_escaped_slashes_action`: what happens to `%2F` and `%5C`.
    /// Default: `keep_unchanged`.
    pub path_with_escaped_slashes_action: EscapedSlashes,
    /// `envoy_headers`: whether Envoy's own headers are added, such as
    /// `x-envoy-upstream-service-time`. Default: false; from Envoy's
    /// configuration: not the router's `suppress_envoy_headers`.
    pub envoy_headers: bool,
    /// `strip_envoy_headers`: whether headers with which Envoy is controlled, such
    /// as `x-envoy-max-retries`, are removed from requests. Default: false; from
    /// Envoy's configuration: true.
    pub strip_envoy_headers: bool,
    /// `proxy_100_continue`: whether `expect: 100-continue` is left to the
    /// endpoint to answer. Default: false.
    pub proxy_100_continue: bool,
    /// `append_x_forwarded_port`: whether the port of the listener is told to
    /// the endpoint. Default: false.
    pub append_x_forwarded_port: bool,
    /// `via`: what is added to `via`, both ways. Default: nothing.
    pub via: Option<String>,
}

/// `http.codec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// `auto`: whichever the client speaks.
    Auto,
    /// `http1`
    Http1,
    /// `http2`
    Http2,
}

words!(Codec, "a codec",
    "auto" => Self::Auto, "http1" => Self::Http1, "http2" => Self::Http2);

/// `http.server_header`: what happens to the `server` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerHeader {
    /// `overwrite`: it is replaced by `server_name`.
    Overwrite,
    /// `append_if_absent`: it stays if there is one.
    AppendIfAbsent,
    /// `pass_through`: it is as the endpoint sent it.
    PassThrough,
}

words!(ServerHeader, "a way to treat the `server` header",
    "overwrite" => Self::Overwrite,
    "append_if_absent" => Self::AppendIfAbsent,
    "pass_through" => Self::PassThrough);

/// `http.path_with_escaped_slashes_action`: Envoy's
/// `PathWithEscapedSlashesAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// `keep_unchanged`
    KeepUnchanged,
    /// `reject_request`: 400.
    RejectRequest,
    /// `unescape_and_redirect`: 307 to the path without them; gRPC requests
    /// are rejected.
    UnescapeAndRedirect,
    /// `unescape_and_forward`
    UnescapeAndForward,
}

words!(EscapedSlashes, "an action for escaped slashes",
    "keep_unchanged" => Self::KeepUnchanged,
    "reject_request" => Self::RejectRequest,
    "unescape_and_redirect" => Self::UnescapeAndRedirect,
    "unescape_and_forward" => Self::UnescapeAndForward);

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Auto,
            max_request_headers_bytes: 60 << 10,
            max_headers_count: 100,
            stream_idle_timeout: Some(Duration::from_secs(300)),
            idle_timeout: Some(Duration::from_secs(75)),
            request_timeout: None,
            request_headers_timeout: None,
            delayed_close_timeout: Some(Duration::from_secs(1)),
            trailers: true,
            http10: true,
            upgrades: vec!["websocket".to_owned()],
            server_name: "weir".to_owned(),
            server_header: ServerHeader::Overwrite,
            http2: Http2Options::default(),
            generate_request_id: false,
            preserve_external_request_id: false,
            use_remote_address: false,
            xff_num_trusted_hops: 0,
            skip_xff_append: false,
            normalize_path: false,
            merge_slashes: false,
            ignore_port_in_host_matching: false,
            path_with_escaped_slashes_action: EscapedSlashes::KeepUnchanged,
            envoy_headers: false,
            strip_envoy_headers: false,
            proxy_100_continue: false,
            append_x_forwarded_port: false,
            via: None,
            forward_client_cert_details: ForwardClientCert::Sanitize,
            set_current_client_cert_details: Vec::new(),
        }
    }
}

impl HttpOptions {
    /// What holds where Envoy's configuration is silent.
    pub(crate) fn envoy() -> Self {
        Self {
            idle_timeout: Some(Duration::from_secs(3600)),
            trailers: false,
            http10: false,
            upgrades: Vec::new(),
            server_name: "envoy".to_owned(),
            generate_request_id: true,
            envoy_headers: true,
            strip_envoy_headers: true,
            ..Self::default()
        }
    }
}

impl FromYaml for HttpOptions {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let other = Self::default();
        let upgrades = fields.optional::<Vec<String>>("upgrades");
        let lower = |names: Vec<String>| names.iter().map(|n| n.to_ascii_lowercase()).collect();
        let mut flag = |key: &str, default: bool| fields.optional(key).unwrap_or(default);
        Self {
            trailers: flag("trailers", other.trailers),
            http10: flag("http10", other.http10),
            generate_request_id: flag("generate_request_id", false),
            preserve_external_request_id: flag("preserve_external_request_id", false),
            use_remote_address: flag("use_remote_address", false),
            skip_xff_append: flag("skip_xff_append", false),
            normalize_path: flag("normalize_path", false),
            merge_slashes: flag("merge_slashes", false),
            ignore_port_in_host_matching: flag("ignore_port_in_host_matching", false),
            envoy_headers: flag("envoy_headers", false),
            strip_envoy_headers: flag("strip_envoy_headers", false),
            proxy_100_continue: flag("proxy_100_continue", false),
            append_x_forwarded_port: flag("append_x_forwarded_port", false),
            codec: fields.optional("codec").unwrap_or(other.codec),
            max_request_headers_bytes: fields
                .bytes("max_request_headers_bytes", other.max_request_headers_bytes),
            max_headers_count: fields
                .optional("max_headers_count")
                .unwrap_or(other.max_headers_count),
            stream_idle_timeout: fields.limit("stream_idle_timeout", other.stream_idle_timeout),
            idle_timeout: fields.limit("idle_timeout", other.idle_timeout),
            request_timeout: fields.limit("request_timeout", None),
            request_headers_timeout: fields.limit("request_headers_timeout", None),
            delayed_close_timeout: fields
                .limit("delayed_close_timeout", other.delayed_close_timeout),
            upgrades: upgrades.map_or(other.upgrades, lower),
            server_name: fields.optional("server_name").unwrap_or(other.server_name),
            server_header: fields
                .optional("server_header")
                .unwrap_or(other.server_header),
            http2: fields.optional("http2").unwrap_or_default(),
            xff_num_trusted_hops: fields.optional("xff_num_trusted_hops").unwrap_or_default(),
            path_with_escaped_slashes_action: fields
                .optional("path_with_escaped_slashes_action")
                .unwrap_or(other.path_with_escaped_slashes_action),
            via: fields.optional("via"),
            forward_client_cert_details: fields
                .optional("forward_client_cert_details")
                .unwrap_or(other.forward_client_cert_details),
            set_current_client_cert_details: fields
                .optional("set_current_client_cert_details")
                .unwrap_or_default(),
        }
    }
}
