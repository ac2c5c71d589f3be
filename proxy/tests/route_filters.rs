//! What routes and virtual hosts make of their listener's filters.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::{Upstream, Weir, check, filter};

/// A listener whose filter `tagger` adds `x-tag: listener` to requests; its virtual
/// hosts are `hosts`.
fn config(upstream: &Upstream, hosts: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - name: tagger
    wasm:
      spare: false
      vm_config: {{ vm_id: v, code: {{ local: {{ filename: {} }} }} }}
      configuration: \"request_headers: add request x-tag listener\"
  virtual_hosts:
{hosts}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        filter("probe").display(),
        upstream.address
    )
}

const HOSTS: &str = "  - name: all
    domains: ['*']
    filters: { tagger: { configuration: 'request_headers: add request x-tag host' } }
    routes:
    - match: { prefix: /off }
      cluster: web
      filters: { tagger: { disabled: true } }
    - match: { prefix: /on }
      cluster: web
      filters: { tagger: { disabled: false } }
    - match: { prefix: /route }
      cluster: web
      filters: { tagger: { configuration: 'request_headers: add request x-tag route' } }
    - match: { prefix: / }
      cluster: web
";

#[test]
fn a_route_decides_what_a_filter_is_for_its_requests() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, HOSTS));
    let mut client = weir.connect();
    for path in ["/off", "/on", "/route", "/", "/off"] {
        assert_eq!(client.get(path).status, 200, "{path}");
    }
    let requests = upstream.requests();
    let tags: Vec<_> = requests.iter().map(|r| r.header("x-tag")).collect();
    let expected = [None, Some("listener"), Some("route"), Some("host"), None];
    assert_eq!(tags, expected);
    // Each configuration has a root context of its own, in one VM.
    let page = weir.admin_get("/metrics").text();
    let starts = page
        .lines()
        .filter(|l| l.starts_with("weir_wasm_vm_starts_total"));
    assert!(
        starts.clone().count() == 1 && starts.clone().all(|l| l.ends_with(" 1")),
        "{page}"
    );
}

#[test]
fn a_reload_takes_what_routes_say_over() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, HOSTS));
    let mut client = weir.connect();
    client.get("/route");
    let changed = HOSTS.replace("x-tag route", "x-tag other");
    let report = weir.reload_with(&config(&upstream, &changed));
    assert!(
        report.contains("configuration of tagger") || report.contains("settings"),
        "{report}"
    );
    client.get("/route");
    let off = HOSTS.replace("disabled: true", "disabled: false");
    weir.reload_with(&config(&upstream, &off));
    client.get("/off");
    let requests = upstream.requests();
    let tags: Vec<_> = requests.iter().map(|r| r.header("x-tag")).collect();
    assert_eq!(tags, [Some("route"), Some("other"), Some("listener")]);
}

#[test]
fn a_configuration_that_a_filter_refuses_is_told_with_its_place() {
    let upstream = Upstream::echo();
    let hosts = HOSTS.replace(
        "request_headers: add request x-tag route",
        "configure: return 0",
    );
    let (valid, text) = check(&config(&upstream, &hosts), |_| {});
    assert!(!valid && text.contains("filter `tagger`"), "{text}");
    assert!(text.contains("weir.yaml:25:"), "{text}");
}
