//! Istio's standard metrics, and what sidecars tell each other, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use weir_conformance::tls::Authority;
use weir_conformance::{Client, Exposition, PATIENCE, Upstream, Weir, eventually};

const CLIENT: &str = "{ NAME: web-1-abc, NAMESPACE: shop, WORKLOAD_NAME: web-1, \
     CLUSTER_ID: east, LABELS: { app: web, version: v1, role: front, \
     service.istio.io/canonical-name: web, service.istio.io/canonical-revision: r1 } }";
const SERVER: &str = "{ NAME: api-2-def, NAMESPACE: back, WORKLOAD_NAME: api-2, \
     CLUSTER_ID: west, LABELS: { app: api, version: v2, \
     service.istio.io/canonical-name: api, service.istio.io/canonical-revision: r2 } }";

/// Labels of a request from [`CLIENT`] to [`SERVER`], where both have told.
const BOTH: [(&str, &str); 14] = [
    ("source_workload", "web-1"),
    ("source_workload_namespace", "shop"),
    ("source_app", "web"),
    ("source_version", "v1"),
    ("source_canonical_service", "web"),
    ("source_canonical_revision", "r1"),
    ("source_cluster", "east"),
    ("destination_workload", "api-2"),
    ("destination_workload_namespace", "back"),
    ("destination_app", "api"),
    ("destination_version", "v2"),
    ("destination_canonical_service", "api"),
    ("destination_canonical_revision", "r2"),
    ("destination_cluster", "west"),
];

/// [`BOTH`] with others, or some in the place of some.
fn labels<'l>(others: &[(&'l str, &'l str)]) -> Vec<(&'l str, &'l str)> {
    let stays = |label: &&(&str, &str)| others.iter().all(|(name, _)| *name != label.0);
    let mut labels: Vec<_> = BOTH.iter().filter(stays).copied().collect();
    labels.extend(others);
    labels
}

fn page(weir: &Weir) -> Exposition {
    let text = weir.admin_get("/stats/prometheus").text();
    Exposition::parse(&text).expect("a page that is well-formed")
}

/// Waits until a sample with exactly these labels has this value.
fn eventually_is(weir: &Weir, name: &str, labels: &[(&str, &str)], value: f64) {
    eventually(&format!("{name} {labels:?} {value}"), || {
        (page(weir).value(name, labels) == Some(value)).then_some(())
    });
}

/// A bootstrap as Istio writes it: one listener with the filters of `filters`.
fn bootstrap(node: &str, direction: &str, filters: &str, to: SocketAddr, about: &str) -> String {
    let port = to.port();
    format!(
        r#"
node: {{ id: "sidecar~10.0.0.1~{direction}.ns~ns.svc", cluster: c, metadata: {node} }}
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: edge
    traffic_direction: {direction}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          route_config:
            virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: next }} }}] }}]
          http_filters:
{filters}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: next
    type: STATIC
    metadata: {{ filter_metadata: {{ istio: {{ {about} }} }} }}
    load_assignment:
      cluster_name: next
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]
"#
    )
}

const OUTBOUND: &str = r#"
          - name: istio.metadata_exchange
            typed_config:
              "@type": type.googleapis.com/udpa.type.v1.TypedStruct
              type_url: type.googleapis.com/io.istio.http.peer_metadata.Config
              value:
                upstream_discovery: [{ istio_headers: {} }, { workload_discovery: {} }]
                upstream_propagation: [{ istio_headers: { skip_external_clusters: true } }]
          - name: istio.stats
            typed_config:
              "@type": type.googleapis.com/stats.PluginConfig"#;

const INBOUND: &str = r#"
          - name: istio.metadata_exchange
            typed_config:
              "@type": type.googleapis.com/io.istio.http.peer_metadata.Config
              downstream_discovery: [{ istio_headers: {} }, { workload_discovery: {} }]
              downstream_propagation: [{ istio_headers: {} }]
          - name: istio.stats
            typed_config:
              "@type": type.googleapis.com/udpa.type.v1.TypedStruct
              type_url: type.googleapis.com/stats.PluginConfig
              value: { disable_host_header_fallback: true }"#;

const SERVICE: &str =
    "services: [{ host: api.back.svc.cluster.local, name: api, namespace: back }]";

/// What a request in plain text has besides.
fn of_request<'l>(
    reporter: &'l str,
    service: (&'l str, &'l str),
    policy: &'l str,
) -> Vec<(&'l str, &'l str)> {
    labels(&[
        ("reporter", reporter),
        ("source_principal", "unknown"),
        ("destination_principal", "unknown"),
        ("destination_service", service.0),
        ("destination_service_name", service.1),
        ("destination_service_namespace", "back"),
        ("request_protocol", "http"),
        ("response_code", "200"),
        ("grpc_response_status", ""),
        ("response_flags", "-"),
        ("connection_security_policy", policy),
    ])
}

#[test]
fn sidecars_tell_each_other_who_they_are_and_count_by_it() {
    let upstream = Upstream::echo();
    let inbound = bootstrap(SERVER, "INBOUND", INBOUND, upstream.address, SERVICE);
    let inbound = Weir::start_envoy(&inbound);
    let to = inbound.listener("edge");
    let outbound = Weir::start_envoy(&bootstrap(CLIENT, "OUTBOUND", OUTBOUND, to, SERVICE));
    let mut client = outbound.connect();
    for _ in 0..3 {
        let response = client.request("POST", "/", &[], &[b'x'; 2000]);
        assert_eq!(response.status, 200);
        let text = response.text();
        assert!(!text.contains("x-envoy-peer-metadata"), "{text}");
        assert_eq!(response.header("x-envoy-peer-metadata"), None);
        assert_eq!(response.header("x-envoy-peer-metadata-id"), None);
    }
    let service = ("api.back.svc.cluster.local", "api");
    for (weir, reporter, policy) in [
        (&outbound, "source", "unknown"),
        (&inbound, "destination", "none"),
    ] {
        let labels = of_request(reporter, service, policy);
        eventually_is(weir, "istio_requests_total", &labels, 3.0);
        let page = page(weir);
        for name in [
            "request_duration_milliseconds",
            "request_bytes",
            "response_bytes",
        ] {
            let count = page.value(&format!("istio_{name}_count"), &labels);
            assert_eq!(count, Some(3.0), "{name}");
        }
        let bytes = page.value("istio_request_bytes_sum", &labels).unwrap();
        assert!((6000.0..9000.0).contains(&bytes), "{bytes}");
        let stats = weir.admin_get("/stats?filter=istio_requests_total").text();
        let expected = format!("istiocustom.istio_requests_total.reporter.{reporter}.");
        assert!(stats.contains(&expected), "{stats}");
    }
}

#[test]
fn what_nobody_can_read_goes_no_further_and_harms_nobody() {
    let upstream = Upstream::echo();
    let inbound = bootstrap(SERVER, "INBOUND", INBOUND, upstream.address, "");
    let inbound = Weir::start_envoy(&inbound);
    let mut client = inbound.connect();
    let huge = "A".repeat(20_000);
    for told in ["%%%", "CgE", huge.as_str()] {
        let headers = [
            ("x-envoy-peer-metadata", told),
            ("x-envoy-peer-metadata-id", "x"),
        ];
        let response = client.get_with("/", &headers);
        assert_eq!(response.status, 200);
        let text = response.text();
        assert!(!text.contains("x-envoy-peer-metadata"), "{text}");
        // Who asks is told.
        assert!(response.header("x-envoy-peer-metadata").is_some());
        let id = response.header("x-envoy-peer-metadata-id");
        assert_eq!(id, Some("sidecar~10.0.0.1~INBOUND.ns~ns.svc"));
    }
    // And who does not, is not.
    assert_eq!(client.get("/").header("x-envoy-peer-metadata"), None);
    let unknown = [
        ("source_workload", "unknown"),
        ("source_workload_namespace", "unknown"),
        ("source_app", "unknown"),
        ("source_version", "unknown"),
        ("source_canonical_service", "unknown"),
        ("source_canonical_revision", "latest"),
        ("source_cluster", "unknown"),
    ];
    let mut labels = of_request("destination", ("api", "api"), "none");
    labels.retain(|(name, _)| unknown.iter().all(|(other, _)| name != other));
    labels.extend(unknown);
    eventually_is(&inbound, "istio_requests_total", &labels, 4.0);
}

/// A Weir of its own form, on a listener `edge`, with these lines of the listener, and of
/// the cluster `next`.
fn weir(node: &str, listener: &str, cluster: &str, files: &[(&str, String)]) -> Weir {
    let config = format!(
        "node: {{ id: me, metadata: {node} }}\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - name: edge\n  address: 127.0.0.1:0\n{listener}\nclusters:\n- name: next\n{cluster}\n"
    );
    Weir::start_with(&config, |folder| {
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    })
}

#[test]
fn principals_are_those_of_certificates_and_metrics_are_as_configured() {
    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
    const API: &str = "spiffe://cluster.local/ns/back/sa/api";
    let upstream = Upstream::echo();
    let authority = Authority::new("mesh");
    let (web, api) = (authority.issue(&[WEB]), authority.issue(&[API]));
    let files = [
        ("ca.pem", authority.pem()),
        ("web.pem", web.cert),
        ("web.key", web.key),
        ("api.pem", api.cert),
        ("api.key", api.key),
    ];
    let inbound = "  direction: inbound
  tls: { certificates: [{ cert: api.pem, key: api.key }], client_certificates: { ca: ca.pem } }
  istio:
    stats: {}
    peer_metadata: { downstream_discovery: true, downstream_propagation: true }
  routes: [{ match: { prefix: / }, cluster: next }]";
    let endpoints = format!("  endpoints: ['{}']", upstream.address);
    let inbound = weir(SERVER, inbound, &endpoints, &files);
    let outbound = "  direction: outbound
  istio:
    stats:
      metrics:
      - tags_to_remove: [source_app, source_version, destination_app, destination_version]
      - dimensions: { team: \"'a'\", host: request.host, source_workload: \"node.metadata['NAME']\" }
        name: requests_total
      - { name: request_bytes, drop: true }
    peer_metadata: { upstream_discovery: true, upstream_propagation: true }
  routes: [{ match: { prefix: / }, cluster: next }]";
    let cluster = format!(
        "  endpoints: ['{}']\n  tls: {{ ca: ca.pem, cert: web.pem, key: web.key, \
         match_subject_alt_names: [{{ san_type: uri, exact: '{API}' }}] }}",
        inbound.listener("edge")
    );
    let outbound = weir(CLIENT, outbound, &cluster, &files);
    let mut client = outbound.connect();
    assert_eq!(client.get_with("/", &[]).status, 200);
    let host = "test";
    let mut labels = of_request("destination", (host, host), "mutual_tls");
    let principals = [("source_principal", WEB), ("destination_principal", API)];
    labels.retain(|(name, _)| !name.ends_with("_principal"));
    labels.extend(principals);
    eventually_is(&inbound, "istio_requests_total", &labels, 1.0);
    let mut labels = of_request("source", (host, host), "unknown");
    labels.retain(|(name, _)| {
        let gone = ["_principal", "_app", "_version", "source_workload"];
        gone.iter().all(|end| !name.ends_with(end))
    });
    labels.extend(principals);
    let others = [
        ("team", "a"),
        ("host", host),
        ("source_workload", "web-1-abc"),
    ];
    let of_requests: Vec<_> = labels.iter().chain(&others).copied().collect();
    eventually_is(&outbound, "istio_requests_total", &of_requests, 1.0);
    labels.push(("source_workload", "web-1"));
    let page = page(&outbound);
    let name = "istio_request_duration_milliseconds_count";
    assert_eq!(page.value(name, &labels), Some(1.0));
    assert_eq!(page.kind("istio_request_bytes"), None);
}

#[test]
fn who_does_not_tell_is_known_by_the_metadata_of_its_endpoint() {
    let upstream = Upstream::echo();
    let listener = "  istio:
    stats: {}
    peer_metadata: { upstream_discovery: true, upstream_propagation: true, skip_external_clusters: true }
  routes: [{ match: { prefix: / }, cluster: next }]";
    let cluster = format!(
        "  metadata: {{ istio: {{ external: true }} }}\n  endpoints: [{{ address: '{}', \
         metadata: {{ istio: {{ workload: 'api-2;back;api;r2;west' }} }} }}]",
        upstream.address
    );
    let outbound = weir(CLIENT, listener, &cluster, &[]);
    let mut client = Client::connect_as(outbound.listener("edge"), "api.back:80");
    let text = client.get("/").text();
    assert!(!text.contains("x-envoy-peer-metadata"), "{text}");
    let mut labels = of_request("source", ("api.back:80", "api.back:80"), "unknown");
    labels.retain(|(name, _)| !["destination_app", "destination_version"].contains(name));
    labels.extend([
        ("destination_app", "unknown"),
        ("destination_version", "unknown"),
    ]);
    eventually_is(&outbound, "istio_requests_total", &labels, 1.0);
}

#[test]
fn messages_of_grpc_are_counted() {
    let upstream = Upstream::start(|_| {
        let body = b"\0\0\0\0\x01a\0\0\0\0\x02bc";
        weir_conformance::Answer::with_headers(
            "content-type: application/grpc\r\ngrpc-status: 5\r\n",
            body,
        )
    });
    let listener = "  istio: { stats: { reporter: waypoint, metrics: [{ tags_to_remove: \
                    [source_workload] }] } }\n  routes: [{ match: { prefix: / }, cluster: next }]";
    let endpoints = format!("  endpoints: ['{}']", upstream.address);
    let weir = weir(SERVER, listener, &endpoints, &[]);
    let headers = [("content-type", "application/grpc")];
    let body = b"\0\0\0\0\x03abc";
    assert_eq!(
        weir.connect()
            .request("POST", "/s/m", &headers, body)
            .status,
        200
    );
    let stats = || {
        weir.admin_get("/stats?filter=istio_.*_messages_total")
            .text()
    };
    let found = eventually("messages are counted", || {
        let stats = stats();
        (stats.lines().count() == 2).then_some(stats)
    });
    for (name, count) in [("request", 1), ("response", 2)] {
        let line = found
            .lines()
            .find(|line| line.contains(&format!("istio_{name}_messages")));
        let line = line.unwrap();
        assert!(line.ends_with(&format!(": {count}")), "{found}");
        assert!(line.contains(".grpc_response_status.5."), "{found}");
        assert!(line.contains(".reporter.waypoint."), "{found}");
        assert!(!line.contains(".source_workload."), "{found}");
    }
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut buffer = [0; 1000];
        connection.read_exact(&mut buffer).unwrap();
        connection.write_all(&[b'y'; 3000]).unwrap();
        let _ = connection.read(&mut buffer);
    });
    let listener = "  istio: { stats: { tcp_reporting_duration: 20ms } }\n  tcp: { cluster: next }";
    let cluster = format!(
        "  metadata: {{ istio: {{ {SERVICE} }} }}\n  endpoints: [{{ address: '{address}', \
         metadata: {{ istio: {{ workload: 'api-2;back;api;r2;west' }} }} }}]"
    );
    let weir = weir(CLIENT, listener, &cluster, &[]);
    let mut client = TcpStream::connect(weir.listener("edge")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(&[b'x'; 1000]).unwrap();
    let mut buffer = [0; 3000];
    client.read_exact(&mut buffer).unwrap();
    let service = ("api.back.svc.cluster.local", "api");
    let mut labels = of_request("source", service, "unknown");
    labels.retain(|(name, _)| {
        let others = [
            "response_code",
            "grpc_response_status",
            "request_protocol",
            "destination_app",
            "destination_version",
        ];
        !others.contains(name)
    });
    labels.extend([
        ("request_protocol", "tcp"),
        ("destination_app", "unknown"),
        ("destination_version", "unknown"),
    ]);
    eventually_is(&weir, "istio_tcp_connections_opened_total", &labels, 1.0);
    eventually_is(&weir, "istio_tcp_received_bytes_total", &labels, 1000.0);
    eventually_is(&weir, "istio_tcp_sent_bytes_total", &labels, 3000.0);
    let closed = "istio_tcp_connections_closed_total";
    assert_eq!(page(&weir).value(closed, &labels), Some(0.0));
    client.shutdown(Shutdown::Both).unwrap();
    drop(client);
    eventually_is(&weir, closed, &labels, 1.0);
    let opened = page(&weir).value("istio_tcp_connections_opened_total", &labels);
    assert_eq!(opened, Some(1.0));
}
