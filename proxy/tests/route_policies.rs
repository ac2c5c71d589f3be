//! Copies of requests, CORS, and limits of single routes, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::guests::response_marker;
use weir_conformance::{Answer, Upstream, Weir, eventually};

/// A listener with a filter that marks responses, `routes`, and the clusters `web` and
/// `shadow`.
fn weir(web: &Upstream, shadow: &Upstream, routes: &str) -> Weir {
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  buffer_limit: 64KiB
  access_log: {{ path: stdout, format: \"%REQ(:method)% %REQ(:path)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\" }}
  http_filters:
  - name: marker
    wasm: {{ vm_config: {{ code: {{ local: {{ filename: marker.wasm }} }} }} }}
  routes:
{routes}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
- {{ name: shadow, endpoints: [\"{}\"] }}
",
        web.address, shadow.address
    );
    Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("marker.wasm"), response_marker("1")).unwrap();
    })
}

#[test]
fn a_copy_goes_to_the_mirror_and_nobody_waits_for_it() {
    let web = Upstream::echo();
    let shadow = Upstream::start(|_| Answer::Silence);
    let weir = weir(
        &web,
        &shadow,
        "  - match: { prefix: /none }
    cluster: web
    request_mirror_policies: [{ cluster: shadow, fraction: 0% }]
  - match: { prefix: / }
    cluster: web
    prefix_rewrite: /new/
    request_mirror_policies: [{ cluster: shadow }]",
    );
    let mut client = weir.connect();
    let response = client.request("POST", "/x", &[("x-a", "1")], b"body");
    assert!(response.text().ends_with("\n\nbody"));
    let copy = eventually("the copy has come", || shadow.requests().into_iter().next());
    assert_eq!(
        (copy.method.as_str(), copy.path.as_str()),
        ("POST", "/new/x")
    );
    assert_eq!(copy.header("host"), Some("test-shadow"));
    assert_eq!(copy.header("x-a"), Some("1"));
    assert_eq!(copy.body, b"body");
    assert_eq!(web.requests()[0].header("host"), Some("test"));
    // Too long to be kept: it goes on, and no copy does.
    let long = vec![b'x'; 100 * 1024];
    assert_eq!(client.request("POST", "/long", &[], &long).status, 200);
    weir.eventually_metric("envoy_cluster_retry_or_shadow_abandoned", 1);
    assert_eq!(client.get("/none").status, 200);
    client.get("/last");
    eventually("the next copy has come", || {
        (shadow.requests().len() == 2).then_some(())
    });
    assert_eq!(shadow.requests()[1].path, "/new/last");
}

#[test]
fn a_mirror_that_is_not_there_costs_nothing() {
    let web = Upstream::echo();
    let shadow = Upstream::start(|_| Answer::RawThenClose(Vec::new()));
    let weir = weir(
        &web,
        &shadow,
        "  - { match: { prefix: / }, cluster: web, request_mirror_policies: [{ cluster: shadow, disable_shadow_host_suffix_append: true }] }",
    );
    let mut client = weir.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/x").status, 200);
    }
    eventually("all copies have come", || {
        (shadow.requests().len() == 5).then_some(())
    });
    assert_eq!(shadow.requests()[0].header("host"), Some("test"));
}

const CORS: &str = "  - match: { prefix: / }
    cluster: web
    cors:
      allow_origin_string_match: [{ exact: 'https://a.example' }, { suffix: .b.example, ignore_case: true }]
      allow_methods: 'GET, PUT'
      allow_headers: x-token
      expose_headers: x-total
      max_age: 10m
      allow_credentials: true";

#[test]
fn a_preflight_is_answered_before_filters() {
    let web = Upstream::echo();
    let weir = weir(&web, &web, CORS);
    let mut client = weir.connect();
    let ask = |client: &mut weir_conformance::Client, origin: &str, method: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
        ];
        let headers = if method.is_empty() {
            &headers[..1]
        } else {
            &headers[..]
        };
        client.request("OPTIONS", "/x", headers, b"")
    };
    let response = ask(&mut client, "https://a.example", "PUT");
    assert_eq!((response.status, response.body.len()), (200, 0));
    for (name, value) in [
        ("access-control-allow-origin", Some("https://a.example")),
        ("access-control-allow-methods", Some("GET, PUT")),
        ("access-control-allow-headers", Some("x-token")),
        ("access-control-max-age", Some("600")),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-expose-headers", Some("x-total")),
        ("x-version", None),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    assert!(
        weir.logged("OPTIONS /x 200")
            .contains("200 - cors_response")
    );
    assert!(web.requests().is_empty());
    // Not of an origin that is allowed, or no preflight.
    ask(&mut client, "https://c.example", "PUT");
    ask(&mut client, "https://a.example", "");
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn responses_to_pages_of_other_origins_are_marked() {
    let web = Upstream::start(|_| Answer::with_headers("access-control-allow-origin: *\r\n", "x"));
    let weir = weir(&web, &web, CORS);
    let mut client = weir.connect();
    let response = client.get_with("/x", &[("origin", "http://x.B.example")]);
    for (name, value) in [
        ("access-control-allow-origin", Some("http://x.B.example")),
        ("access-control-expose-headers", Some("x-total")),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-allow-methods", None),
        ("x-version", Some("1")),
    ] {
        assert_eq!(response.header(name), value, "{name}");
    }
    let response = client.get_with("/x", &[("origin", "https://c.example")]);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("access-control-expose-headers"), None);
}

#[test]
fn a_body_that_is_too_large_for_its_route_is_refused() {
    let web = Upstream::echo();
    let weir = weir(
        &web,
        &web,
        "  - { match: { prefix: / }, cluster: web, max_request_bytes: 4 }",
    );
    let mut client = weir.connect();
    assert_eq!(client.request("POST", "/x", &[], b"1234").status, 200);
    assert_eq!(client.request("POST", "/x", &[], b"12345").status, 413);
    assert!(client.is_closed());
    let mut client = weir.connect();
    client.send("POST /y HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.send("3\r\ndef\r\n0\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (413, "Payload Too Large")
    );
    let line = weir.logged("POST /y 413");
    assert!(line.contains("413 - request_payload_too_large"), "{line}");
}

#[test]
fn a_stream_ends_when_it_has_taken_as_long_as_it_may() {
    let web = Upstream::start(|request| match request.path.as_str() {
        "/begun" => Answer::Raw(b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\npart".to_vec()),
        _ => Answer::Silence,
    });
    let weir = weir(
        &web,
        &web,
        "  - { match: { prefix: / }, cluster: web, timeout: 0, max_stream_duration: 100ms }",
    );
    let response = weir.connect().get("/x");
    assert_eq!(response.status, 504);
    assert_eq!(response.text(), "downstream duration timeout");
    assert!(
        weir.logged("GET /x 504")
            .contains("504 - max_duration_timeout")
    );
    let mut client = weir.connect();
    client.send("GET /begun HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(client.try_response(false).is_err());
    let mut client = weir.connect();
    client.send("POST /open HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n");
    assert_eq!(client.response().status, 408);
}
