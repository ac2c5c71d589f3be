//! Istio's filters for telemetry, in Envoy's form.
#![allow(clippy::unwrap_used, clippy::panic)] // A failed unwrap is a failed test.

use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{
    Config, Dimension, Istio, IstioMetric, IstioReporter, IstioStats, IstioTag, PeerMetadata,
};

const ROUTER: &str = r#"{ name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }"#;

/// A bootstrap of one filter chain with these network filters in front of its last one,
/// which speaks HTTP with `http_filters`, or is a TCP proxy without.
fn bootstrap(in_front: &str, http_filters: Option<&str>) -> String {
    let last = match http_filters {
        Some(filters) => format!(
            r#"{{ name: hcm, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: in, route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: web }} }}] }}] }}, http_filters: [{filters} {ROUTER}] }} }}"#
        ),
        None => r#"{ name: tcp, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: in, cluster: web } }"#.to_owned(),
    };
    format!(
        "static_resources:\n  listeners:\n  - name: edge\n    address: {{ socket_address: \
         {{ address: 127.0.0.1, port_value: 0 }} }}\n    filter_chains:\n    - filters: \
         [{in_front} {last}]\n  clusters:\n  - {{ name: web, type: STATIC, load_assignment: \
         {{ cluster_name: web, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: \
         {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }}] }}] }} }}\n"
    )
}

/// A filter of this type, sent as the message itself or in a `TypedStruct`.
fn filter(name: &str, fields: &str, is_wrapped: bool) -> String {
    let config = match is_wrapped {
        true => format!(
            r#""@type": type.googleapis.com/xds.type.v3.TypedStruct, type_url: type.googleapis.com/{name}, value: {{ {fields} }}"#
        ),
        false => format!(r#""@type": type.googleapis.com/{name}, {fields}"#),
    };
    format!("{{ name: istio, typed_config: {{ {config} }} }},")
}

fn read(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = envoy::parse("envoy.yaml", text, Leniency::Strict);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let warnings = warnings.iter().map(|warning| warning.message().to_owned());
    (config, warnings.collect())
}

/// What is read, which is the same when it has been written in Weir's own form.
fn istio(text: &str) -> (Istio, Vec<String>) {
    let (config, warnings) = read(text);
    let chain = |config: &Config| config.listeners[0].chains().next().unwrap().istio.clone();
    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written);
    let again = again.unwrap_or_else(|errors| panic!("{errors}\n{written}"));
    assert_eq!(chain(&again), chain(&config), "{written}");
    (chain(&config), warnings)
}

#[test]
fn metrics_and_labels_are_read_in_either_form() {
    let fields = "disable_host_header_fallback: true, tcp_reporting_duration: 1.5s, \
         reporter: SERVER_GATEWAY, rotation_interval: 0s, metrics: [\
         { name: requests_total, dimensions: { b: request.host, a: \"'x'\" } }, \
         { tags_to_remove: [source_app] }, { name: request_bytes, drop: true }]";
    for is_wrapped in [false, true] {
        let stats = filter("stats.PluginConfig", fields, is_wrapped);
        let (istio, warnings) = istio(&bootstrap("", Some(&stats)));
        assert!(warnings.is_empty(), "{warnings:?}");
        let stats = istio.stats.unwrap();
        assert_eq!(stats.reporter, Some(IstioReporter::Waypoint));
        assert!(!stats.host_header_fallback);
        assert_eq!(
            stats.tcp_reporting_duration,
            Some(Duration::from_millis(1500))
        );
        let [requests, all, bytes] = stats.metrics.as_slice() else {
            panic!("{stats:?}");
        };
        assert_eq!(requests.name, Some(IstioMetric::Requests));
        let path = vec!["request".to_owned(), "host".to_owned()];
        let expected = [
            ("a".to_owned(), Dimension::Text("x".to_owned())),
            ("b".to_owned(), Dimension::Attribute(path)),
        ];
        assert_eq!(requests.dimensions.0, expected);
        assert_eq!(all.name, None);
        assert_eq!(all.tags_to_remove, [IstioTag::SourceApp]);
        assert!(bytes.drop);
    }
}

#[test]
fn who_is_told_and_who_tells_is_read() {
    let fields = "downstream_discovery: [{ istio_headers: {} }, { workload_discovery: {} }], \
         upstream_discovery: [{ workload_discovery: {} }], \
         upstream_propagation: [{ istio_headers: { skip_external_clusters: true } }], \
         shared_with_upstream: true, additional_labels: [role]";
    let peers = filter("io.istio.http.peer_metadata.Config", fields, true);
    let (istio, warnings) = istio(&bootstrap("", Some(&peers)));
    assert!(warnings.is_empty(), "{warnings:?}");
    let expected = PeerMetadata {
        downstream_discovery: true,
        upstream_propagation: true,
        skip_external_clusters: true,
        additional_labels: vec!["role".to_owned()],
        ..PeerMetadata::default()
    };
    assert_eq!(istio.peer_metadata, Some(expected));
    assert_eq!(istio.stats, None);
}

#[test]
fn what_is_passed_over_is_named() {
    let fields = "definitions: [{ name: mine, value: request.size }], metrics: [\
         { name: mine, dimensions: { a: \"'x'\" } }, \
         { tags_to_remove: [nothing], dimensions: { c: \"a + b\", le: \"'x'\", d: \"'x'\" } }]";
    let stats = filter("stats.PluginConfig", fields, true);
    let (istio, warnings) = istio(&bootstrap("", Some(&stats)));
    let expected = [
        "the metric `mine` is passed over",
        "there is no metric `mine`",
        "there is no label `nothing` to remove",
        "dimensions.c is passed over: `a + b`",
        "dimensions.le is passed over",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for text in expected {
        assert!(
            warnings.iter().any(|w| w.contains(text)),
            "{text}: {warnings:?}"
        );
    }
    let metrics = istio.stats.unwrap().metrics;
    assert_eq!(metrics.len(), 1);
    assert_eq!(metrics[0].dimensions.0.len(), 1);
}

#[test]
fn connections_are_counted_in_front_of_a_tcp_proxy_only() {
    let exchange = "envoy.tcp.metadataexchange.config.MetadataExchange";
    let exchange = filter(exchange, "protocol: istio-peer-exchange", false);
    let stats = filter("stats.PluginConfig", "", true);
    let in_front = format!("{exchange} {stats}");
    let (of_tcp, warnings) = istio(&bootstrap(&in_front, None));
    assert_eq!(of_tcp.stats, Some(IstioStats::default()));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("MetadataExchange) is passed over"),
        "{warnings:?}"
    );
    let (of_http, warnings) = istio(&bootstrap(&stats, Some("")));
    assert_eq!(of_http, Istio::default());
    assert!(
        warnings[0].contains("counts connections of a TCP proxy only"),
        "{warnings:?}"
    );
}

#[test]
fn one_filter_of_each_kind_is_enough() {
    let stats = filter("stats.PluginConfig", "", true);
    let text = bootstrap("", Some(&format!("{stats} {stats}")));
    let (config, _) = envoy::parse("envoy.yaml", &text, Leniency::Strict);
    let errors = config.unwrap_err().plain();
    assert!(
        errors.contains("a second filter of the type stats.PluginConfig"),
        "{errors}"
    );
}
