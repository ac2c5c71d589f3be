//! What filters read of configuration and connections, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fmt::Write;

use weir_conformance::tls::Authority;
use weir_conformance::{Client, Tunnel, Upstream, Weir};

/// A filter that answers requests with the values at `paths`: for each a byte
/// with the status, one with the length, and the value.
fn telling(paths: &[&str]) -> Vec<u8> {
    let mut data = String::new();
    let mut calls = String::new();
    let mut at = 1024;
    for path in paths {
        let text = path.replace('.', "\\00");
        writeln!(data, "(data (i32.const {at}) \"{text}\")").unwrap();
        writeln!(
            calls,
            "(call $tell (i32.const {at}) (i32.const {}))",
            path.len()
        )
        .unwrap();
        at += path.len();
    }
    let text = format!(
        r#"(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (global $out (mut i32) (i32.const 16384))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func $tell (param $path i32) (param $length i32)
    (i32.store (i32.const 4) (i32.const 0))
    (i32.store8 (global.get $out)
      (call $get (local.get $path) (local.get $length) (i32.const 0) (i32.const 4)))
    (i32.store8 (i32.add (global.get $out) (i32.const 1)) (i32.load (i32.const 4)))
    (memory.copy (i32.add (global.get $out) (i32.const 2))
      (i32.load (i32.const 0)) (i32.load (i32.const 4)))
    (global.set $out
      (i32.add (global.get $out) (i32.add (i32.load (i32.const 4)) (i32.const 2)))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $out (i32.const 16384))
    {calls}
    (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 16384)
      (i32.sub (global.get $out) (i32.const 16384)) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1))
  {data})"#
    );
    wat::parse_str(text).unwrap()
}

/// The values that such a filter has told, with their status.
fn told(body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut values = Vec::new();
    let mut rest = body;
    while let [status, length, more @ ..] = rest {
        let (value, more) = more.split_at(usize::from(*length));
        values.push((*status, value.to_vec()));
        rest = more;
    }
    values
}

#[test]
fn filters_read_what_is_configured_for_them() {
    let upstream = Upstream::echo();
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
node: {{ id: edge-1, cluster: edge, metadata: {{ role: gateway }}, locality: {{ zone: a }} }}
listeners:
- name: edge
  address: 127.0.0.1:0
  direction: outbound
  metadata: {{ my.filter: {{ on: listener }} }}
  http_filters:
  - {{ name: telling, wasm: {{ vm_config: {{ code: {{ local: {{ filename: telling.wasm }} }} }} }} }}
  virtual_hosts:
  - name: all
    domains: ['*']
    metadata: {{ f: {{ on: host }} }}
    routes:
    - match: {{ prefix: /direct }}
      direct_response: {{ status: 204 }}
    - match: {{ prefix: / }}
      cluster: web
      metadata: {{ f: {{ tier: gold, weight: 0.5, beta: true, none: null, list: [a, b] }} }}
clusters:
- name: web
  endpoints: [\"{}\"]
  metadata: {{ f: {{ on: cluster }} }}
",
        upstream.address
    );
    let values = |path: &str, names: &[&str]| {
        let weir = Weir::start_with(&config, |folder| {
            std::fs::write(folder.join("telling.wasm"), telling(names)).unwrap();
        });
        told(&weir.connect().get(path).body)
    };
    let ok = |value: &[u8]| (0, value.to_vec());
    let missing = (1, Vec::new());

    let names = [
        "xds.route_metadata.filter_metadata.f.tier",
        "xds.route_metadata.filter_metadata.f.weight",
        "xds.route_metadata.filter_metadata.f.beta",
        "xds.route_metadata.filter_metadata.f.list.1",
        "xds.route_metadata.filter_metadata.f.other",
        "xds.route_metadata.filter_metadata.other",
        "xds.virtual_host_metadata.filter_metadata.f.on",
        "xds.cluster_metadata.filter_metadata.f.on",
        "xds.cluster_metadata",
        "xds.listener_direction",
        "xds.node.id",
        "xds.node.cluster",
        "xds.node.metadata.role",
        "xds.node.locality.zone",
        "xds.node.more",
        "upstream.transport_failure_reason",
    ];
    let expected = [
        ok(b"gold"),
        ok(&0.5_f64.to_le_bytes()),
        ok(&[1]),
        ok(b"b"),
        missing.clone(),
        missing.clone(),
        ok(b"host"),
        ok(b"cluster"),
        ok(b"\x0a\x16\x0a\x01f\x12\x11\x0a\x0f\x0a\x02on\x12\x09\x1a\x07cluster"),
        ok(&2_u64.to_le_bytes()),
        ok(b"edge-1"),
        ok(b"edge"),
        ok(b"gateway"),
        ok(b"a"),
        missing.clone(),
        missing.clone(),
    ];
    assert_eq!(values("/", &names), expected);

    let names = [
        "xds.cluster_metadata",
        "xds.route_metadata",
        "xds.listener_metadata",
    ];
    let got = values("/direct", &names);
    assert_eq!(got[0], missing);
    assert_eq!(got[1], ok(b""));
    assert_eq!(got[2].0, 0);
    assert!(got[2].1.windows(9).any(|w| w == b"my.filter"));
}

/// What filters read of encrypted connections.
const TLS: [&str; 8] = [
    "tls_version",
    "subject_local_certificate",
    "subject_peer_certificate",
    "uri_san_local_certificate",
    "uri_san_peer_certificate",
    "dns_san_local_certificate",
    "dns_san_peer_certificate",
    "sha256_peer_certificate_digest",
];

#[test]
fn filters_read_what_was_agreed_with_clients() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  tls:
    certificates: [{{ cert: edge.pem, key: edge.key }}]
    client_certificates: {{ ca: ca.pem, required: false }}
  http_filters:
  - {{ name: telling, wasm: {{ vm_config: {{ code: {{ local: {{ filename: telling.wasm }} }} }} }} }}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters: [{{ name: web, endpoints: ['{}'] }}]
",
        upstream.address
    );
    let others = ["mtls", "requested_server_name"];
    let paths: Vec<String> = TLS
        .iter()
        .chain(&others)
        .map(|n| format!("connection.{n}"))
        .collect();
    let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    paths.push("request.scheme");
    let weir = Weir::start_with(&config, |folder| {
        let names = ["edge.example", "b.example", "spiffe://example/edge"];
        authority.issue(&names).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("telling.wasm"), telling(&paths)).unwrap();
    });
    let values = |client: rustls::ClientConfig| {
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "Edge.example", client);
        told(&Client::connect(tunnel.address).get("/").body)
    };
    let text = |text: &str| (0, text.as_bytes().to_vec());
    let missing = (1, Vec::new());
    let known = authority.issue(&["client.example", "spiffe://example/client"]);
    let digest: String = {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(&known.der);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(
        values(authority.client(Some(&known))),
        [
            text("TLSv1.3"),
            text("CN=edge.example,O=Tests"),
            text("CN=client.example,O=Tests"),
            text("spiffe://example/edge"),
            text("spiffe://example/client"),
            text("edge.example"),
            text("client.example"),
            text(&digest),
            (0, vec![1]),
            text("edge.example"),
            text("https"),
        ]
    );
    assert_eq!(
        values(authority.client_of(&[&rustls::version::TLS12], None)),
        [
            text("TLSv1.2"),
            text("CN=edge.example,O=Tests"),
            text(""),
            text("spiffe://example/edge"),
            missing.clone(),
            text("edge.example"),
            missing.clone(),
            missing,
            (0, vec![0]),
            text("edge.example"),
            text("https"),
        ]
    );
}

/// A filter that puts the values at `paths` into headers of the response, `x-0` and so
/// on.
fn annotating(paths: &[&str]) -> Vec<u8> {
    let mut data = String::new();
    let mut calls = String::new();
    for (index, path) in paths.iter().enumerate() {
        let (at, name) = (1024 + 128 * index, 16 + 4 * index);
        let text = path.replace('.', "\\00");
        writeln!(data, "(data (i32.const {at}) \"{text}\")").unwrap();
        writeln!(data, "(data (i32.const {name}) \"x-{index}\")").unwrap();
        writeln!(
            calls,
            "(if (i32.eqz (call $get (i32.const {at}) (i32.const {}) (i32.const 0) (i32.const 4)))
               (then (drop (call $add (i32.const 2) (i32.const {name}) (i32.const 3)
                 (i32.load (i32.const 0)) (i32.load (i32.const 4))))))",
            path.len()
        )
        .unwrap();
    }
    let text = format!(
        r#"(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    {calls}
    (i32.const 0))
  {data})"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn filters_read_what_was_agreed_with_endpoints() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["web.example", "spiffe://example/web"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, true));
    let paths: Vec<String> = TLS.iter().map(|name| format!("upstream.{name}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - {{ name: f, wasm: {{ vm_config: {{ code: {{ local: {{ filename: f.wasm }} }} }} }} }}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- name: web
  endpoints: ['{}']
  tls: {{ ca: ca.pem, sni: web.example, cert: weir.pem, key: weir.key }}
",
        tunnel.address
    );
    let weir = Weir::start_with(&config, |folder| {
        let names = ["weir.example", "spiffe://example/weir"];
        authority.issue(&names).write(folder, "weir");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("f.wasm"), annotating(&paths)).unwrap();
    });
    let mut client = weir.connect();
    // The second request is on the connection that was kept.
    for _ in 0..2 {
        let response = client.get("/");
        let values = (0..TLS.len()).map(|n| response.header(&format!("x-{n}")));
        let mut values: Vec<_> = values.collect();
        assert_eq!(values.pop().flatten().map(str::len), Some(64));
        assert_eq!(
            values,
            [
                Some("TLSv1.3"),
                Some("CN=weir.example,O=Tests"),
                Some("CN=web.example,O=Tests"),
                Some("spiffe://example/weir"),
                Some("spiffe://example/web"),
                Some("weir.example"),
                Some("web.example"),
            ]
        );
    }
    assert_eq!(tunnel.handshakes().len(), 1);
}

/// The paths of docs/properties.md, and what it says of each in `request_headers`.
fn documented() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("../../docs/properties.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| {
        let (path, row) = row.split_once("` |").expect("a row begins with a path");
        let when = row.trim_end_matches('|').rsplit('|').next();
        (path, when.expect("a row has three columns").trim())
    });
    rows.collect()
}

#[test]
fn the_table_of_properties_is_true() {
    let rows = documented();
    assert!(rows.len() > 50, "{rows:?}");
    let paths: Vec<&str> = rows.iter().map(|(path, _)| *path).collect();
    let upstream = Upstream::echo();
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - {{ name: telling, wasm: {{ vm_config: {{ code: {{ local: {{ filename: telling.wasm }} }} }} }} }}
  routes:
  - {{ match: {{ prefix: / }}, cluster: web }}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        upstream.address
    );
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("telling.wasm"), telling(&paths)).unwrap();
    });
    let values = told(&weir.connect().get("/").body);
    assert_eq!(values.len(), rows.len());
    for ((path, when), (status, _)) in rows.into_iter().zip(values) {
        let expected = match when {
            "yes" => 0,
            "later" | "if set" => 1,
            other => panic!("{path}: `{other}` says nothing"),
        };
        assert_eq!(status, expected, "{path} is there {when}");
    }
}

#[test]
fn a_unix_socket_is_the_address_of_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let edge = format!("{}/edge.sock", folder.path().display());
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 'unix:{edge}'
  http_filters:
  - {{ name: telling, wasm: {{ vm_config: {{ code: {{ local: {{ filename: telling.wasm }} }} }} }} }}
"
    );
    let names = [
        "source.address",
        "source.port",
        "destination.address",
        "destination.port",
    ];
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("telling.wasm"), telling(&names)).unwrap();
    });
    let path = (0, edge.into_bytes());
    let missing = (1, Vec::new());
    assert_eq!(
        told(&weir.connect().get("/").body),
        [path.clone(), missing.clone(), path, missing]
    );
}

#[test]
fn filters_read_which_filter_chain_they_are_in() {
    let chain = |name: &str, port: u16| {
        format!(
            "  - {{ name: {name}, match: {{ destination_port: {port} }}, http_filters: \
             [{{ name: tell, wasm: {{ vm_config: {{ code: {{ local: {{ filename: tell.wasm }} }} }} }} }}] }}\n"
        )
    };
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  proxy_protocol: {{}}
  filter_chains:
{}{}",
        chain("first", 81),
        chain("\"\"", 82)
    );
    let module = telling(&["xds.filter_chain_name", "destination.address"]);
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("tell.wasm"), module).unwrap();
    });
    for (port, name) in [(81, "first"), (82, "")] {
        let mut client = weir.connect();
        client.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 7 {port}\r\n"));
        let values = told(&client.get("/").body);
        let destination = format!("192.0.2.2:{port}");
        let expected = [name, &destination].map(|value| (0, value.as_bytes().to_vec()));
        assert_eq!(values, expected);
    }
}
