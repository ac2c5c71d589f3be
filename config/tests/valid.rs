//! What a correct file means.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use weir_config::{
    ByteSize, Code, Config, Destination, LogPath, PathMatch, RouteAction, Span, VerifyKey, defaults,
};

fn parse(text: &str) -> Config {
    weir_config::parse("weir.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

const FULL: &str = r#"
workers: 2
admin: { address: 127.0.0.1:9901 }
drain_timeout: 1m
listeners:
  - name: edge
    address: "[::1]:8443"
    access_log: { path: /var/log/weir/edge.log }
    http_filters:
      - name: auth
        wasm: { vm_config: { code: { local: { filename: auth.wasm } } } }
      - name: log
        wasm: { vm_config: { code: { local: { filename: log.wasm } } } }
    routes:
      - match: { prefix: /api }
        cluster: api
        timeout: 0.25s
      - { match: { prefix: / }, cluster: web }
      - { match: { prefix: /never }, cluster: web, timeout: 0 }
  - name: inner
    address: 127.0.0.1:0
    access_log: { path: stdout }
clusters:
  - name: api
    endpoints: ["127.0.0.1:9000", "[::1]:9000"]
    connect_timeout: 250ms
  - { name: web, endpoints: [127.0.0.1:9001] }
"#;

#[test]
fn every_key_of_the_proxy_is_read() {
    let config = parse(FULL);
    assert_eq!(config.workers.map(Into::into), Some(2_usize));
    assert_eq!(
        config.admin.as_ref().unwrap().address.to_string(),
        "127.0.0.1:9901"
    );
    assert_eq!(config.drain_timeout, Duration::from_secs(60));

    let edge = &config.listeners[0];
    assert_eq!(edge.name.value, "edge");
    assert_eq!(edge.address.to_string(), "[::1]:8443");
    let path = &edge.filter_chains[0].access_log[0].path.value;
    assert_eq!(path, &LogPath::File("/var/log/weir/edge.log".into()));
    let names: Vec<_> = edge.filter_chains[0]
        .http_filters
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(names, ["auth", "log"]);

    let routes: Vec<_> = edge.filter_chains[0]
        .routes()
        .map(|route| {
            let PathMatch::Prefix(prefix) = &route.matches.path.value else {
                panic!("{route:?}")
            };
            let RouteAction::Forward(forward) = &route.action else {
                panic!("{route:?}")
            };
            let Destination::Cluster(cluster) = &forward.destination else {
                panic!("{route:?}")
            };
            (prefix.as_str(), cluster.as_str(), forward.timeout)
        })
        .collect();
    assert_eq!(
        routes,
        [
            ("/api", "api", Duration::from_millis(250)),
            ("/", "web", Duration::from_secs(15)),
            ("/never", "web", Duration::ZERO),
        ]
    );

    let inner = &config.listeners[1];
    let path = &inner.filter_chains[0].access_log[0].path.value;
    assert_eq!(path, &LogPath::Stdout);
    assert!(inner.filter_chains[0].virtual_hosts.is_empty());

    let api = config.cluster("api").unwrap();
    assert_eq!(api.connect_timeout, Duration::from_millis(250));
    let endpoints: Vec<_> = api.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(endpoints, ["127.0.0.1:9000", "[::1]:9000"]);
    let web = config.cluster("web").unwrap();
    assert_eq!(web.connect_timeout, defaults::CONNECT_TIMEOUT);
    assert_eq!(config.cluster("none"), None);
}

#[test]
fn a_listener_is_enough() {
    let config = parse("listeners: [{ name: edge, address: 0.0.0.0:8080 }]");
    assert_eq!(config.workers, None);
    assert_eq!(config.admin, None);
    assert_eq!(config.drain_timeout, defaults::DRAIN_TIMEOUT);
    assert!(config.clusters.is_empty());
    let edge = &config.listeners[0];
    assert!(
        edge.filter_chains[0].http_filters.is_empty()
            && edge.filter_chains[0].virtual_hosts.is_empty()
    );
    assert!(edge.filter_chains[0].access_log.is_empty());
}

#[test]
fn optional_keys_without_a_value_count_as_absent() {
    let text = "workers:\nadmin: ~\nclusters: null\n\
                listeners: [{ name: edge, address: 0.0.0.0:8080, routes: }]";
    let config = parse(text);
    assert_eq!(config.workers, None);
    assert!(config.clusters.is_empty());
}

#[test]
fn text_keys_take_what_looks_like_another_type_as_written() {
    let config = parse("listeners: [{ name: 007, address: 0.0.0.0:8080 }]");
    assert_eq!(config.listeners[0].name.value, "007");
}

#[test]
fn aliases_stand_for_the_value_of_their_anchor() {
    let config = parse(
        "listeners:\n\
         - { name: a, address: 127.0.0.1:0, routes: &routes [{ match: { prefix: / }, cluster: web }] }\n\
         - { name: b, address: 127.0.0.1:0, routes: *routes }\n\
         clusters: [{ name: web, endpoints: [127.0.0.1:9000] }]\n",
    );
    assert_eq!(
        config.listeners[0].filter_chains[0].virtual_hosts,
        config.listeners[1].filter_chains[0].virtual_hosts
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let config = parse("\u{feff}listeners: [{ name: edge, address: 0.0.0.0:8080 }]");
    let error = config.error(config.listeners[0].name.span, "x");
    assert_eq!(error.position().column, 21);
}

#[test]
fn what_is_said_of_signatures_and_the_cache_is_read_and_written_again() {
    let text = "\
        compile_cache: { path: /var/cache/weir, max_size: 64MiB }\n\
        listeners:\n\
        - name: edge\n  address: 0.0.0.0:8080\n  http_filters:\n  \
          - name: a\n    wasm: { vm_config: { code: { local: { filename: a.wasm } }, verify: { key: a.pub } } }\n  \
          - name: b\n    wasm:\n      vm_config:\n        code: { local: { filename: b.wasm } }\n        \
              verify:\n          required: false\n          \
                key: |\n            -----BEGIN PUBLIC KEY-----\n            AAAA\n            -----END PUBLIC KEY-----\n";
    let config = parse(text);
    let cache = config.compile_cache.as_ref().unwrap();
    assert_eq!(cache.path.value, Path::new("/var/cache/weir"));
    assert_eq!(cache.max_size, ByteSize(64 << 20));
    let filters = &config.listeners[0].filter_chains[0].http_filters;
    let verify = |at: usize| filters[at].wasm.vm_config.verify.clone().unwrap().value;
    assert!(verify(0).required);
    assert_eq!(verify(0).key.value, VerifyKey::File("a.pub".into()));
    assert!(!verify(1).required);
    assert!(matches!(&verify(1).key.value, VerifyKey::Pem(pem) if pem.contains("AAAA")));

    let again = parse(&config.to_yaml());
    assert_eq!(again.compile_cache, config.compile_cache);
    assert_eq!(again.listeners, config.listeners);
    assert_eq!(again.to_yaml(), config.to_yaml());
}

fn text_at(config: &Config, span: Span) -> &str {
    &config.source.text()[span.start..span.end]
}

#[test]
fn spans_point_at_what_the_proxy_will_speak_of() {
    let config = parse(FULL);
    let edge = &config.listeners[0];
    let filter = &edge.filter_chains[0].http_filters[0];
    let vm = &filter.wasm.vm_config;
    let Code::File(file) = &vm.code.value else {
        panic!("{vm:?}")
    };
    assert_eq!(file.value, Path::new("auth.wasm"));

    let at = |span| text_at(&config, span);
    assert_eq!(at(edge.address.span), "\"[::1]:8443\"");
    assert_eq!(at(filter.name.span), "auth");
    assert_eq!(at(filter.wasm.span), "wasm");
    assert_eq!(at(vm.span), "vm_config");
    assert_eq!(at(file.span), "auth.wasm");
    // There is none, so it points at the block that could have it.
    assert_eq!(at(filter.wasm.configuration.span), "wasm");
    assert_eq!(
        at(edge.filter_chains[0]
            .routes()
            .next()
            .unwrap()
            .clusters()
            .next()
            .unwrap()
            .span),
        "api"
    );
    assert_eq!(
        at(config.clusters[0].endpoints[1].address.span),
        "\"[::1]:9000\""
    );
    let admin = config.admin.as_ref().unwrap();
    assert_eq!(at(admin.address.span), "127.0.0.1:9901");
}

#[test]
fn the_proxy_can_point_at_the_cause_of_a_later_error() {
    let config = parse(FULL);
    let error = config
        .error(config.listeners[1].address.span, "the port is in use")
        .with_help("stop the other process");
    assert_eq!(
        error.plain(),
        "error: weir.yaml:21:14: the port is in use\n\
         \x20 21 |     address: 127.0.0.1:0\n\
         \x20    |              ^^^^^^^^^^^\n\
         help: stop the other process\n"
    );
}

#[test]
fn what_is_for_operators_is_read_and_written_again() {
    let text = "admin: { address: 127.0.0.1:9901, allowed_hosts: [weir.internal] }\n\
        drain_delay: 5s\n\
        tracing:\n\
        \x20 otlp: { endpoint: 'http://127.0.0.1:4318', headers: { x-tenant: a }, timeout: 2s }\n\
        \x20 sampling: 12.5%\n\
        \x20 service_name: edge\n\
        listeners: [{ name: edge, address: 127.0.0.1:0 }]\n";
    let config = parse(text);
    let tracing = config.tracing.as_ref().unwrap();
    assert_eq!(tracing.otlp.endpoint.value, "http://127.0.0.1:4318");
    assert_eq!(tracing.otlp.timeout, Duration::from_secs(2));
    assert_eq!(tracing.sampling.0, 125_000);
    assert_eq!(tracing.service_name, "edge");
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    let hosts = &config.admin.as_ref().unwrap().allowed_hosts;
    assert_eq!(hosts[0].value, "weir.internal");
    let again = parse(&config.to_yaml());
    assert_eq!(again.tracing.as_ref().unwrap().sampling, tracing.sampling);
    assert_eq!(again.to_yaml(), config.to_yaml());

    let config = parse("listeners: [{ name: edge, address: 127.0.0.1:0 }]");
    assert_eq!(config.drain_delay, Duration::ZERO);
    assert_eq!(config.tracing, None);
}

#[test]
fn an_example_with_a_little_of_everything_is_valid() {
    let text = include_str!("design_example.yaml");
    let config = weir_config::parse("weir.yaml", text).unwrap_or_else(|e| panic!("{e}"));
    let listener = &config.listeners[0];
    assert!(listener.filter_chains[0].tls.is_some());
    assert_eq!(listener.filter_chains[0].http_filters.len(), 1);
    assert_eq!(config.clusters.len(), 2);
}
