//! Envoy's `HttpProtocolOptions`, `Http1ProtocolOptions` and
//! `Http2ProtocolOptions`, towards clients and endpoints.

use super::cluster::positive;
use super::message::Message;
use crate::cluster::{Cluster, ConnectionKeepalive, UpstreamProtocol};
use crate::error::Problem;
use crate::http_options::HttpOptions;
use crate::http2_options::{Http2Options, MAX_WINDOW, MIN_WINDOW};
use crate::read::FromYaml;

/// The key of a cluster's HTTP options, which is their type.
const UPSTREAM_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What a connection manager says of its connections.
pub(super) fn downstream(message: &Message<'_, '_>, options: &mut HttpOptions) {
    if let Some(common) = message.message("common_http_protocol_options") {
        options.idle_timeout = common.limit("idle_timeout", options.idle_timeout);
        if let Some(max) = common.number::<u32>("max_headers_count") {
            options.max_headers_count = usize::try_from(max.value).unwrap_or(usize::MAX);
        }
        common.word("headers_with_underscores_action", &[("ALLOW", 0, ())]);
    }
    if let Some(http1) = message.message("http_protocol_options") {
        options.trailers = http1.flag("enable_trailers").unwrap_or(options.trailers);
        options.http10 = http1.flag("accept_http_10").unwrap_or(options.http10);
        http1_defaults(&http1);
    }
    if let Some(http2) = message.message("http2_protocol_options") {
        options.http2 = http2_options(&http2);
    }
}

/// What a cluster says of its connections.
pub(super) fn upstream(message: &Message<'_, '_>, cluster: &mut Cluster) {
    // The older form stands in the cluster itself.
    common_upstream(message, cluster);
    explicit(message, cluster);
    let Some(extensions) = message.message("typed_extension_protocol_options") else {
        return;
    };
    let Some(typed) = extensions.typed(UPSTREAM_OPTIONS) else {
        return;
    };
    if typed.name != UPSTREAM_OPTIONS {
        let what = format!("{}: the type `{}`", typed.message.path(), typed.name);
        message.reader.outside(typed.message.at(), &what, None);
        return typed.message.close();
    }
    let options = typed.message;
    common_upstream(&options, cluster);
    let auto = "write `explicit_http_config` with the protocol that the endpoints speak";
    options.refuse("auto_config", auto);
    let kinds = [
        "explicit_http_config",
        "use_downstream_protocol_config",
        "auto_config",
    ];
    match options.one_of(&kinds) {
        Some("explicit_http_config") => {
            if let Some(config) = options.message("explicit_http_config") {
                config.one_of(&["http_protocol_options", "http2_protocol_options"]);
                explicit(&config, cluster);
            }
        }
        Some("use_downstream_protocol_config") => {
            if let Some(config) = options.message("use_downstream_protocol_config") {
                explicit(&config, cluster);
            }
            cluster.protocol = UpstreamProtocol::Downstream;
        }
        Some(_) => {}
        None => options.missing("explicit_http_config"),
    }
}

fn common_upstream(message: &Message<'_, '_>, cluster: &mut Cluster) {
    let Some(common) = message.message("common_http_protocol_options") else {
        return;
    };
    cluster.idle_timeout = common.limit("idle_timeout", cluster.idle_timeout);
    if let Some(max) = common.number::<u32>("max_requests_per_connection") {
        cluster.max_requests_per_connection = (max.value > 0).then_some(max.value);
    }
}

fn explicit(message: &Message<'_, '_>, cluster: &mut Cluster) {
    if let Some(http1) = message.message("http_protocol_options") {
        cluster.trailers = http1.flag("enable_trailers").unwrap_or(false);
        http1_defaults(&http1);
    }
    if let Some(http2) = message.message("http2_protocol_options") {
        cluster.protocol = UpstreamProtocol::Http2;
        cluster.http2 = http2_options(&http2);
        cluster.connection_keepalive = http2
            .message("connection_keepalive")
            .map(|keepalive| connection_keepalive(&keepalive));
    }
}

fn connection_keepalive(message: &Message<'_, '_>) -> ConnectionKeepalive {
    let mut keepalive = ConnectionKeepalive::placeholder();
    for (name, value) in [
        ("interval", &mut keepalive.interval),
        ("timeout", &mut keepalive.timeout),
    ] {
        if message.node(name).is_none() {
            message.missing(name);
        }
        positive(message, name, value);
    }
    keepalive
}

/// Fields of which Weir has Envoy's default only.
fn http1_defaults(http1: &Message<'_, '_>) {
    http1.only("allow_absolute_url", true);
    http1.only("allow_chunked_length", false);
}

fn http2_options(http2: &Message<'_, '_>) -> Http2Options {
    http2.only("allow_metadata", false);
    let streams = http2.number::<u32>("max_concurrent_streams");
    if let Some(streams) = streams.filter(|streams| streams.value == 0) {
        let path = http2.path_of("max_concurrent_streams");
        let message = format!("{path} must be more than 0");
        http2.reader.problem(Problem::new(streams.span, message));
    }
    Http2Options {
        max_concurrent_streams: streams.map(|streams| streams.value),
        initial_stream_window_size: window(http2, "initial_stream_window_size"),
        initial_connection_window_size: window(http2, "initial_connection_window_size"),
        allow_connect: http2.flag("allow_connect").unwrap_or(false),
    }
}

fn window(http2: &Message<'_, '_>, name: &'static str) -> Option<u32> {
    let size = http2.number::<u32>(name)?;
    if !(MIN_WINDOW..=MAX_WINDOW).contains(&size.value) {
        let path = http2.path_of(name);
        let message = format!("{path} is not between {MIN_WINDOW} and {MAX_WINDOW}");
        http2.reader.problem(Problem::new(size.span, message));
    }
    Some(size.value)
}
