//! Clusters whose endpoints are names.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use weir_conformance::{Answer, DnsAnswer, DnsServer, Upstream, Weir, eventually};

/// A configuration of clusters, each of a name, an endpoint and further keys. Requests
/// for `/NAME` go to the cluster of that name. An hour passes before a name is looked
/// up again, unless the keys say otherwise.
fn config(dns: &DnsServer, clusters: &[(&str, &str, &str)]) -> String {
    let mut routes = String::new();
    let mut list = String::new();
    for (name, endpoint, keys) in clusters {
        routes += &format!("  - {{ match: {{ prefix: /{name} }}, cluster: {name} }}\n");
        list += &format!(
            "- {{ name: {name}, type: strict_dns, endpoints: [{endpoint}], {} }}\n",
            keys.replace("DNS", &dns.address.to_string())
        );
    }
    format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  routes:\n{routes}clusters:\n{list}"
    )
}

/// Keys of a cluster that asks the test's name server.
const ASK: &str = "dns_refresh_rate: 1h, dns_resolver: { resolvers: ['DNS'] }";

/// The same, as long as an answer holds.
const ASK_AGAIN: &str = "dns_refresh_rate: 1h, respect_dns_ttl: true, dns_resolver: { resolvers: ['DNS'] }, \
     dns_failure_refresh_rate: { base_interval: 50ms, max_interval: 100ms }";

fn with(keys: &str, more: &str) -> String {
    format!("{keys}, {more}")
}

/// Two servers at one port of different addresses, who tell which they are.
fn two_upstreams() -> (Upstream, Upstream) {
    let one = Upstream::start_at("127.0.0.2:0", |_| Answer::ok("one"));
    let two = Upstream::start_at(("127.0.0.3", one.address.port()), |_| Answer::ok("two"));
    (one, two)
}

fn at_port(name: &str, upstream: &Upstream) -> String {
    format!("{name}:{}", upstream.address.port())
}

/// The addresses of a cluster's endpoints.
fn endpoints(weir: &Weir, cluster: &str) -> BTreeSet<IpAddr> {
    let text = weir.admin_get("/clusters").text();
    let lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(cluster)?.strip_prefix("::")?;
        rest.strip_suffix("::health_flags::healthy")
    });
    lines
        .map(|address| address.parse::<SocketAddr>().unwrap().ip())
        .collect()
}

/// Waits until a cluster has these.
fn has_endpoints(weir: &Weir, cluster: &str, expected: &[&str]) {
    let expected = addresses(expected);
    eventually(&format!("{cluster}: {expected:?}"), || {
        (endpoints(weir, cluster) == expected).then_some(())
    });
}

fn addresses(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn of_cluster(name: &str) -> String {
    format!("envoy_cluster_name=\"{name}\"")
}

#[test]
fn names_are_looked_up_before_the_listeners_open() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    for kind in ["strict_dns", "logical_dns"] {
        let endpoint = at_port("localhost", &upstream);
        let config = config(&dns, &[("web", &endpoint, "dns_lookup_family: v4_only")]);
        let weir = Weir::start(&config.replace("strict_dns", kind));
        assert_eq!(weir.connect().get("/web").status, 200, "{kind}");
    }
}

#[test]
fn a_name_that_cannot_be_looked_up_costs_its_requests_only() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    dns.set("broken.test", DnsAnswer::SERVFAIL);
    dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let weir = Weir::start(&config(
        &dns,
        &[
            ("none", "none.test:80", ASK),
            ("broken", "broken.test:80", ASK),
            ("web", &at_port("web.test", &upstream), ASK),
        ],
    ));
    assert_eq!(weir.connect().get("/none").status, 503);
    assert_eq!(weir.connect().get("/broken").status, 503);
    assert_eq!(weir.connect().get("/web").status, 200);
    let log = weir.log();
    assert!(
        log.contains("cannot resolve none.test: there is no address"),
        "{log}"
    );
    let server = dns.address;
    let reason = format!("cannot resolve broken.test: name server {server}: ");
    assert!(log.contains(&reason), "{log}");
}

#[test]
fn the_authority_can_be_the_name_of_the_endpoint() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let config = config(&dns, &[("web", &at_port("web.test", &upstream), ASK)]);
    let weir =
        Weir::start(&config.replace("cluster: web", "cluster: web, auto_host_rewrite: true"));
    weir.connect().get("/web");
    assert_eq!(upstream.requests()[0].header("host"), Some("web.test"));
}

#[test]
fn a_name_is_looked_up_again_when_the_answer_ends() {
    let dns = DnsServer::start();
    for name in ["short.test", "blind.test", "least.test"] {
        dns.set(name, DnsAnswer::addresses(1, &["127.0.0.1"]));
    }
    dns.set("long.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    // The other end of an alias may hold longer than the alias.
    dns.set("alias.test", DnsAnswer::Alias(1, "long.test".to_owned()));
    let v4 = with(ASK_AGAIN, "dns_lookup_family: v4_only");
    let started = Instant::now();
    let weir = Weir::start(&config(
        &dns,
        &[
            ("short", "short.test:80", &v4),
            ("alias", "alias.test:80", &v4),
            ("long", "long.test:80", &v4),
            (
                "least",
                "least.test:80",
                &with(&v4, "dns_min_refresh_rate: 10m"),
            ),
            (
                "blind",
                "blind.test:80",
                &with(ASK, "dns_lookup_family: v4_only"),
            ),
        ],
    ));
    let attempts = |name| weir.metric_of("envoy_cluster_update_attempt", &of_cluster(name));
    for name in ["short", "alias"] {
        eventually(name, || (attempts(name) >= 3).then_some(()));
    }
    for name in ["long", "least", "blind"] {
        assert_eq!(attempts(name), 1, "{name}");
    }
    // Nor is it looked up before the answer ends.
    let short = attempts("short");
    assert!(short <= started.elapsed().as_secs() + 1, "{short}");
    assert!(dns.count("short.test") >= 2);
    assert_eq!(endpoints(&weir, "alias"), addresses(&["127.0.0.1"]));
}

#[test]
fn an_address_that_has_changed_is_taken_over_without_a_failed_request() {
    let dns = DnsServer::start();
    let (one, two) = two_upstreams();
    dns.set("web.test", DnsAnswer::addresses(1, &["127.0.0.2"]));
    let endpoint = at_port("web.test", &one);
    let weir = Weir::start(&config(&dns, &[("web", &endpoint, ASK_AGAIN)]));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = weir.connect();
                    while !is_over.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/web").status, 200);
                    }
                })
            })
            .collect();
        eventually("the first serves", || {
            (!one.requests().is_empty()).then_some(())
        });
        dns.set("web.test", DnsAnswer::addresses(1, &["127.0.0.3"]));
        eventually("the second serves", || {
            (!two.requests().is_empty()).then_some(())
        });
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    assert_eq!(weir.connect().get("/web").text(), "two");
    assert_eq!(endpoints(&weir, "web"), addresses(&["127.0.0.3"]));
}

#[test]
fn a_look_up_that_fails_keeps_the_addresses_and_is_tried_again() {
    let dns = DnsServer::start();
    let (one, _two) = two_upstreams();
    let endpoint = at_port("web.test", &one);
    let keys = ASK_AGAIN.replace("['DNS']", "['DNS'], query_timeout: 100ms, query_tries: 1");
    for failure in [DnsAnswer::SERVFAIL, DnsAnswer::Silence] {
        dns.set("web.test", DnsAnswer::addresses(1, &["127.0.0.2"]));
        let weir = Weir::start(&config(&dns, &[("web", &endpoint, &keys)]));
        has_endpoints(&weir, "web", &["127.0.0.2"]);
        dns.set("web.test", failure.clone());
        eventually("failures", || {
            (weir.metric("envoy_cluster_update_failure") >= 3).then_some(())
        });
        assert_eq!(weir.connect().get("/web").text(), "one", "{failure:?}");
        dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.3"]));
        has_endpoints(&weir, "web", &["127.0.0.3"]);
        assert_eq!(weir.connect().get("/web").text(), "two", "{failure:?}");
        let count = |what: &str| weir.metric(&format!("envoy_cluster_update_{what}"));
        assert_eq!(count("attempt"), count("success") + count("failure"));
        assert!(count("no_rebuild") < count("success"));
    }
}

#[test]
fn a_name_that_is_gone_is_no_endpoint_but_a_logical_one_stays() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    dns.set("web.test", DnsAnswer::addresses(1, &["127.0.0.1"]));
    let endpoint = at_port("web.test", &upstream);
    let config = config(
        &dns,
        &[
            ("strict", &endpoint, ASK_AGAIN),
            ("logical", &endpoint, ASK_AGAIN),
        ],
    );
    let config = config.replace("logical, type: strict_dns", "logical, type: logical_dns");
    let weir = Weir::start(&config);
    assert_eq!(weir.connect().get("/strict").status, 200);
    dns.remove("web.test");
    eventually("it is gone", || {
        endpoints(&weir, "strict").is_empty().then_some(())
    });
    assert_eq!(weir.connect().get("/strict").status, 503);
    eventually("the logical one has been looked up", || {
        let failures = weir.metric_of("envoy_cluster_update_failure", &of_cluster("logical"));
        (failures > 0).then_some(())
    });
    assert_eq!(weir.connect().get("/logical").status, 200);
}

#[test]
fn the_family_says_which_addresses_count() {
    let dns = DnsServer::start();
    let (v4, v6) = (&["127.0.0.1", "127.0.0.2"][..], &["::1"][..]);
    let both: &[&str] = &[v4[0], v4[1], v6[0]];
    // What a name has, what is wanted of it, what that comes to, and what is asked for.
    let cases = [
        (both, "all", both, "A AAAA"),
        (both, "auto", v6, "AAAA"),
        (both, "v4_preferred", v4, "A"),
        (both, "v4_only", v4, "A"),
        (both, "v6_only", v6, "AAAA"),
        (v4, "all", v4, "A AAAA"),
        (v4, "auto", v4, "A AAAA"),
        (v4, "v6_only", &[], "AAAA"),
        (v6, "auto", v6, "AAAA"),
        (v6, "v4_preferred", v6, "A AAAA"),
        (v6, "v4_only", &[], "A"),
    ];
    let clusters: Vec<[String; 3]> = (0..)
        .zip(cases)
        .map(|(n, (has, family, _, _))| {
            dns.set(&format!("{n}.test"), DnsAnswer::addresses(600, has));
            let keys = with(ASK, &format!("dns_lookup_family: {family}"));
            [format!("c{n}-"), format!("{n}.test:80"), keys]
        })
        .collect();
    let clusters: Vec<(&str, &str, &str)> = clusters
        .iter()
        .map(|[name, endpoint, keys]| (name.as_str(), endpoint.as_str(), keys.as_str()))
        .collect();
    let weir = Weir::start(&config(&dns, &clusters));
    let questions = dns.questions();
    for (n, (has, family, expected, asked)) in (0..).zip(cases) {
        let found = endpoints(&weir, &format!("c{n}-"));
        assert_eq!(found, addresses(expected), "{family} of {has:?}");
        let name = format!("{n}.test");
        let kinds = questions.iter().filter(|q| q.name == name);
        let kinds: BTreeSet<&str> = kinds.map(|q| q.kind.as_str()).collect();
        assert_eq!(kinds, asked.split(' ').collect(), "{family} of {has:?}");
    }
}

#[test]
fn a_short_name_is_looked_up_in_the_search_domains_of_the_system() {
    let dns = DnsServer::start();
    dns.set("web.b.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    dns.set("web.x", DnsAnswer::addresses(600, &["127.0.0.2"]));
    dns.set("last", DnsAnswer::addresses(600, &["127.0.0.3"]));
    // The server of the first domain cannot tell, so nobody knows that there is none.
    dns.set("broken.a.test", DnsAnswer::SERVFAIL);
    let v4 = with(ASK, "dns_lookup_family: v4_only");
    let whole = v4.replace("['DNS']", "['DNS'], no_default_search_domain: true");
    let config = config(
        &dns,
        &[
            ("short", "web:80", &v4),
            ("dotted", "web.x:80", &v4),
            ("last", "last:80", &v4),
            ("whole", "web:80", &whole),
            (
                "broken",
                "broken:80",
                &v4.replace("['DNS']", "['DNS'], query_tries: 1"),
            ),
        ],
    );
    let environment = [("LOCALDOMAIN", "a.test b.test"), ("RES_OPTIONS", "ndots:1")];
    let weir = Weir::start_env(&config, &environment, |_| {});
    for (cluster, expected) in [
        ("short", &["127.0.0.1"][..]),
        ("dotted", &["127.0.0.2"]),
        ("last", &["127.0.0.3"]),
        ("whole", &[]),
        ("broken", &[]),
    ] {
        assert_eq!(endpoints(&weir, cluster), addresses(expected), "{cluster}");
    }
    // In this order, and for the whole name only where it comes first, or last.
    let questions = dns.questions();
    let first = |name: &str| questions.iter().position(|q| q.name == name);
    assert!(first("web.a.test") < first("web.b.test"));
    assert!(first("last.b.test") < first("last"));
    assert_eq!(first("web.x.a.test"), None);
    let failures = |name: &str| weir.metric_of("envoy_cluster_update_failure", &of_cluster(name));
    assert_eq!([failures("broken"), failures("whole")], [1, 0]);
}

#[test]
fn an_answer_that_is_too_long_is_asked_for_by_tcp() {
    let dns = DnsServer::start();
    let many: Vec<String> = (1..=200).map(|n| format!("127.0.1.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    dns.set("many.test", DnsAnswer::addresses(600, &many));
    dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let v4 = with(ASK, "dns_lookup_family: v4_only");
    let by_tcp = v4.replace("['DNS']", "['DNS'], use_tcp_for_dns_lookups: true");
    let weir = Weir::start(&config(
        &dns,
        &[
            ("many", "many.test:80", &v4),
            ("web", "web.test:80", &by_tcp),
        ],
    ));
    assert_eq!(endpoints(&weir, "many"), addresses(&many));
    assert_eq!(endpoints(&weir, "web").len(), 1);
    let by = |name: &str| {
        let questions = dns.questions().into_iter().filter(|q| q.name == name);
        let mut ways: Vec<bool> = questions.map(|q| q.by_tcp).collect();
        // One that is not answered at once is asked again.
        ways.dedup();
        ways
    };
    assert_eq!(by("many.test"), [false, true]);
    assert_eq!(by("web.test"), [true]);
}

#[test]
fn another_name_server_is_asked_when_the_first_is_of_no_use() {
    let (silent, refusing, dns) = (DnsServer::start(), DnsServer::start(), DnsServer::start());
    silent.set("web.test", DnsAnswer::Silence);
    refusing.set("web.test", DnsAnswer::SERVFAIL);
    dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let others = format!(
        "['{}', '{}', 'DNS'], query_timeout: 200ms",
        silent.address, refusing.address
    );
    let keys = ASK_AGAIN.replace("['DNS']", &others);
    let weir = Weir::start(&config(&dns, &[("web", "web.test:80", &keys)]));
    has_endpoints(&weir, "web", &["127.0.0.1"]);
    for server in [silent, refusing, dns] {
        assert!(server.count("web.test") > 0);
    }
}

#[test]
fn a_name_that_nobody_answers_for_does_not_hold_the_others_up() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    dns.set("silent.test", DnsAnswer::Silence);
    dns.set("web.test", DnsAnswer::addresses(600, &["127.0.0.1"]));
    let endpoints = format!("'silent.test:80', '{}'", at_port("web.test", &upstream));
    let keys = ASK.replace("['DNS']", "['DNS'], query_timeout: 1h");
    // Weir waits for the first for a while, and then starts without it.
    let weir = Weir::start(&config(&dns, &[("web", &endpoints, &keys)]));
    assert_eq!(weir.connect().get("/web").status, 200);
}

#[test]
fn a_bootstrap_of_envoy_names_its_name_server() {
    let (upstream, dns) = (Upstream::echo(), DnsServer::start());
    dns.set("web.test", DnsAnswer::addresses(1, &["127.0.0.1"]));
    let weir = Weir::start_envoy(&format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
  listeners:
  - name: edge
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: web }} }}]
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: web
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    dns_refresh_rate: 3600s
    respect_dns_ttl: true
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}]
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: web.test, port_value: {} }} }} }}
"#,
        dns.address.port(),
        upstream.address.port()
    ));
    assert_eq!(weir.connect().get("/").status, 200);
    eventually("it is asked again", || {
        (dns.count("web.test") >= 2).then_some(())
    });
}
