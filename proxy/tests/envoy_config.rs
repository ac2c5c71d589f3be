//! Weir on Envoy's own bootstrap, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::process::{Command, Output};

use weir_conformance::{Upstream, Weir};

/// A bootstrap whose connection manager has the lines of `manager`, filters
/// and routes as given, each with its indentation.
fn bootstrap(upstream: &Upstream, manager: &str, filters: &str, routes: &str) -> String {
    let port = upstream.address.port();
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: edge
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
          generate_request_id: false
{manager}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{routes}
          http_filters:
{filters}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }} }}] }}]
"#
    )
}

const TO_WEB: &str = "              - { match: { prefix: / }, route: { cluster: web } }";

fn wasm(filename: &str) -> String {
    format!(
        r#"          - name: envoy.filters.http.wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: hello
                vm_config: {{ runtime: envoy.wasm.runtime.v8, code: {{ local: {{ filename: "{filename}" }} }} }}
                configuration:
                  "@type": type.googleapis.com/google.protobuf.StringValue
                  value: '{{"request": "from Envoy", "response": "to Envoy"}}'"#
    )
}

#[test]
fn a_bootstrap_with_a_filter_is_served() {
    let upstream = Upstream::echo();
    let hello = weir_conformance::filter("hello");
    let filters = wasm(&hello.display().to_string());
    let routes = "              - { match: { path: /tea }, direct_response: { status: 418, body: { inline_string: tea } } }\n              \
                  - { match: { prefix: /old }, redirect: { prefix_rewrite: /new, response_code: FOUND } }\n              \
                  - { match: { prefix: /api/ }, route: { cluster: web, prefix_rewrite: /, host_rewrite_literal: web.internal } }\n";
    let weir = Weir::start_envoy(&bootstrap(&upstream, "", &filters, routes));
    let mut client = weir.connect();

    let response = client.get("/api/x?y");
    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-hello"), Some("to Envoy"));
    let text = response.text();
    assert!(text.starts_with("GET /x?y\n"), "{text}");
    assert!(text.contains("host: web.internal\n"), "{text}");
    assert!(text.contains("x-hello: from Envoy\n"), "{text}");
    assert!(text.contains("x-envoy-original-path: /api/x?y\n"), "{text}");

    let response = client.get("/tea");
    assert_eq!((response.status, response.text().as_str()), (418, "tea"));
    assert_eq!(response.header("x-hello"), Some("to Envoy"));

    let response = client.get("/old/x?y");
    assert_eq!(response.status, 302);
    assert_eq!(response.header("location"), Some("http://test/new/x?y"));

    assert_eq!(client.get("/else").status, 404);
    assert!(weir.stdout().is_empty());
}

fn weir(args: &[&str], bootstrap: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("envoy.yaml"), bootstrap).unwrap();
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .current_dir(folder.path())
        .env("WEIR_LOG", "off")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_missing_module_is_told_with_its_line_in_the_bootstrap() {
    let upstream = Upstream::echo();
    let bootstrap = bootstrap(&upstream, "", &wasm("none.wasm"), TO_WEB);
    let output = weir(&["check", "--envoy", "envoy.yaml"], &bootstrap);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(
        told.starts_with("error: envoy.yaml:27:89: cannot read the module ./none.wasm"),
        "{told}"
    );
}

#[test]
fn what_is_outside_of_the_subset_is_refused_or_passed_over() {
    let upstream = Upstream::echo();
    let bootstrap = bootstrap(&upstream, "          tracing: { provider: {} }", "", TO_WEB);
    let output = weir(&["check", "--envoy", "envoy.yaml"], &bootstrap);
    assert!(!output.status.success());
    let place = "envoy.yaml:14:11: static_resources.listeners[0].filter_chains[0].filters[0]\
                 .typed_config.tracing is not supported";
    assert!(text(&output.stderr).starts_with(&format!("error: {place}\n")));

    let output = weir(&["check", "--lenient", "--envoy", "envoy.yaml"], &bootstrap);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        "envoy.yaml: ok: 1 listener, 0 filters, 1 cluster\n"
    );
    assert!(text(&output.stderr).starts_with(&format!("warning: {place}: passed over\n")));
}

#[test]
fn what_is_passed_over_is_told_before_what_is_wrong() {
    let upstream = Upstream::echo();
    let routes = "              - { match: { prefix: / }, route: { cluster_specifier_plugin: x } }\n              \
                  - { match: { prefix: /, grpc: {} }, route: { cluster: web } }";
    let bootstrap = bootstrap(&upstream, "          tracing: { provider: {} }", "", routes);
    let output = weir(&["check", "--lenient", "--envoy", "envoy.yaml"], &bootstrap);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    let starts: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("warning: ") || line.starts_with("error: "))
        .map(|line| line.rsplit("].").next().unwrap())
        .collect();
    assert_eq!(
        starts,
        [
            "typed_config.tracing is not supported: passed over",
            "routes[0] answers with 503",
            "route.cluster_specifier_plugin is not supported: passed over",
            "match.grpc is not supported",
        ]
    );
}

#[test]
fn a_route_with_an_unknown_action_answers_with_503() {
    let upstream = Upstream::echo();
    let routes = "              - { match: { prefix: /a }, route: { cluster_specifier_plugin: x } }\n              \
                  - { match: { prefix: / }, route: { cluster: web } }";
    let bootstrap = bootstrap(&upstream, "", "", routes);
    let output = weir(&["import", "--lenient", "envoy.yaml"], &bootstrap);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let weir = Weir::start(&text(&output.stdout));
    let mut client = weir.connect();
    assert_eq!(client.get("/a").status, 503);
    assert_eq!(client.get("/b").status, 200);
}

#[test]
fn an_imported_bootstrap_is_a_configuration_of_weir() {
    let upstream = Upstream::echo();
    let bootstrap = bootstrap(&upstream, "", "", TO_WEB);
    let output = weir(&["import", "envoy.yaml"], &bootstrap);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let weir = Weir::start(&text(&output.stdout));
    assert_eq!(weir.connect().get("/").status, 200);
}

#[test]
fn lenience_is_for_bootstraps_only() {
    let output = weir(&["check", "--lenient", "envoy.yaml"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--envoy"));
}
