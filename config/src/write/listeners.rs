//! `listeners`.

use serde_json::Value as Json;

use super::{Object, istio, plugins, rbac, rollouts, routes, tls};
use crate::access_log::{AccessLog, JsonFormat, LogFormat, LogPath};
use crate::cidr::Cidr;
use crate::defaults::{BUFFER_LIMIT, TCP_IDLE_TIMEOUT};
use crate::filter_chain::FilterChain;
use crate::filter_chain_match::{FilterChainMatch, SourceType};
use crate::http_filter::HttpFilter;
use crate::http_options::HttpOptions;
use crate::http2_options::Http2Options;
use crate::inspection::Inspection;
use crate::listener::{Direction, Listener};
use crate::native_filter::{Native, NativeFilter};
use crate::original_src::OriginalSrc;
use crate::port_range::PortRange;
use crate::proxy_protocol::ProxyProtocol;
use crate::read::Word as _;
use crate::virtual_host::VirtualHost;

pub(super) fn listener(listener: &Listener) -> Json {
    let mut block = Object::default();
    block.set("name", listener.name.value.as_str());
    block.set("address", listener.address.written());
    block.set("mode", listener.mode.map(|mode| mode.to_string()));
    if let Some(max) = listener.max_connections {
        block.set("max_connections", max.get());
    }
    if let Some(options) = listener.proxy_protocol {
        let other = ProxyProtocol::default();
        let mut proxy = Object::default();
        proxy.limit("timeout", options.timeout, other.timeout);
        // Even an empty one says something.
        block.0.insert("proxy_protocol".to_owned(), proxy.into());
    }
    block.set("inspect", inspection(&listener.inspect));
    for (key, value, default) in [
        ("original_dst", listener.original_dst, false),
        ("use_original_dst", listener.use_original_dst, false),
        ("transparent", listener.transparent, false),
        ("bind_to_port", listener.bind_to_port, true),
    ] {
        block.flag(key, value, default);
    }
    if let Some(OriginalSrc { mark }) = listener.original_src {
        let mut original = Object::default();
        original.number("mark", mark, OriginalSrc::default().mark);
        // Even an empty one says something.
        block.0.insert("original_src".to_owned(), original.into());
    }
    block.bytes("buffer_limit", listener.buffer_limit, BUFFER_LIMIT);
    block.word("direction", listener.direction, Direction::default());
    block.metadata("metadata", &listener.metadata);
    if let Some(only) = listener.only_chain() {
        settings(&mut block, only);
        return block.into();
    }
    let chains = listener.filter_chains.iter();
    block.list("filter_chains", chains.map(filter_chain));
    if let Some(chain) = listener.default_chain() {
        let chain = filter_chain(chain);
        // Even an empty one says something.
        block.0.insert("default_filter_chain".to_owned(), chain);
    }
    block.into()
}

fn inspection(inspection: &Inspection) -> Object {
    let other = Inspection::default();
    let mut block = Object::default();
    for (key, value) in [("tls", inspection.tls), ("http", inspection.http)] {
        block.set(key, value.map_or(Json::Null, Json::from));
    }
    for (key, ports) in [
        ("tls_except_ports", &inspection.tls_except_ports),
        ("http_except_ports", &inspection.http_except_ports),
    ] {
        let ports = ports.iter().map(PortRange::to_string).collect::<Vec<_>>();
        block.set(key, ports);
    }
    block.limit("timeout", inspection.timeout, other.timeout);
    let goes_on = inspection.continue_on_timeout;
    block.flag("continue_on_timeout", goes_on, other.continue_on_timeout);
    block
}

fn filter_chain(chain: &FilterChain) -> Json {
    let mut block = Object::default();
    block.text("name", &chain.name);
    block.set("match", matches(&chain.matches));
    settings(&mut block, chain);
    block.into()
}

fn matches(matches: &FilterChainMatch) -> Object {
    let mut block = Object::default();
    if let Some(port) = matches.destination_port {
        block.set("destination_port", port);
    }
    let ranges = |ranges: &[Cidr]| ranges.iter().map(Cidr::to_string).collect::<Vec<_>>();
    block.set("prefix_ranges", ranges(&matches.prefix_ranges));
    block.set("server_names", matches.server_names.clone());
    if let Some(protocol) = matches.transport_protocol {
        block.set("transport_protocol", protocol.word());
    }
    let protocols = matches.application_protocols.clone();
    block.set("application_protocols", protocols);
    let direct = ranges(&matches.direct_source_prefix_ranges);
    block.set("direct_source_prefix_ranges", direct);
    block.word("source_type", matches.source_type, SourceType::default());
    let source = ranges(&matches.source_prefix_ranges);
    block.set("source_prefix_ranges", source);
    block.set("source_ports", matches.source_ports.clone());
    block
}

/// What a filter chain says of its connections.
fn settings(block: &mut Object, chain: &FilterChain) {
    if let Some(options) = &chain.tls {
        block.set("tls", tls::listener(options));
    }
    match chain.access_log.as_slice() {
        [one] => block.set("access_log", access_log(one)),
        several => block.list("access_log", several.iter().map(access_log)),
    }
    block.list("access_loggers", chain.access_loggers.iter().map(filter));
    block.set("istio", istio::block(&chain.istio));
    let network = filters(&chain.network_filters, &chain.native_network_filters);
    block.list("network_filters", network);
    if let Some(tcp) = &chain.tcp {
        let mut proxy = Object::default();
        proxy.set("cluster", tcp.cluster.value.as_str());
        proxy.limit("idle_timeout", tcp.idle_timeout, Some(TCP_IDLE_TIMEOUT));
        block.set("tcp", proxy);
        return;
    }
    block.set("http", http(&chain.http));
    routes::header_mutations(block, &chain.headers);
    let http = filters(&chain.http_filters, &chain.native_filters);
    block.list("http_filters", http);
    match chain.virtual_hosts.as_slice() {
        [only] if only.is_plain() && !only.routes.is_empty() => {
            block.list("routes", only.routes.iter().map(routes::route));
        }
        hosts => block.list("virtual_hosts", hosts.iter().map(virtual_host)),
    }
}

fn access_log(log: &AccessLog) -> Json {
    let mut block = Object::default();
    match &log.path.value {
        LogPath::Stdout => block.set("path", "stdout"),
        LogPath::Stderr => block.set("path", "stderr"),
        // The words mean something else.
        LogPath::File(path) if matches!(path.to_str(), Some("stdout" | "stderr")) => {
            block.set("path", format!("./{}", path.display()));
        }
        LogPath::File(path) => block.set("path", path.display().to_string()),
    }
    match &log.format {
        LogFormat::Weir => {}
        LogFormat::Text(template) => block.set("format", template.text.as_str()),
        LogFormat::Json(members) => {
            // Even an empty one says something.
            block.0.insert("format".to_owned(), json(members));
        }
    }
    block.into()
}

fn json(members: &[(String, JsonFormat)]) -> Json {
    let member = |(name, value): &(String, JsonFormat)| {
        let value = match value {
            JsonFormat::Text(template) => template.text.as_str().into(),
            JsonFormat::Object(members) => json(members),
        };
        (name.clone(), value)
    };
    Json::Object(members.iter().map(member).collect())
}

/// Filters of both kinds, each in its place.
fn filters<'f>(
    wasm: &'f [HttpFilter],
    native: &'f [NativeFilter],
) -> impl Iterator<Item = Json> + 'f {
    (0..=wasm.len()).flat_map(move |place| {
        let here = native.iter().filter(move |filter| filter.place == place);
        let behind = wasm.get(place).map(filter);
        here.map(native_filter).chain(behind)
    })
}

fn native_filter(filter: &NativeFilter) -> Json {
    let mut block = Object::default();
    block.set("name", filter.name.value.as_str());
    match &filter.kind {
        Native::Rbac(policies) => {
            // Even an empty one says something.
            let policies = rbac::rbac(policies).into();
            block.0.insert("rbac".to_owned(), policies);
        }
        Native::Cors => block.set("cors", true),
    }
    block.into()
}

fn filter(filter: &HttpFilter) -> Json {
    let mut block = Object::default();
    block.set("name", filter.name.value.as_str());
    block.set("wasm", plugins::plugin(&filter.wasm));
    if let Some(rollout) = &filter.rollout {
        block.set("rollout", rollouts::rollout(rollout));
    }
    block.into()
}

fn virtual_host(host: &VirtualHost) -> Json {
    let mut block = Object::default();
    block.set("name", host.name.value.as_str());
    block.list("domains", host.domains.iter().map(|d| d.value.as_str()));
    block.metadata("metadata", &host.metadata);
    if let Some(policy) = &host.retry_policy {
        block.set("retry_policy", routes::retry_policy(policy));
    }
    for (key, value) in [
        (
            "include_request_attempt_count",
            host.include_request_attempt_count,
        ),
        (
            "include_attempt_count_in_response",
            host.include_attempt_count_in_response,
        ),
    ] {
        block.flag(key, value, false);
    }
    let mirrors = host.request_mirror_policies.iter().map(routes::mirror);
    block.list("request_mirror_policies", mirrors);
    if let Some(cors) = &host.cors {
        block.set("cors", routes::cors(cors));
    }
    routes::filters(&mut block, &host.filters);
    routes::header_mutations(&mut block, &host.headers);
    block.list("routes", host.routes.iter().map(routes::route));
    block.into()
}

fn http(http: &HttpOptions) -> Object {
    let other = HttpOptions::default();
    let mut block = Object::default();
    block.word("codec", http.codec, other.codec);
    block.bytes(
        "max_request_headers_bytes",
        http.max_request_headers_bytes,
        other.max_request_headers_bytes,
    );
    if http.max_headers_count != other.max_headers_count {
        block.set("max_headers_count", http.max_headers_count);
    }
    for (key, value, default) in [
        (
            "stream_idle_timeout",
            http.stream_idle_timeout,
            other.stream_idle_timeout,
        ),
        ("idle_timeout", http.idle_timeout, other.idle_timeout),
        (
            "request_timeout",
            http.request_timeout,
            other.request_timeout,
        ),
        (
            "request_headers_timeout",
            http.request_headers_timeout,
            other.request_headers_timeout,
        ),
        (
            "delayed_close_timeout",
            http.delayed_close_timeout,
            other.delayed_close_timeout,
        ),
    ] {
        block.limit(key, value, default);
    }
    block.flag("trailers", http.trailers, other.trailers);
    block.flag("http10", http.http10, other.http10);
    if http.upgrades != other.upgrades {
        // An empty list says something here.
        let upgrades = http.upgrades.iter().map(|name| name.as_str().into());
        let upgrades = Json::Array(upgrades.collect());
        block.0.insert("upgrades".to_owned(), upgrades);
    }
    if http.server_name != other.server_name {
        block.set("server_name", http.server_name.as_str());
    }
    block.word("server_header", http.server_header, other.server_header);
    block.set("http2", http2(&http.http2));
    for (key, value) in [
        ("generate_request_id", http.generate_request_id),
        (
            "preserve_external_request_id",
            http.preserve_external_request_id,
        ),
        ("use_remote_address", http.use_remote_address),
        ("skip_xff_append", http.skip_xff_append),
        ("normalize_path", http.normalize_path),
        ("merge_slashes", http.merge_slashes),
        (
            "ignore_port_in_host_matching",
            http.ignore_port_in_host_matching,
        ),
        ("envoy_headers", http.envoy_headers),
        ("strip_envoy_headers", http.strip_envoy_headers),
        ("proxy_100_continue", http.proxy_100_continue),
        ("append_x_forwarded_port", http.append_x_forwarded_port),
    ] {
        block.flag(key, value, false);
    }
    if http.xff_num_trusted_hops != 0 {
        block.set("xff_num_trusted_hops", http.xff_num_trusted_hops);
    }
    block.word(
        "path_with_escaped_slashes_action",
        http.path_with_escaped_slashes_action,
        other.path_with_escaped_slashes_action,
    );
    block.word(
        "forward_client_cert_details",
        http.forward_client_cert_details,
        other.forward_client_cert_details,
    );
    let details = http.set_current_client_cert_details.iter();
    block.list(
        "set_current_client_cert_details",
        details.map(|detail| detail.word()),
    );
    block.text("via", http.via.as_deref().unwrap_or_default());
    block
}

pub(super) fn http2(options: &Http2Options) -> Object {
    let mut block = Object::default();
    block.set("max_concurrent_streams", options.max_concurrent_streams);
    block.set(
        "initial_stream_window_size",
        options.initial_stream_window_size,
    );
    block.set(
        "initial_connection_window_size",
        options.initial_connection_window_size,
    );
    if !options.allow_connect {
        block.set("allow_connect", false);
    }
    block
}
