//! Filter chains: of connections, and of those that a sidecar intercepts.

use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{PortRange, SourceType, TransportProtocol, UpstreamProtocol};

use super::{bootstrap, parse};

/// Wasm filters in front of a TCP proxy, two of one name.
pub(super) const CONNECTION_FILTERS: &str = r#"{"static_resources":{"listeners":[{"name":"edge","address":
    {"socket_address":{"address":"127.0.0.1","port_value":8080}},"filter_chains":[{"filters":[
    {"name":"wasm","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm","config":
    {"rootId":"one","vm_config":{"code":{"local":{"filename":"a.wasm"}}}}}},
    {"name":"wasm","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm","config":
    {"root_id":"two","vm_config":{"code":{"local":{"filename":"b.wasm"}}}}}},
    {"name":"tcp","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix":"t","cluster":"web"}}]}]}],"clusters":[{"name":"web",
    "load_assignment":{"cluster_name":"web","endpoints":[{"lb_endpoints":[{"endpoint":{"address":
    {"socket_address":{"address":"127.0.0.1","port_value":9}}}}]}]}}]}}"#;

#[test]
fn wasm_filters_stand_in_front_of_a_tcp_proxy() {
    let config = parse(CONNECTION_FILTERS);
    let filters = &config.listeners[0].filter_chains[0].network_filters;
    let told: Vec<_> = filters
        .iter()
        .map(|filter| (filter.name.as_str(), filter.wasm.root_id.as_str()))
        .collect();
    assert_eq!(told, [("wasm", "one"), ("wasm-2", "two")]);
    assert!(config.listeners[0].filter_chains[0].http_filters.is_empty());
}

#[test]
fn a_wasm_filter_does_not_end_a_chain_of_connections() {
    let proxy = CONNECTION_FILTERS.find(
        r#",
    {"name":"tcp""#,
    );
    let end = CONNECTION_FILTERS.find("]}]}],\"clusters\"");
    let text = [
        &CONNECTION_FILTERS[..proxy.unwrap()],
        &CONNECTION_FILTERS[end.unwrap()..],
    ]
    .concat();
    let (result, _) = envoy::parse("envoy.json", &text, Leniency::Strict);
    let errors = result.unwrap_err().plain();
    assert!(errors.contains("cannot be the last filter"), "{errors}");
}

/// Listeners as a sidecar has them.
const SIDECAR: &str = r#"
static_resources:
  listeners:
  - name: outbound
    address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }
    use_original_dst: true
    transparent: true
    traffic_direction: OUTBOUND
    listener_filters_timeout: 0.1s
    continue_on_listener_filters_timeout: true
    listener_filters:
    - name: original_dst
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst }
    - name: tls_inspector
      filter_disabled: { destination_port_range: { start: 3306, end: 3307 } }
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    - name: http_inspector
      filter_disabled:
        or_match:
          rules:
          - destination_port_range: { start: 3306, end: 3310 }
          - and_match: { rules: [{ destination_port_range: { start: 1, end: 9 } }, { not_match: { destination_port_range: { start: 3, end: 9 } } }] }
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
    - name: original_src
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc, mark: 1337 }
    filter_chains:
    - name: named
      filter_chain_match:
        destination_port: { value: 443 }
        prefix_ranges: [{ address_prefix: 10.1.2.3, prefix_len: 8 }, { address_prefix: "::", prefix_len: 0 }]
        server_names: [a.example, "*.B.example"]
        transport_protocol: tls
        application_protocols: [istio, h2]
        direct_source_prefix_ranges: [{ address_prefix: 10.0.0.0 }]
        source_type: EXTERNAL
        source_prefix_ranges: [{ address_prefix: 192.0.2.1, prefix_len: 32 }]
        source_ports: [7, "8"]
      filters: &through
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          cluster: passthrough
    - { name: named, filters: *through, filter_chain_match: { application_protocols: [http/1.1] } }
    default_filter_chain: { name: rest, filters: *through, filter_chain_match: { destination_port: 1 } }
  - name: virtual
    address: { socket_address: { address: 10.0.0.1, port_value: 80 } }
    bind_to_port: false
    filter_chains: [{ filters: *through }]
  clusters:
  - name: passthrough
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    cleanup_interval: 1s
    original_dst_lb_config: { use_http_header: true, upstream_port_override: 81 }
    upstream_bind_config:
      source_address: { address: 127.0.0.6, port_value: 0 }
      extra_source_addresses: [{ address: { address: "::6" } }]
      freebind: true
      socket_options: [{ description: mark, level: 1, name: 36, int_value: 1337, state: STATE_PREBIND }]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: { max_concurrent_streams: 7 } }
"#;

#[test]
fn several_filter_chains_are_read_and_written_again() {
    let config = parse(SIDECAR);
    let [outbound, r#virtual] = config.listeners.as_slice() else {
        panic!("{:?}", config.listeners)
    };
    assert!(outbound.original_dst && outbound.use_original_dst && outbound.transparent);
    // There is no inspector but those that are named.
    assert_eq!(outbound.inspects(), (true, true));
    let texts = |ranges: &[PortRange]| ranges.iter().map(PortRange::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&outbound.inspect.tls_except_ports), ["3306"]);
    assert_eq!(
        texts(&outbound.inspect.http_except_ports),
        ["1-2", "3306-3309"]
    );
    assert_eq!(outbound.original_src.map(|source| source.mark), Some(1337));
    let passthrough = &config.clusters[0];
    assert_eq!(passthrough.protocol, UpstreamProtocol::Downstream);
    assert_eq!(passthrough.http2.max_concurrent_streams, Some(7));
    let bind = &passthrough.bind;
    assert_eq!((bind.freebind, bind.mark), (true, 1337));
    let addresses: Vec<_> = bind.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.6:0", "[::6]:0"]);
    assert!(outbound.inspect.continue_on_timeout);
    assert_eq!(outbound.inspect.timeout, Some(Duration::from_millis(100)));
    let matches = &outbound.filter_chains[0].matches;
    assert_eq!(matches.destination_port, Some(443));
    let ranges: Vec<_> = matches
        .prefix_ranges
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ranges, ["10.0.0.0/8", "::/0"]);
    assert_eq!(matches.server_names, ["a.example", "*.b.example"]);
    assert_eq!(matches.transport_protocol, Some(TransportProtocol::Tls));
    assert_eq!(matches.source_type, SourceType::External);
    assert_eq!(matches.source_ports, [7, 8]);
    assert_eq!(outbound.default_chain().unwrap().name.value, "rest");
    assert!(!r#virtual.bind_to_port && r#virtual.only_chain().is_some());
    let original = config.clusters[0].original_dst.as_ref().unwrap();
    assert_eq!(original.header(), Some("x-envoy-original-dst-host"));
    assert_eq!(original.upstream_port_override, Some(81));

    let again =
        weir_config::parse("weir.yaml", &config.to_yaml()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.listeners, config.listeners);
    assert_eq!(again.clusters, config.clusters);
}

#[test]
fn pipes_are_unix_sockets() {
    let text = bootstrap("", "").replace(
        "socket_address: { address: 127.0.0.1, port_value: 1 }",
        "pipe: { path: '@web', mode: 0600 }",
    );
    let pipe = "pipe: { path: /run/edge.sock, mode: 0660 }";
    let text = text.replace(
        "socket_address: { address: 127.0.0.1, port_value: 0 }",
        pipe,
    );
    let text =
        format!("admin: {{ address: {{ pipe: {{ path: /run/a.sock, mode: 384 }} }} }}\n{text}");
    let config = parse(&text);
    let own = "admin: { address: unix:/run/a.sock, mode: 0600 }\n\
               listeners: [{ name: e, address: unix:/run/edge.sock, mode: 0660 }]\n\
               clusters: [{ name: web, endpoints: ['unix:@web'] }]";
    let own = weir_config::parse("weir.yaml", own).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.admin, own.admin);
    assert_eq!(config.listeners[0].address, own.listeners[0].address);
    assert_eq!(config.listeners[0].mode, own.listeners[0].mode);
    assert_eq!(config.clusters[0].endpoints, own.clusters[0].endpoints);
    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.admin, config.admin, "{written}");
    assert_eq!(again.listeners, config.listeners, "{written}");
    assert_eq!(again.clusters, config.clusters, "{written}");
}
