//! Several filter chains on one listener.

use std::io::{Read, Write};
use std::net::TcpStream;

use weir_conformance::tls::Authority;
use weir_conformance::{
    Client, PATIENCE, Peer, Tunnel, Upstream, Weir, check, direct, eventually, h2,
};

/// A listener `edge` with these keys, and a cluster `web`.
fn config(upstream: &Upstream, keys: &str) -> String {
    format!(
        "workers: 2
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
{keys}
clusters: [{{ name: web, endpoints: ['{}'] }}]
",
        upstream.address
    )
}

/// `filter_chains`, each with its name, what it matches, and what it is besides.
fn chains(chains: &[(&str, &str, &str)]) -> String {
    let chain = |(name, matches, rest): &(&str, &str, &str)| {
        format!("  - {{ name: {name}, match: {{ {matches} }}, {rest} }}\n")
    };
    "  filter_chains:\n".to_owned() + &chains.iter().map(chain).collect::<String>()
}

/// A chain that answers with `body`.
fn answers(body: &str) -> String {
    direct(body)
}

const TLS: &str = "tls: { certificates: [{ cert: edge.pem, key: edge.key }] }";

const NO_CHAIN: &str = "envoy_listener_no_filter_chain_match";

fn raw(weir: &Weir) -> TcpStream {
    let client = TcpStream::connect(weir.listener("edge")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// What comes until the end; a reset is one.
fn rest(mut client: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = client.read_to_end(&mut all);
    all
}

#[test]
fn the_server_name_chooses_the_filter_chain() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let tls = |body: &str| format!("{TLS}, {}", answers(body));
    let keys = chains(&[
        ("exact", "server_names: [a.shop.example]", &tls("exact")),
        (
            "suffix",
            "server_names: [\"*.Shop.example\"]",
            &tls("suffix"),
        ),
        ("any-tls", "transport_protocol: tls", &tls("any-tls")),
        ("plain", "transport_protocol: raw_buffer", &answers("plain")),
    ]);
    let identity = authority.issue(&["a.shop.example", "b.shop.example", "c.example"]);
    let weir = Weir::start_with(&config(&upstream, &keys), |folder| {
        identity.write(folder, "edge");
    });
    for (name, chain) in [
        ("a.shop.example", "exact"),
        ("A.SHOP.example", "exact"),
        ("b.shop.example", "suffix"),
        ("c.example", "any-tls"),
    ] {
        let client = authority.client(None);
        let tunnel = Tunnel::encrypt(weir.listener("edge"), name, client);
        assert_eq!(Client::connect(tunnel.address).get("/").text(), chain);
    }
    assert_eq!(weir.connect().get("/").text(), "plain");
    assert_eq!(weir.metric(NO_CHAIN), 0);
}

#[test]
fn what_the_client_speaks_chooses_the_filter_chain() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let tls = |body: &str| format!("{TLS}, {}", answers(body));
    let keys = chains(&[
        (
            "h2",
            "transport_protocol: tls, application_protocols: [h2]",
            &tls("h2"),
        ),
        ("h2c", "application_protocols: [h2c]", &answers("h2c")),
        (
            "http11",
            "application_protocols: [http/1.1]",
            &answers("http11"),
        ),
        (
            "http10",
            "application_protocols: [http/1.0]",
            &format!("http: {{ http10: true }}, {}", answers("http10")),
        ),
        ("other-tls", "transport_protocol: tls", &tls("other-tls")),
    ]) + "  default_filter_chain: { tcp: { cluster: web } }";
    let weir = Weir::start_with(&config(&upstream, &keys), |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
    });
    for (offered, chain) in [(&["x", "h2"][..], "h2"), (&[][..], "other-tls")] {
        let mut client = authority.client(None);
        client.alpn_protocols = offered
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        if chain == "h2" {
            h2::run(async {
                let mut client = h2::connect(tunnel.address).await;
                let response = h2::get(&mut client, "/", &[]).await.unwrap();
                assert_eq!(response.text(), chain);
            });
        } else {
            assert_eq!(Client::connect(tunnel.address).get("/").text(), chain);
        }
    }
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let response = h2::get(&mut client, "/", &[]).await.unwrap();
        assert_eq!(response.text(), "h2c");
    });
    // In pieces, the first of which are not enough to tell.
    let mut client = weir.connect();
    for piece in ["GE", "T / HTTP", "/1.1\r\nhost: a\r\n", "\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.response().text(), "http11");
    let mut client = weir.connect();
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().text(), "http10");
    // What is not HTTP goes to the cluster as it is.
    let mut client = raw(&weir);
    client.write_all(b"\0\0not http\r\n\r\n").unwrap();
    eventually("it is passed on", || {
        (upstream.connections() == 1).then_some(())
    });
}

#[test]
fn addresses_and_ports_choose_the_filter_chain() {
    let upstream = Upstream::echo();
    let keys = chains(&[
        ("port", "destination_port: 81", &answers("port")),
        (
            "port-and-range",
            "destination_port: 82, prefix_ranges: [192.0.2.0/24]",
            &answers("port-and-range"),
        ),
        ("range", "prefix_ranges: [192.0.2.0/24]", &answers("range")),
        ("host", "prefix_ranges: [192.0.2.9]", &answers("host")),
        (
            "source",
            "source_prefix_ranges: [203.0.113.0/24]",
            &answers("source"),
        ),
        (
            "source-port",
            "source_prefix_ranges: [203.0.113.0/24], source_ports: [7]",
            &answers("source-port"),
        ),
        (
            "local",
            "source_type: same_ip_or_loopback",
            &answers("local"),
        ),
    ]) + "  proxy_protocol: {}\n  default_filter_chain: { "
        + &answers("default")
        + " }";
    let weir = Weir::start(&config(&upstream, &keys));
    for (header, chain) in [
        ("198.51.100.1 198.51.100.2 7 81", "port"),
        ("198.51.100.1 192.0.2.9 7 81", "port"),
        ("198.51.100.1 192.0.2.1 7 82", "port-and-range"),
        // The port has left nothing else.
        ("198.51.100.1 198.51.100.2 7 82", "default"),
        ("198.51.100.1 192.0.2.1 7 80", "range"),
        ("198.51.100.1 192.0.2.9 7 80", "host"),
        ("203.0.113.1 198.51.100.2 8 80", "source"),
        ("203.0.113.1 198.51.100.2 7 80", "source-port"),
        ("198.51.100.1 198.51.100.1 7 80", "local"),
        ("127.0.0.1 198.51.100.1 7 80", "local"),
        ("127.0.0.6 127.0.0.1 7 80", "default"),
        ("198.51.100.1 198.51.100.2 7 80", "default"),
    ] {
        let mut client = weir.connect();
        client.send(format!("PROXY TCP4 {header}\r\n"));
        assert_eq!(client.get("/").text(), chain, "{header}");
    }
}

#[test]
fn a_connection_that_is_for_no_filter_chain_is_closed_and_counted() {
    let upstream = Upstream::echo();
    let keys = chains(&[("plain", "source_ports: [1]", &answers("plain"))]);
    let weir = Weir::start(&config(&upstream, &keys));
    assert!(rest(raw(&weir)).is_empty());
    weir.eventually_metric(NO_CHAIN, 1);
    weir.eventually_metric("envoy_listener_downstream_cx_active", 0);
}

#[test]
fn a_client_that_says_nothing_waits_no_longer_than_it_may() {
    let upstream = Upstream::echo();
    let inspect = |more: &str| {
        let named = chains(&[("named", "server_names: [a.example]", &answers("named"))]);
        let default = "  default_filter_chain: { tcp: { cluster: web } }\n";
        config(
            &upstream,
            &format!("{named}{default}  inspect: {{ timeout: 200ms{more} }}"),
        )
    };
    let weir = Weir::start(&inspect(""));
    assert!(rest(raw(&weir)).is_empty());
    // A record of a handshake of which only the beginning comes.
    let mut client = raw(&weir);
    client.write_all(&[0x16, 3, 1, 1, 0, 1]).unwrap();
    assert!(rest(client).is_empty());
    weir.eventually_metric("envoy_listener_downstream_pre_cx_timeout", 2);
    // One that has gone is not waited for.
    drop(raw(&weir));
    weir.eventually_metric("envoy_listener_downstream_cx_active", 0);
    assert_eq!(upstream.connections(), 0);

    weir.reload_with(&inspect(", continue_on_timeout: true"));
    let _silent = raw(&weir);
    eventually("it is passed on by what is known", || {
        (upstream.connections() == 1).then_some(())
    });
}

#[test]
fn what_has_come_by_then_is_passed_on() {
    let upstream = Upstream::echo();
    let peer = Peer::start(|mut connection| {
        let mut begun = [0; 6];
        connection.read_exact(&mut begun).unwrap();
        connection.write_all(&begun).unwrap();
    });
    let keys = chains(&[("named", "server_names: [a.example]", &answers("named"))])
        + "  default_filter_chain: { tcp: { cluster: web } }\n"
        + "  inspect: { timeout: 100ms, continue_on_timeout: true }";
    let config = config(&upstream, &keys);
    let config = config.replace(&upstream.address.to_string(), &peer.address.to_string());
    let weir = Weir::start(&config);
    let mut client = raw(&weir);
    // The client waits for its answer, and says nothing more.
    let begun = [0x16, 3, 1, 1, 0, 1];
    client.write_all(&begun).unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer, begun);
}

#[test]
fn a_handshake_that_is_too_large_ends_the_connection() {
    let upstream = Upstream::echo();
    let keys = chains(&[("named", "server_names: [a.example]", &answers("named"))])
        + "  default_filter_chain: { tcp: { cluster: web } }";
    let weir = Weir::start(&config(&upstream, &keys));
    let mut client = raw(&weir);
    // A ClientHello of 64 KiB, in records of 4 KiB.
    let record = |first: bool| {
        let mut record = vec![0x16, 3, 1, 0x10, 0];
        record.extend(if first { [1, 0, 0xff, 0xff] } else { [0; 4] });
        record.resize(5 + 0x1000, 0);
        record
    };
    for number in 0..8 {
        if client.write_all(&record(number == 0)).is_err() {
            break;
        }
    }
    assert!(rest(client).is_empty());
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn encrypted_connections_are_passed_on_by_the_name_that_they_ask_for() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["a.example", "b.example"]);
    let inside = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let log = "access_log: { path: stdout, \
               format: \"%REQUESTED_SERVER_NAME% %FILTER_CHAIN_NAME% end\\n\" }";
    let keys = chains(&[(
        "through",
        "server_names: [a.example]",
        &format!("tcp: {{ cluster: inside }}, {log}"),
    )]);
    let config = config(&upstream, &keys).replace(
        "clusters: [",
        &format!(
            "clusters: [{{ name: inside, endpoints: ['{}'] }}, ",
            inside.address
        ),
    );
    let weir = Weir::start(&config);
    let client = |name| Tunnel::encrypt(weir.listener("edge"), name, authority.client(None));
    let through = client("a.example");
    {
        let mut client = Client::connect(through.address);
        assert_eq!(client.get("/").status, 200);
    }
    weir.logged("a.example through end");
    let other = client("b.example");
    drop(Client::connect(other.address));
    assert!(other.handshake(1).is_err());
    weir.eventually_metric(NO_CHAIN, 1);
}

#[test]
fn a_reload_ends_connections_of_the_filter_chains_that_change() {
    let upstream = Upstream::echo();
    let two = |first: &str, second: &str| {
        config(
            &upstream,
            &(chains(&[
                ("first", "destination_port: 81", first),
                ("second", "destination_port: 82", second),
            ]) + "  proxy_protocol: {}"),
        )
    };
    let weir = Weir::start(&two(&answers("one"), &answers("one")));
    let connect = |port: u16| {
        let mut client = weir.connect();
        client.send(format!("PROXY TCP4 192.0.2.1 192.0.2.2 7 {port}\r\n"));
        assert_eq!(client.get("/").text(), "one");
        client
    };
    let (mut first, mut second) = (connect(81), connect(82));
    // Routes are for the next request, whatever it comes on.
    let report = weir.reload_with(&two(&answers("two"), &answers("one")));
    assert!(report.contains("~ route edge/first/default"), "{report}");
    assert_eq!(first.get("/").text(), "two");
    // How HTTP is spoken is for the next connection.
    let second_changed = format!("http: {{ server_name: b }}, {}", answers("two"));
    let report = weir.reload_with(&two(&answers("two"), &second_changed));
    let line = "~ filter chain edge/second: connections drained; http";
    assert!(report.contains(line), "{report}");
    // What there was before serves it to its end.
    let last = second.get("/");
    assert_eq!(last.header("connection"), Some("close"));
    assert_eq!(last.text(), "one");
    assert_eq!(first.get("/").header("connection"), None);
    // A chain that is gone ends its connections, too.
    let one = chains(&[("second", "destination_port: 82", &second_changed)]);
    let one = config(&upstream, &(one + "  proxy_protocol: {}"));
    let report = weir.reload_with(&one);
    let line = "- filter chain edge/first: connections drained";
    assert!(report.contains(line), "{report}");
    assert_eq!(first.get("/").header("connection"), Some("close"));
}

#[test]
fn filter_chains_between_which_nothing_decides_are_refused() {
    let upstream = Upstream::echo();
    let keys = chains(&[
        (
            "first",
            "server_names: [a.example, b.example]",
            &answers("first"),
        ),
        ("second", "server_names: [B.example]", &answers("second")),
    ]);
    let (passed, text) = check(&config(&upstream, &keys), |_| {});
    assert!(!passed);
    let expected =
        "filter chain `second` of listener `edge` matches what filter chain `first` does";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("weir.yaml:8:7"), "{text}");
}

#[test]
fn envoys_filter_chains_are_served_as_they_are() {
    let chain = |name: &str, matches: &str| {
        format!(
            r#"{{"name": "{name}", {matches} "filters": [{{"name": "hcm", "typed_config": {{
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in",
            "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"], "routes": [{{
                "match": {{"prefix": "/"}},
                "direct_response": {{"status": 200, "body": {{"inline_string": "{name}"}}}}}}]}}]}},
            "http_filters": [{{"name": "router", "typed_config": {{
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}}}]}}}}]}}"#
        )
    };
    let first = chain(
        "old",
        r#""filter_chain_match": {"application_protocols": ["http/1.0"]},"#,
    );
    let second = chain(
        "near",
        r#""filter_chain_match": {"prefix_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}],
        "source_type": "SAME_IP_OR_LOOPBACK", "application_protocols": ["http/1.1"]},"#,
    );
    let rest = chain("rest", "");
    let weir = Weir::start_envoy(&format!(
        r#"{{"admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}}}},
        "static_resources": {{"listeners": [{{"name": "edge",
        "address": {{"socket_address": {{"address": "127.0.0.1", "port_value": 0}}}},
        "listener_filters": [{{"name": "http", "typed_config": {{
            "@type": "type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"}}}}],
        "filter_chains": [{first}, {second}], "default_filter_chain": {rest}}}]}}}}"#
    ));
    assert_eq!(weir.connect().get("/").text(), "near");
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let response = h2::get(&mut client, "/", &[]).await.unwrap();
        assert_eq!(response.text(), "rest");
    });
}
