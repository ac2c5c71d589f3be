//! TLS towards endpoints, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use bytes::Bytes;
use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{Client, Tunnel, Upstream, Weir, check, eventually, h2};

/// A listener `edge` before a cluster at `endpoint`, with further keys and this `tls`.
fn config(endpoint: &str, keys: &str, tls: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  access_log:
    path: stdout
    format: \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON% \\
      %UPSTREAM_TLS_VERSION% %UPSTREAM_PEER_DNS_SAN% %UPSTREAM_LOCAL_SUBJECT%\\n\"
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- name: web
  endpoints: ['{endpoint}']
{keys}  tls: {tls}
"
    )
}

/// Believes `authority`, and is `client`, if that is anybody.
fn weir(config: &str, authority: &Authority, client: Option<&Identity>) -> Weir {
    Weir::start_with(config, |folder| {
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        if let Some(client) = client {
            client.write(folder, "client");
        }
    })
}

/// Waits until the access log has said this.
fn told(weir: &Weir, text: &str) {
    eventually(text, || weir.stdout().contains(text).then_some(()));
}

#[test]
fn requests_go_out_encrypted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let config = config(&tunnel.address.to_string(), "", "{ ca: ca.pem }");
    let weir = weir(&config, &authority, None);
    let mut client = weir.connect();
    for _ in 0..3 {
        let response = client.request("POST", "/a", &[], &vec![b'x'; 1 << 20]);
        assert_eq!(response.status, 200);
        assert!(response.body.len() > 1 << 20);
    }
    // One connection, which is kept; an address is not asked for by name.
    assert_eq!(tunnel.handshakes().len(), 1);
    let agreed = tunnel.agreed();
    assert_eq!((agreed.alpn, agreed.server_name), (None, None));
    assert_eq!(weir.metric("envoy_cluster_ssl_handshake"), 1);
    assert_eq!(weir.metric("envoy_cluster_upstream_cx_total"), 1);
    told(&weir, "TLSv1.3");
}

#[test]
fn an_endpoint_is_asked_for_by_its_name() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["localhost"]);
    let mut server = authority.server(&identity, false);
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tunnel = Tunnel::decrypt(upstream.address, server);
    let endpoint = format!("localhost:{}", tunnel.address.port());
    let keys = "  type: strict_dns\n  dns_lookup_family: v4_only\n";
    let weir = weir(&config(&endpoint, keys, "{ ca: ca.pem }"), &authority, None);
    assert_eq!(weir.connect().get("/").status, 200);
    let agreed = tunnel.agreed();
    assert_eq!(agreed.server_name.as_deref(), Some("localhost"));
    assert_eq!(agreed.alpn.as_deref(), Some("http/1.1"));
    told(&weir, "TLSv1.3 localhost");
}

/// What a request comes to that goes to an endpoint with this certificate.
fn verified(tls: &str, authority: &Authority, identity: &Identity) -> (u16, String, Weir) {
    let upstream = Upstream::echo();
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(identity, false));
    let config = config(&tunnel.address.to_string(), "", tls);
    let weir = weir(&config, authority, None);
    let response = weir.connect().get("/");
    if response.status == 200 {
        assert_eq!(tunnel.handshakes().len(), 1);
    }
    (response.status, response.text(), weir)
}

#[test]
fn an_endpoint_that_is_not_the_right_one_gets_no_request() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let right = authority.issue(&["web.example", "spiffe://example/web"]);
    let expired = authority.issue_with(&["web.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    });
    let stranger = other.issue(&["web.example"]);
    let (good, bad, name) = (None, Some("fail_verify_error"), Some("fail_verify_san"));
    for (tls, identity, failure) in [
        ("{ ca: ca.pem, sni: web.example }", &right, good),
        ("{ ca: ca.pem, sni: other.example }", &right, name),
        ("{ ca: ca.pem }", &right, name),
        ("{ ca: ca.pem, sni: web.example }", &stranger, bad),
        ("{ ca: ca.pem, sni: web.example }", &expired, bad),
        ("{ sni: web.example }", &right, bad),
        ("{ ca: ca.pem, verify: chain }", &right, good),
        ("{ ca: ca.pem, verify: chain }", &stranger, bad),
        ("{ verify: none }", &stranger, good),
        (
            "{ ca: ca.pem, match_subject_alt_names: [{ exact: web.example }] }",
            &right,
            good,
        ),
        (
            "{ ca: ca.pem, match_subject_alt_names: [{ san_type: uri, prefix: 'spiffe://example/' }] }",
            &right,
            good,
        ),
        (
            "{ ca: ca.pem, match_subject_alt_names: [{ exact: other.example }] }",
            &right,
            name,
        ),
        (
            "{ ca: ca.pem, match_subject_alt_names: [{ exact: web.example }] }",
            &stranger,
            bad,
        ),
    ] {
        let (status, text, weir) = verified(tls, &authority, identity);
        let Some(failure) = failure else {
            assert_eq!(status, 200, "{tls}: {text}");
            continue;
        };
        assert_eq!(status, 503, "{tls}");
        let expected = "upstream connect error or disconnect/reset before headers. reset reason: \
                        remote connection failure";
        assert_eq!(text, expected, "{tls}");
        assert_eq!(
            weir.metric(&format!("envoy_cluster_ssl_{failure}")),
            1,
            "{tls}: {text}"
        );
        assert_eq!(weir.metric("envoy_cluster_upstream_cx_connect_fail"), 1);
        let line = eventually("the line of the access log", || {
            let line = weir.stdout();
            line.ends_with('\n').then_some(line)
        });
        let details = "upstream_reset_before_response_started{remote_connection_failure|\
                       TLS_error:|invalid_peer_certificate:_";
        assert!(line.contains(&format!(" {details}")), "{line}");
        assert!(
            line.contains(":TLS_error_end} TLS_error:|invalid_peer_cert"),
            "{line}"
        );
    }
}

#[test]
fn an_endpoint_learns_who_this_is() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["127.0.0.1"]);
    let client = authority.issue(&["weir.example"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, true));
    let endpoint = tunnel.address.to_string();
    let tls = "{ ca: ca.pem, cert: client.pem, key: client.key }";
    let with = weir(&config(&endpoint, "", tls), &authority, Some(&client));
    assert_eq!(with.connect().get("/").status, 200);
    assert_eq!(tunnel.agreed().peer.unwrap(), client.der);
    told(&with, "CN=weir.example,O=Tests");
    let expiration = "weir_tls_certificate_expiration_timestamp_seconds";
    assert!(with.metric_of(expiration, "certificate=\"client.pem\"") > 0);

    let without = weir(&config(&endpoint, "", "{ ca: ca.pem }"), &authority, None);
    assert_eq!(without.connect().get("/").status, 503);
    assert!(tunnel.handshake(2).is_err());
}

#[test]
fn sessions_with_endpoints_are_resumed() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let keys = "  max_requests_per_connection: 1\n";
    let config = config(&tunnel.address.to_string(), keys, "{ ca: ca.pem }");
    let weir = weir(&config, &authority, None);
    let mut client = weir.connect();
    for count in 1..=4 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(tunnel.handshake(count).unwrap().resumed, count > 1);
    }
    assert_eq!(weir.metric("envoy_cluster_ssl_session_reused"), 3);
}

#[test]
fn settings_that_differ_share_no_connection() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["127.0.0.1", "a.example", "b.example"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  routes: [{{ match: {{ prefix: /a }}, cluster: a }}, {{ match: {{ prefix: /b }}, cluster: b }}]
clusters:
- {{ name: a, endpoints: ['{address}'], tls: {{ ca: ca.pem, sni: a.example }} }}
- {{ name: b, endpoints: ['{address}'], tls: {{ ca: ca.pem, sni: b.example }} }}
",
        address = tunnel.address
    );
    let weir = weir(&config, &authority, None);
    let mut client = weir.connect();
    for path in ["/a", "/b", "/a", "/b"] {
        assert_eq!(client.get(path).status, 200);
    }
    let asked = || -> Vec<_> {
        let handshakes = tunnel.handshakes().into_iter();
        handshakes
            .map(|h| h.unwrap().server_name.unwrap())
            .collect()
    };
    assert_eq!(asked(), ["a.example", "b.example"]);

    // What stays as it is keeps its connections; what verifies otherwise does not.
    weir.reload_with(&config.replace("sni: b.example", "sni: b.example, verify: chain"));
    for path in ["/a", "/b"] {
        assert_eq!(client.get(path).status, 200);
    }
    assert_eq!(asked(), ["a.example", "b.example", "b.example"]);

    // So does what its files make of it.
    let more = [authority.pem(), Authority::new("more").pem()].concat();
    weir.replace("ca.pem", more.as_bytes());
    let report = weir.reload().text();
    assert!(report.contains("~ cluster a: tls\n"), "{report}");
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(asked().len(), 4);
}

#[test]
fn http2_goes_out_encrypted() {
    let authority = Authority::new("ca");
    let upstream = h2::H2Upstream::start(|request, mut respond| async move {
        let response = http::Response::new(());
        let mut body = respond.send_response(response, false).unwrap();
        let text = request.uri().path().to_owned();
        body.send_data(Bytes::from(text), true).unwrap();
    });
    let identity = authority.issue(&["127.0.0.1"]);
    let mut server = authority.server(&identity, false);
    server.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let tunnel = Tunnel::decrypt(upstream.address, server);
    let endpoint = tunnel.address.to_string();
    let keys = "  protocol: http2\n";
    let weir = weir(&config(&endpoint, keys, "{ ca: ca.pem }"), &authority, None);
    let mut client = weir.connect();
    for path in ["/a", "/b"] {
        assert_eq!(client.get(path).text(), path);
    }
    assert_eq!(tunnel.agreed().alpn.as_deref(), Some("h2"));
    assert_eq!(tunnel.handshakes().len(), 1);

    // An endpoint that chooses something else is not spoken to.
    let tls = "{ ca: ca.pem, alpn: [http/1.1] }";
    weir.reload_with(&config(&endpoint, keys, tls));
    let response = client.get("/a");
    assert_eq!(response.status, 503);
    let chosen = "the_endpoint_has_chosen_a_protocol_that_the_cluster_does_not_speak";
    told(&weir, chosen);
}

#[test]
fn connections_of_tcp_go_out_encrypted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let config = config(&tunnel.address.to_string(), "", "{ ca: ca.pem }").replace(
        "routes: [{ match: { prefix: / }, cluster: web }]",
        "tcp: { cluster: web }",
    );
    let weir = weir(&config, &authority, None);
    let mut client = Client::connect(weir.listener("edge"));
    let response = client.request("POST", "/a", &[], &vec![b'x'; 1 << 20]);
    assert_eq!(response.status, 200);
    assert!(response.body.len() > 1 << 20);
    assert_eq!(tunnel.agreed().alpn, None);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    for (tls, expected) in [
        ("{ ca: none.pem }", "cannot read"),
        ("{ sni: 'a b' }", "`a b` is neither a name nor an address"),
        ("{ cert: a.pem }", "`cert` needs `key` beside it"),
        (
            "{ verify: none, ca: a.pem }",
            "`ca` has no effect beside `verify: none`",
        ),
        ("{ verify: maybe }", "`maybe` is not a kind of verification"),
        (
            "{ min_version: 1.3, max_version: 1.2 }",
            "no version is left",
        ),
    ] {
        let (passed, text) = check(&config("127.0.0.1:1", "", tls), |_| {});
        assert!(!passed, "{tls}");
        assert!(text.contains("weir.yaml:14:"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn the_health_of_an_endpoint_is_asked_for_as_it_is_spoken_to() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let checks = "  healthy_panic_threshold: 0\n  health_checks: [{ http: { path: /health }, \
                  timeout: 1s, interval: 50ms, unhealthy_threshold: 1, healthy_threshold: 1 }]\n";
    for (issuer, status) in [(&authority, 200), (&other, 503)] {
        let upstream = Upstream::echo();
        let identity = issuer.issue(&["127.0.0.1"]);
        let tunnel = Tunnel::decrypt(upstream.address, issuer.server(&identity, false));
        let address = tunnel.address.to_string();
        let weir = weir(
            &config(&address, checks, "{ ca: ca.pem }"),
            &authority,
            None,
        );
        // The first check is over by now.
        assert_eq!(weir.connect().get("/").status, status);
        let asked = upstream.requests();
        let asked = asked.iter().any(|request| request.path == "/health");
        assert_eq!(asked, status == 200);
    }
}

#[test]
fn an_ejection_outlives_other_authorities() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let upstream = Upstream::echo();
    let identity = other.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(upstream.address, other.server(&identity, false));
    let detection = "  outlier_detection: { consecutive_5xx: 1, base_ejection_time: 60s, \
                     max_ejection_percent: 100 }\n  healthy_panic_threshold: 0\n";
    let config = config(&tunnel.address.to_string(), detection, "{ ca: ca.pem }");
    let weir = weir(&config, &authority, None);
    assert_eq!(weir.connect().get("/").status, 503);
    weir.eventually_metric("envoy_cluster_outlier_detection_ejections_active", 1);
    // It would be believed now, but has to wait all the same.
    weir.replace("ca.pem", other.pem().as_bytes());
    assert_eq!(weir.reload().status, 200);
    let ejected = weir.metric("envoy_cluster_outlier_detection_ejections_active");
    assert_eq!(ejected, 1);
    assert_eq!(weir.connect().get("/").status, 503);
    assert_eq!(upstream.connections(), 0);
}
