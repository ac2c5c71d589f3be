//! Modules on servers, as they are configured.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{Code, Config, ModuleUri, PullPolicy, RemoteCode, Retries, parse};

fn config(code: &str) -> String {
    format!(
        "listeners: [{{ name: edge, address: 127.0.0.1:0, http_filters: [{{ name: auth, wasm: \
         {{ vm_config: {{ code: {code} }} }} }}] }}]\n\
         clusters: [{{ name: code, endpoints: [127.0.0.1:9000] }}]\n"
    )
}

fn code(config: &Config) -> &Code {
    &config.listeners[0].filter_chains[0].http_filters[0]
        .wasm
        .vm_config
        .code
        .value
}

fn remote(config: &Config) -> &RemoteCode {
    match code(config) {
        Code::Remote(remote) => remote,
        other => panic!("{other:?}"),
    }
}

const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn full() -> String {
    config(&format!(
        "{{ remote: {{ http_uri: {{ uri: https://example.com/auth.wasm, cluster: code, timeout: \
         5s }}, sha256: {DIGEST}, retry_policy: {{ num_retries: 3, retry_back_off: {{ \
         base_interval: 10ms, max_interval: 20ms }} }}, pull_policy: Always, pull_secret: \
         secret.json, ca_file: ca.pem, insecure: true }} }}"
    ))
}

#[test]
fn every_key_is_read() {
    let config = parse("weir.yaml", &full()).unwrap();
    let remote = remote(&config);
    let uri = ModuleUri::Http("https://example.com/auth.wasm".to_owned());
    assert_eq!(remote.uri.value, uri);
    assert_eq!(remote.cluster.as_ref().unwrap().value, "code");
    assert_eq!(remote.timeout, Duration::from_secs(5));
    assert_eq!(remote.sha256.as_ref().unwrap().value, DIGEST);
    assert_eq!(remote.retries.number, 3);
    let backoff = remote.retries.backoff;
    assert_eq!(backoff.base_interval, Duration::from_millis(10));
    assert_eq!(backoff.max_interval, Duration::from_millis(20));
    assert_eq!(remote.pull_policy(), PullPolicy::Always);
    let secret = remote.pull_secret.as_ref().unwrap();
    assert_eq!(secret.value, Path::new("secret.json"));
    assert_eq!(remote.ca_file.as_ref().unwrap().value, Path::new("ca.pem"));
    assert!(remote.insecure);
}

#[test]
fn an_image_is_enough() {
    let text = config("{ remote: { uri: \"oci://ghcr.io/acme/auth:1.2\" } }");
    let config = parse("weir.yaml", &text).unwrap();
    let remote = remote(&config);
    let ModuleUri::Image(image) = &remote.uri.value else {
        panic!("{remote:?}")
    };
    assert_eq!(image.registry, "ghcr.io");
    assert_eq!(image.repository, "acme/auth");
    assert_eq!(image.version(), "1.2");
    assert_eq!(remote.timeout, Duration::from_secs(15));
    assert_eq!(remote.retries, Retries::default());
    assert_eq!(remote.pull_policy(), PullPolicy::IfNotPresent);
}

#[test]
fn what_has_no_version_is_looked_at_each_time() {
    for (uri, policy) in [
        ("oci://ghcr.io/a", PullPolicy::Always),
        ("oci://ghcr.io/a:latest", PullPolicy::Always),
        ("oci://ghcr.io/a:v1", PullPolicy::IfNotPresent),
        ("https://example.com/a.wasm", PullPolicy::IfNotPresent),
    ] {
        let text = config(&format!("{{ remote: {{ uri: \"{uri}\" }} }}"));
        let config = parse("weir.yaml", &text).unwrap();
        assert_eq!(remote(&config).pull_policy(), policy, "{uri}");
    }
    let text = format!("{{ remote: {{ uri: \"oci://ghcr.io/a\", sha256: {DIGEST} }} }}");
    let config = parse("weir.yaml", &config(&text)).unwrap();
    assert_eq!(remote(&config).pull_policy(), PullPolicy::IfNotPresent);
}

#[test]
fn plain_http_is_for_what_cannot_be_meddled_with() {
    for good in [
        "uri: http://127.0.0.1:8000/a.wasm",
        "uri: http://localhost/a.wasm",
        "uri: \"http://[::1]:8000/a.wasm\"",
        "uri: http://example.com/a.wasm, insecure: true",
        &format!("uri: http://example.com/a.wasm, sha256: {DIGEST}"),
    ] {
        let text = config(&format!("{{ remote: {{ {good} }} }}"));
        assert!(parse("weir.yaml", &text).is_ok(), "{good}");
    }
    for bad in [
        "http://127.0.0.1.example.com/a",
        "http://localhost.example.com/a",
    ] {
        let text = config(&format!("{{ remote: {{ uri: {bad} }} }}"));
        assert!(parse("weir.yaml", &text).is_err(), "{bad}");
    }
}

#[test]
fn the_written_form_means_the_same() {
    let image = format!("oci://r.io:5000/a/b:1@sha256:{DIGEST}");
    for code in [
        "{ local: { environment_variable: AUTH } }".to_owned(),
        format!("{{ remote: {{ uri: \"{image}\" }} }}"),
        "{ remote: { uri: https://a.io/x.wasm, retry_policy: { num_retries: 0 } } }".to_owned(),
    ] {
        let modules = "modules: { module_size: 1MiB, cache: c, cache_size: 2GiB, cache_expiry: \
                       1h }";
        for text in [
            config(&code),
            format!("{modules}\n{}", config(&code)),
            full(),
        ] {
            let first = parse("weir.yaml", &text).unwrap();
            let written = first.to_yaml();
            let again = parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{written}\n{e}"));
            assert_eq!(again.listeners, first.listeners);
            assert_eq!(again.modules, first.modules);
            assert_eq!(again.to_yaml(), written);
        }
    }
}

#[test]
fn envoys_own_form_is_taken() {
    let bootstrap = format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: edge
          route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [] }}] }}
          http_filters:
          - name: auth
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                vmConfig:
                  runtime: envoy.wasm.runtime.v8
                  code:
                    remote:
                      httpUri: {{ uri: "http://code.example.com/auth.wasm", cluster: code, timeout: 10s }}
                      sha256: {DIGEST}
                      retryPolicy: {{ numRetries: 5, retryBackOff: {{ baseInterval: 0.5s }} }}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: code
    type: STRICT_DNS
    load_assignment:
      cluster_name: code
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: code.local, port_value: 80 }} }} }}
"#
    );
    let (config, warnings) = envoy::parse("envoy.yaml", &bootstrap, Leniency::Strict);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings.iter().count(), 0);
    let remote = remote(&config);
    assert_eq!(remote.cluster.as_ref().unwrap().value, "code");
    assert_eq!(remote.timeout, Duration::from_secs(10));
    assert_eq!(remote.retries.number, 5);
    let base = remote.retries.backoff.base_interval;
    assert_eq!(base, Duration::from_millis(500));
    let again = parse("weir.yaml", &config.to_yaml()).unwrap();
    assert_eq!(again.listeners, config.listeners);
}
