//! The dashboard for Grafana asks for numbers that there are.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;
use weir_conformance::{Exposition, Upstream, Weir, eventually, filter};

fn dashboard() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every query of a panel.
fn queries(dashboard: &Json) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array());
    let queries = targets
        .flatten()
        .map(|t| t["expr"].as_str().unwrap().to_owned());
    queries.collect()
}

/// Words of a query, names of metrics and labels among them.
fn words(query: &str) -> impl Iterator<Item = &str> {
    query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// Labels that a query groups by.
fn groups(query: &str) -> BTreeSet<&str> {
    let groups = query.split("by (").skip(1);
    let groups = groups.flat_map(|rest| rest.split(')').next().unwrap().split(", "));
    groups
        .filter(|label| *label != "le" && *label != "instance")
        .collect()
}

/// What `/metrics` shows of a Weir of which everything has been used.
fn metrics() -> (Exposition, String) {
    let upstream = Upstream::echo();
    let script = "request_headers path=/call: http_call web 9000 :method=GET;:path=/;:authority=a \
                  - - ; pause\\nhttp_call_response: effective oldest ; resume request\\n\
                  request_headers path=/no: reply 403 no no - -1\\n\
                  request_headers path=/log: log 2 a ; log 2 b ; log 2 c\\n\
                  request_headers path=/trap: trap";
    let weir = Weir::start(&format!(
        "admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - name: scribe
    wasm:
      vm_config: {{ vm_id: v, code: {{ local: {{ filename: {} }} }} }}
      configuration: \"{script}\"
      limits: {{ log_lines: 1 }}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        filter("probe").display(),
        upstream.address
    ));
    let mut client = weir.connect();
    for path in ["/", "/call", "/no", "/log", "/trap", "/"] {
        client.get(path);
    }
    let text = eventually("everything has been used", || {
        let text = weir.admin_get("/metrics").text();
        text.contains("weir_wasm_limit_reached_total{")
            .then_some(text)
    });
    (Exposition::parse(&text).unwrap(), text)
}

#[test]
fn every_metric_and_label_of_the_dashboard_is_there() {
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() > 20);
    let (page, text) = metrics();
    let mut asked = 0;
    for query in &queries {
        let names = words(query).filter(|word| {
            let is_label = groups(query).contains(word) || query.contains(&format!("{word}=\""));
            (word.starts_with("envoy_") || word.starts_with("weir_")) && !is_label
        });
        for name in names {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                (page.kind(family) == Some("histogram")).then_some(family)
            });
            let family = family.unwrap_or(name);
            let kind = page
                .kind(family)
                .unwrap_or_else(|| panic!("{name} of {query}"));
            let is_rate = query.contains("rate(") || query.contains("increase(");
            assert_eq!(is_rate, kind != "gauge", "{query} of a {kind}");
            for label in groups(query) {
                let has =
                    |line: &&str| line.starts_with(name) && line.contains(&format!("{label}=\""));
                assert!(text.lines().any(|line| has(&line)), "{label} of {name}");
            }
            asked += 1;
        }
    }
    assert!(asked >= queries.len());
}

#[test]
fn panels_are_told_apart_and_do_not_overlap() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
            }
        }
        assert!(!panel["title"].as_str().unwrap().is_empty());
    }
}
