//! Routes and what the connection manager does to requests, through real
//! sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::{Client, Upstream, Weir};

/// A listener with `listener`, lines of YAML, and the cluster `web`.
fn weir(upstream: &Upstream, listener: &str) -> Weir {
    Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n{listener}\nclusters:\n- {{ name: web, endpoints: [\"{}\"] }}\n",
        upstream.address
    ))
}

fn get(client: &mut Client, host: &str, path: &str) -> u16 {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    client.response().status
}

#[test]
fn a_request_takes_the_first_route_of_its_virtual_host() {
    let upstream = Upstream::echo();
    let host = |name: &str, domain: &str, status: u16| {
        format!(
            "  - {{ name: {name}, domains: ['{domain}'], routes: [\
             {{ match: {{ path: /x, headers: [{{ name: x-a, present: true }}] }}, cluster: web }}, \
             {{ match: {{ prefix: / }}, direct_response: {{ status: {status} }} }}] }}\n"
        )
    };
    let hosts = [
        "  virtual_hosts:\n".to_owned(),
        host("shop", "shop.example", 201),
        host("wild", "*.example", 202),
        host("any", "*", 203),
    ];
    let weir = weir(&upstream, &hosts.concat());
    let mut client = weir.connect();
    assert_eq!(get(&mut client, "shop.example", "/x"), 201);
    assert_eq!(get(&mut client, "www.example", "/"), 202);
    assert_eq!(get(&mut client, "shop.example:81", "/"), 203);
    let response = client.get_with("/x", &[("x-a", "")]);
    assert_eq!(response.status, 200);
}

#[test]
fn an_answer_without_an_endpoint_leaves_the_connection_open() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  routes:\n  \
         - { match: { prefix: /tea }, direct_response: { status: 418, body: tea } }\n  \
         - { match: { prefix: /old }, redirect: { path_redirect: /new, response_code: see_other } }",
    );
    let mut client = weir.connect();
    let response = client.get("/tea");
    assert_eq!((response.status, response.text().as_str()), (418, "tea"));
    assert_eq!(response.header("content-type"), Some("text/plain"));
    let response = client.get("/old?q");
    assert_eq!((response.status, response.body.len()), (303, 0));
    assert_eq!(response.header("location"), Some("http://test/new?q"));
    assert_eq!(client.get("/else").status, 404);
    assert!(upstream.requests().is_empty());
}

#[test]
fn rewrites_reach_the_endpoint() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  routes:\n  \
         - match: { path_separated_prefix: /api }\n    \
           cluster: web\n    \
           prefix_rewrite: /v1\n    \
           host_rewrite_header: x-host\n  \
         - match: { regex: '/u/[0-9]+' }\n    \
           cluster: web\n    \
           regex_rewrite: { pattern: '/u/([0-9]+)', substitution: '/users/\\1' }",
    );
    let mut client = weir.connect();
    client.get_with("/api/x?y", &[("x-host", "inner")]);
    client.get("/u/42?y");
    assert_eq!(client.get("/u/42/x").status, 404);
    let requests = upstream.requests();
    assert_eq!(requests[0].path, "/v1/x?y");
    assert_eq!(requests[0].header("host"), Some("inner"));
    assert_eq!(requests[0].header("x-envoy-original-path"), None);
    assert_eq!(requests[1].path, "/users/42?y");
}

#[test]
fn the_edge_tells_the_endpoint_who_the_client_is() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  http: { use_remote_address: true, generate_request_id: true, normalize_path: true }\n  \
           routes: [{ match: { prefix: / }, cluster: web }]",
    );
    let headers = [
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "mine"),
    ];
    weir.connect().get_with("/a/../b", &headers);
    let request = &upstream.requests()[0];
    assert_eq!(request.path, "/b");
    assert_eq!(request.header("x-forwarded-for"), Some("1.2.3.4,127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    let client = request.header("x-envoy-external-address");
    assert_eq!(client, Some("127.0.0.1"));
    assert_eq!(request.header("x-request-id").map(str::len), Some(36));
}

#[test]
fn a_path_that_cannot_be_had_ends_the_connection() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  access_log: { path: stdout }\n  \
           http: { path_with_escaped_slashes_action: unescape_and_redirect }\n  \
           routes: [{ match: { prefix: / }, cluster: web }]",
    );
    let response = weir.connect().get("/a%2Fb?q");
    assert_eq!(response.status, 307);
    assert_eq!(response.header("location"), Some("/a/b?q"));
    let mut client = weir.connect();
    let response = client.get("/a#b");
    assert_eq!((response.status, response.body.len()), (400, 0));
    assert!(client.is_closed());
    assert!(upstream.requests().is_empty());
    weir_conformance::eventually("both are logged", || {
        let log = weir.stdout();
        (log.contains("307 - path_normalization_failed")
            && log.contains("400 - path_with_fragment_rejected"))
        .then_some(())
    });
}

#[test]
fn weights_and_headers_choose_among_clusters() {
    let (a, b) = (Upstream::echo(), Upstream::echo());
    let weir = Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  access_log: {{ path: stdout, format: \"%REQ(:path)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\\n\" }}
  routes:
  - match: {{ prefix: /weighted }}
    weighted_clusters:
    - {{ name: a, weight: 3, request_headers_to_add: [{{ key: x-to, value: a }}] }}
    - {{ name: b, weight: 1, response_headers_to_add: [{{ key: x-from, value: b }}] }}
  - {{ match: {{ prefix: /named }}, cluster_header: X-Cluster }}
clusters:
- {{ name: a, endpoints: [\"{}\"] }}
- {{ name: b, endpoints: [\"{}\"] }}
",
        a.address, b.address
    ));
    let mut client = weir.connect();
    let mut of_b = 0;
    for _ in 0..400 {
        let response = client.get("/weighted");
        of_b += usize::from(response.header("x-from") == Some("b"));
    }
    assert_eq!((a.requests().len(), b.requests().len()), (400 - of_b, of_b));
    assert!((50..150).contains(&of_b), "{of_b}");
    assert_eq!(a.requests()[0].header("x-to"), Some("a"));
    assert_eq!(b.requests()[0].header("x-to"), None);
    let named = |client: &mut Client, name| client.get_with("/named", &[("x-cluster", name)]);
    assert_eq!(named(&mut client, "b").status, 200);
    assert_eq!(b.requests().len(), of_b + 1);
    let response = named(&mut client, "c");
    assert_eq!((response.status, response.body.len()), (503, 0));
    assert!(
        weir.logged("/named 503")
            .contains("/named 503 NC cluster_not_found")
    );
    assert_eq!(client.get("/named").status, 503);
}

#[test]
fn headers_change_from_the_route_to_the_listener() {
    let upstream = Upstream::start(|_| {
        weir_conformance::Answer::with_headers("x-level: endpoint\r\nx-secret: 1\r\n", "")
    });
    let set = |level: &str| {
        format!(
            "request_headers_to_add: [\
             {{ key: x-level, value: {level}, append_action: overwrite_if_exists_or_add }}, \
             {{ key: x-all, value: {level} }}], \
             response_headers_to_add: [\
             {{ key: x-level, value: {level}, append_action: overwrite_if_exists_or_add }}, \
             {{ key: x-all, value: \"{level} %RESPONSE_CODE%\" }}]"
        )
    };
    let weir = Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- {{ name: edge, address: 127.0.0.1:0, {}, request_headers_to_remove: [x-inner], virtual_hosts: [
    {{ name: all, domains: ['*'], {}, response_headers_to_remove: [x-secret], routes: [
      {{ match: {{ prefix: /direct }}, direct_response: {{ status: 201 }}, {} }},
      {{ match: {{ prefix: / }}, cluster: web, prefix_rewrite: /new/, request_headers_to_add: [
        {{ key: x-from, value: \"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQ(:path)% %REQ(x-none)%\" }},
        {{ key: x-none, value: \"%REQ(x-none)%\" }}] }}] }}] }}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        set("listener"),
        set("host"),
        set("route"),
        upstream.address
    ));
    let mut client = weir.connect();
    let response = client.get_with("/x", &[("x-inner", "1"), ("x-level", "client")]);
    let all = |headers: &[(String, String)]| {
        let values = headers.iter().filter(|(name, _)| name == "x-all");
        values.map(|(_, v)| v.clone()).collect::<Vec<_>>()
    };
    let request = &upstream.requests()[0];
    assert_eq!(request.path, "/new/x");
    assert_eq!(request.header("x-from"), Some("127.0.0.1 /x "));
    assert_eq!(request.header("x-none"), None);
    assert_eq!(request.header("x-inner"), None);
    assert_eq!(request.header("x-level"), Some("listener"));
    assert_eq!(all(&request.headers), ["host", "listener"]);
    assert_eq!(response.header("x-secret"), None);
    assert_eq!(response.header("x-level"), Some("listener"));
    assert_eq!(all(&response.headers), ["host 200", "listener 200"]);
    let response = client.get("/direct");
    let levels = ["route 201", "host 201", "listener 201"];
    assert_eq!(all(&response.headers), levels);
}

#[test]
fn methods_queries_and_templates_choose_a_route() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  routes:\n  \
         - { match: { prefix: /, methods: [PUT, PATCH] }, direct_response: { status: 201 } }\n  \
         - { match: { prefix: /q, query_parameters: [{ name: a, exact: '1' }, { name: b }] }, direct_response: { status: 202 } }\n  \
         - { match: { prefix: /q, query_parameters: [{ name: c, present: false }, { name: d, regex: '[0-9]+' }] }, direct_response: { status: 203 } }\n  \
         - match: { path_template: '/users/{id}/{rest=**}' }\n    \
           cluster: web\n    \
           path_template_rewrite: '/{rest}/of/{id}'\n  \
         - { match: { path_template: '/files/*/raw' }, direct_response: { status: 206 } }",
    );
    let mut client = weir.connect();
    for (method, path, status) in [
        ("PUT", "/any", 201),
        ("GET", "/any", 404),
        ("GET", "/q?a=1&b", 202),
        ("GET", "/q?b=2&a=1&a=2", 202),
        ("GET", "/q?a=2&a=1&b", 404),
        ("GET", "/q?a=1", 404),
        ("GET", "/q?d=7", 203),
        ("GET", "/q?d=7&c", 404),
        ("GET", "/q?d=x", 404),
        ("GET", "/files/a/raw", 206),
        ("GET", "/files/a/b/raw", 404),
        ("GET", "/users/7/a/b?q=1", 200),
    ] {
        let found = client.request(method, path, &[], b"").status;
        assert_eq!(found, status, "{method} {path}");
    }
    assert_eq!(upstream.requests()[0].path, "/a/b/of/7?q=1");
}
