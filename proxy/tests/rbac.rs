//! Policies on requests and connections, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::guests::response_marker;
use weir_conformance::tls::Authority;
use weir_conformance::{Client, Tunnel, Upstream, Weir, eventually};

const ANYTHING: &str = "permissions: [{ any: true }], principals: [{ any: true }]";

/// A listener `edge` with these keys, and the cluster `web`.
fn config(upstream: &Upstream, keys: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  access_log:
    path: stdout
    format: \"%REQ(:path)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% \\
      %CONNECTION_TERMINATION_DETAILS% \\
      %DYNAMIC_METADATA(envoy.filters.http.rbac:shadow_engine_result)%\\n\"
{keys}
clusters:
- {{ name: web, endpoints: ['{}'] }}
",
        upstream.address
    )
}

/// Requests pass these filters on their way to `web`.
fn of_requests(filters: &str) -> String {
    format!("  http_filters:\n{filters}\n  routes: [{{ match: {{ prefix: / }}, cluster: web }}]")
}

/// Waits until the access log has said this.
fn told(weir: &Weir, text: &str) {
    eventually(text, || weir.stdout().contains(text).then_some(()));
}

#[test]
fn what_is_denied_is_answered_between_the_filters() {
    let upstream = Upstream::echo();
    let marker = |name: &str, file: &str| {
        format!(
            "  - {{ name: {name}, wasm: {{ vm_config: {{ code: {{ local: {{ filename: {file} }} }} }} }} }}\n"
        )
    };
    let policies = "  - name: rbac
    rbac:
      rules:
        action: deny
        policies:
          \"no admins\": { permissions: [{ url_path: { prefix: /admin } }], principals: [{ any: true }] }
      shadow_rules_stat_prefix: v2_
      shadow_rules:
        policies:
          mine: { permissions: [{ header: { name: x-mine } }], principals: [{ any: true }] }\n";
    let filters = [
        marker("before", "before.wasm"),
        policies.to_owned(),
        marker("behind", "behind.wasm"),
    ];
    let config = config(&upstream, &of_requests(filters.concat().trim_end()));
    let weir = Weir::start_with(&config, |folder| {
        for name in ["before", "behind"] {
            let module = response_marker(name);
            std::fs::write(folder.join(format!("{name}.wasm")), module).unwrap();
        }
    });
    let mut client = weir.connect();
    let marks = |response: &weir_conformance::Response| {
        let marks = response
            .headers
            .iter()
            .filter(|(_, value)| ["before", "behind"].contains(&value.as_str()));
        marks.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let allowed = client.get_with("/a", &[("x-mine", "1")]);
    assert_eq!(allowed.status, 200);
    assert_eq!(marks(&allowed), ["behind", "before"]);
    let denied = client.request("POST", "/admin?x", &[], b"body");
    assert_eq!(
        (denied.status, denied.text().as_str()),
        (403, "RBAC: access denied")
    );
    assert_eq!(denied.header("content-type"), Some("text/plain"));
    assert_eq!(marks(&denied), ["before"], "the one behind has not seen it");
    assert_eq!(upstream.requests().len(), 1);
    told(
        &weir,
        "/admin?x 403 rbac_access_denied_matched_policy[no_admins] - -\n",
    );
    let edge = "envoy_http_conn_manager_prefix=\"edge\"";
    for (name, count) in [
        ("allowed", 1),
        ("denied", 1),
        ("shadow_allowed", 1),
        ("shadow_denied", 1),
    ] {
        let metric = format!("envoy_http_rbac_{name}");
        assert_eq!(weir.metric_of(&metric, edge), count, "{metric}");
    }
    let stats = weir.admin_get("/stats?filter=rbac").text();
    for line in [
        "http.edge.rbac.allowed: 1\n",
        "http.edge.rbac.denied: 1\n",
        "http.edge.rbac.v2_.shadow_allowed: 1\n",
        "http.edge.rbac.v2_.shadow_denied: 1\n",
    ] {
        assert!(stats.contains(line), "{stats}");
    }
}

#[test]
fn a_reload_puts_other_policies_before_open_connections() {
    let upstream = Upstream::echo();
    let with = |action: &str| {
        let filter = format!(
            "  - {{ name: rbac, rbac: {{ rules: {{ action: {action}, policies: {{ all: {{ {ANYTHING} }} }} }} }} }}"
        );
        config(&upstream, &of_requests(&filter))
    };
    let weir = Weir::start(&with("allow"));
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    let changes = weir.reload_with(&with("deny"));
    assert!(changes.contains("rbac"), "{changes}");
    assert_eq!(client.get("/").status, 403);
    weir.reload_with(&with("log"));
    assert_eq!(client.get("/").status, 200);
    assert_eq!(weir.metric("envoy_http_rbac_allowed"), 2);
    assert_eq!(weir.metric("envoy_http_rbac_denied"), 1);
}

#[test]
fn routes_have_policies_of_their_own() {
    let upstream = Upstream::echo();
    let keys = format!(
        "  http_filters:
  - {{ name: rbac, rbac: {{ rules: {{}} }} }}
  virtual_hosts:
  - name: all
    domains: ['*']
    filters: {{ rbac: {{ rbac: {{ rules: {{ policies: {{ all: {{ {ANYTHING} }} }} }} }} }} }}
    routes:
    - {{ match: {{ prefix: /none }}, cluster: web, filters: {{ rbac: {{ rbac: {{ rules: {{}} }} }} }} }}
    - {{ match: {{ prefix: /off }}, cluster: web, filters: {{ rbac: {{ disabled: true }} }} }}
    - {{ match: {{ prefix: /own }}, cluster: web, filters: {{ rbac: {{ disabled: false }} }} }}
    - {{ match: {{ prefix: / }}, cluster: web }}"
    );
    let weir = Weir::start(&config(&upstream, &keys));
    let mut client = weir.connect();
    for (path, status) in [("/none", 403), ("/off", 200), ("/own", 403), ("/", 200)] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    assert_eq!(weir.metric("envoy_http_rbac_denied"), 2);
    assert_eq!(weir.metric("envoy_http_rbac_allowed"), 1);
}

const PRINCIPAL: &str = "rules: { policies: { web: { permissions: [{ any: true }], principals: \
    [{ authenticated: { principal_name: { exact: spiffe://mesh/ns/shop/sa/web } } }] } } }";

/// What a client of each name is answered with, or nothing.
fn by_name(weir: &Weir, authority: &Authority) -> Vec<Option<u16>> {
    let names = [
        "spiffe://mesh/ns/shop/sa/web",
        "spiffe://mesh/ns/shop/sa/other",
    ];
    let answer = |name: &&str| {
        let identity = authority.issue(&[name]);
        let client = authority.client(Some(&identity));
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        let mut client = Client::connect(tunnel.address);
        client.send("GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
        client
            .try_response(false)
            .ok()
            .map(|response| response.status)
    };
    names.iter().map(answer).collect()
}

fn encrypted(upstream: &Upstream, authority: &Authority, keys: &str) -> Weir {
    let tls = "  tls: { certificates: [{ cert: edge.pem, key: edge.key }], \
               client_certificates: { ca: ca.pem } }\n";
    Weir::start_with(&config(upstream, &format!("{tls}{keys}")), |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    })
}

#[test]
fn requests_are_judged_by_the_certificate_of_their_client() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let filter = format!("  - {{ name: rbac, rbac: {{ {PRINCIPAL} }} }}");
    let weir = encrypted(&upstream, &authority, &of_requests(&filter));
    assert_eq!(by_name(&weir, &authority), [Some(200), Some(403)]);
    told(
        &weir,
        "/x 403 rbac_access_denied_matched_policy[none] - -\n",
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn connections_that_are_passed_on_are_judged_first() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let keys = format!(
        "  network_filters: [{{ name: rbac, rbac: {{ stat_prefix: mesh, {PRINCIPAL} }} }}]
  tcp: {{ cluster: web }}"
    );
    let weir = encrypted(&upstream, &authority, &keys);
    assert_eq!(by_name(&weir, &authority), [Some(200), None]);
    told(&weir, " - rbac_access_denied_matched_policy[none] -\n");
    // Whoever is denied does not get as far as the endpoint.
    assert_eq!(upstream.connections(), 1);
    let mesh = "envoy_rbac_prefix=\"mesh\"";
    assert_eq!(weir.metric_of("envoy_rbac_allowed", mesh), 1);
    assert_eq!(weir.metric_of("envoy_rbac_denied", mesh), 1);
    let stats = weir.admin_get("/stats?filter=rbac").text();
    assert!(stats.contains("mesh.rbac.denied: 1\n"), "{stats}");
}

#[test]
fn connections_of_http_are_judged_before_they_are_served() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let keys = format!(
        "  network_filters: [{{ name: rbac, rbac: {{ {PRINCIPAL} }} }}]
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]"
    );
    let weir = encrypted(&upstream, &authority, &keys);
    assert_eq!(by_name(&weir, &authority), [Some(200), None]);
    assert_eq!(
        weir.metric_of("envoy_rbac_denied", "envoy_rbac_prefix=\"rbac\""),
        1
    );
}

#[test]
fn policies_stand_behind_filters_of_connections() {
    let upstream = Upstream::echo();
    let module = weir_conformance::guests::connection_reader();
    let keys = format!(
        "  network_filters:
  - {{ name: reads, wasm: {{ vm_config: {{ code: {{ local: {{ filename: f.wasm }} }} }} }} }}
  - {{ name: rbac, rbac: {{ rules: {{ action: deny, policies: {{ all: {{ {ANYTHING} }} }} }} }} }}
  tcp: {{ cluster: web }}"
    );
    let weir = Weir::start_with(&config(&upstream, &keys), |folder| {
        std::fs::write(folder.join("f.wasm"), wat::parse_str(module).unwrap()).unwrap();
    });
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(client.try_response(false).is_err());
    told(&weir, "rbac_access_denied_matched_policy[all]");
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn cors_has_its_place_among_the_filters() {
    let upstream = Upstream::echo();
    let keys = format!(
        "  http_filters:
  - {{ name: rbac, rbac: {{ rules: {{ action: deny, policies: {{ no: {{ permissions: [{{ url_path: {{ prefix: /no }} }}], principals: [{{ any: true }}] }} }} }} }} }}
  - {{ name: cors, cors: true }}
  routes:
  - match: {{ prefix: / }}
    cluster: web
    cors: {{ allow_origin_string_match: [{{ exact: 'https://a.test' }}], allow_methods: GET }}"
    );
    let weir = Weir::start(&config(&upstream, &keys));
    let mut client = weir.connect();
    let origin = ("origin", "https://a.test");
    let preflight = [origin, ("access-control-request-method", "GET")];
    let marked = |response: &weir_conformance::Response| {
        let origin = response.header("access-control-allow-origin");
        origin.map(str::to_owned)
    };
    let denied = client.request("OPTIONS", "/no", &preflight, b"");
    assert_eq!((denied.status, marked(&denied)), (403, None));
    let allowed = client.request("OPTIONS", "/x", &preflight, b"");
    assert_eq!(
        (allowed.status, marked(&allowed).as_deref()),
        (200, Some("https://a.test"))
    );
    assert_eq!(upstream.requests().len(), 0);
    let response = client.get_with("/x", &[origin]);
    assert_eq!(marked(&response).as_deref(), Some("https://a.test"));
}
