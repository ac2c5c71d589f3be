//! Clusters whose endpoints are names.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::{Upstream, Weir};

fn weir(upstream: &Upstream, kind: &str, route: &str) -> Weir {
    let port = upstream.address.port();
    Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  routes:\n  \
         - {{ match: {{ prefix: /none }}, cluster: none }}\n  \
         - {{ match: {{ prefix: / }}, cluster: web{route} }}\nclusters:\n\
         - {{ name: none, type: strict_dns, endpoints: [none.invalid:80] }}\n\
         - {{ name: web, type: {kind}, dns_lookup_family: v4_only, endpoints: [localhost:{port}] }}\n"
    ))
}

#[test]
fn names_are_looked_up_before_the_listeners_open() {
    let upstream = Upstream::echo();
    for kind in ["strict_dns", "logical_dns"] {
        let weir = weir(&upstream, kind, "");
        assert_eq!(weir.connect().get("/").status, 200, "{kind}");
    }
}

#[test]
fn a_name_that_cannot_be_looked_up_costs_its_requests_only() {
    let upstream = Upstream::echo();
    let weir = weir(&upstream, "strict_dns", "");
    assert_eq!(weir.connect().get("/none").status, 503);
    assert_eq!(weir.connect().get("/").status, 200);
    assert!(weir.log().contains("cannot resolve none.invalid"));
}

#[test]
fn the_authority_can_be_the_name_of_the_endpoint() {
    let upstream = Upstream::echo();
    let weir = weir(&upstream, "strict_dns", ", auto_host_rewrite: true");
    weir.connect().get("/");
    assert_eq!(upstream.requests()[0].header("host"), Some("localhost"));
}
