//! Which endpoint gets a request.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use weir_conformance::server::{Failure, Server, endpoints};
use weir_conformance::{Weir, eventually};

use super::{bodies, config, count};

#[test]
fn requests_are_divided_by_weight() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let keys = format!(
        "  endpoints: [{{ address: \"{}\", weight: 3 }}, \"{}\"]",
        a.address, b.address
    );
    for policy in ["round_robin", "least_request"] {
        let weir = Weir::start(&config(1, "", &format!("{keys}\n  lb_policy: {policy}")));
        let counts = bodies(&weir, 80);
        assert_eq!(count(&counts, "a"), 60, "{policy}: {counts:?}");
    }
}

#[test]
fn random_and_least_request_use_all_endpoints() {
    let servers: Vec<_> = ["a", "b", "c"].map(Server::start).into();
    for policy in ["random", "least_request"] {
        let keys = format!(
            "  endpoints: {}\n  lb_policy: {policy}",
            endpoints(&servers)
        );
        let weir = Weir::start(&config(2, "", &keys));
        let counts = bodies(&weir, 150);
        for name in ["a", "b", "c"] {
            let count = count(&counts, name);
            assert!((20..90).contains(&count), "{policy}: {counts:?}");
        }
    }
}

#[test]
fn a_hash_keeps_to_its_endpoint_and_few_move_when_one_goes() {
    let servers: Vec<_> = ["a", "b", "c", "d"].map(Server::start).into();
    for policy in ["ring_hash", "maglev"] {
        let config = |servers: &[Server]| {
            let keys = format!("  endpoints: {}\n  lb_policy: {policy}", endpoints(servers));
            let route = ", hash_policy: [{ header: { header_name: x-user } }]";
            config(2, route, &keys)
        };
        let weir = Weir::start(&config(&servers));
        let ask = || {
            let ask = |user: usize| {
                let user = user.to_string();
                let response = weir.connect().get_with("/", &[("x-user", &user)]);
                response.text()
            };
            (0..300).map(ask).collect::<Vec<_>>()
        };
        let before = ask();
        assert_eq!(ask(), before, "{policy}");
        for name in ["a", "b", "c", "d"] {
            assert!(before.iter().any(|b| b == name), "{policy}: {before:?}");
        }
        weir.reload_with(&config(&servers[..3]));
        let after = ask();
        let others = before.iter().zip(&after).filter(|(was, _)| *was != "d");
        let (stayed, moved): (Vec<_>, Vec<_>) = others.partition(|(was, is)| was == is);
        // By division, three of four would move; here it is one of six, more or less.
        assert!(stayed.len() > moved.len(), "{policy}: {moved:?}");
    }
}

#[test]
fn a_client_gets_a_cookie_that_holds_it_to_its_endpoint() {
    let servers: Vec<_> = ["a", "b", "c"].map(Server::start).into();
    let keys = format!("  endpoints: {}\n  lb_policy: maglev", endpoints(&servers));
    let route = ", hash_policy: [{ cookie: { name: sid, ttl: 60s, path: / } }]";
    let weir = Weir::start(&config(2, route, &keys));
    let mut seen = HashSet::new();
    for _ in 0..12 {
        let first = weir.connect().get("/");
        let cookie = first.header("set-cookie").unwrap();
        assert!(
            cookie.ends_with("; Max-Age=60; Path=/; HttpOnly"),
            "{cookie}"
        );
        let sent = cookie.split(';').next().unwrap();
        for _ in 0..3 {
            let next = weir.connect().get_with("/", &[("cookie", sent)]);
            assert_eq!(next.text(), first.text());
            assert_eq!(next.header("set-cookie"), None);
        }
        seen.insert(first.text());
    }
    assert!(seen.len() > 1);
}

#[test]
fn requests_without_what_is_hashed_go_anywhere() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    let keys = format!(
        "  endpoints: {}\n  lb_policy: ring_hash",
        endpoints(&servers)
    );
    let route = ", hash_policy: [{ query_parameter: { name: user } }]";
    let weir = Weir::start(&config(1, route, &keys));
    let counts = bodies(&weir, 60);
    assert!(
        count(&counts, "a") > 5 && count(&counts, "b") > 5,
        "{counts:?}"
    );
    let sticky = weir.connect().get("/?user=anna").text();
    for _ in 0..10 {
        assert_eq!(weir.connect().get("/?x=y&user=anna").text(), sticky);
    }
}

#[test]
fn the_next_priority_takes_over_and_gives_back() {
    let mut first = Server::start("first");
    let second = Server::start("second");
    let keys = format!(
        "  endpoints: [\"{}\", {{ address: \"{}\", priority: 1 }}]\n  \
         outlier_detection: {{ consecutive_5xx: 2, interval: 50ms, base_ejection_time: 100ms, \
         max_ejection_percent: 50 }}",
        first.address, second.address
    );
    let weir = Weir::start(&config(2, "", &keys));
    assert_eq!(count(&bodies(&weir, 20), "first"), 20);
    first.fail(Failure::Killed);
    eventually("the second takes over", || {
        (weir.connect().get("/").text() == "second").then_some(())
    });
    first.recover();
    eventually("the first has all again", || {
        (count(&bodies(&weir, 10), "first") == 10).then_some(())
    });
}

#[test]
fn a_new_endpoint_starts_slowly() {
    let (old, new) = (Server::start("old"), Server::start("new"));
    new.set_health(500);
    let keys = format!(
        "  endpoints: [\"{}\", \"{}\"]\n  slow_start: {{ window: 5s }}\n  \
         health_checks: [{{ http: {{ path: /healthz }}, timeout: 1s, interval: 50ms, \
         no_traffic_interval: 50ms, unhealthy_threshold: 1, healthy_threshold: 1 }}]",
        old.address, new.address
    );
    let weir = Weir::start(&config(1, "", &keys));
    // Until the old one has its whole weight.
    thread::sleep(Duration::from_secs(5));
    assert_eq!(count(&bodies(&weir, 10), "old"), 10);
    new.set_health(200);
    weir.eventually_metric("envoy_cluster_membership_healthy", 2);
    let counts = bodies(&weir, 10);
    assert!(count(&counts, "new") < 4, "{counts:?}");
    eventually("it has its whole weight", || {
        (count(&bodies(&weir, 40), "new") >= 18).then_some(())
    });
}

#[test]
fn the_admin_tells_of_every_endpoint() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    let keys = format!(
        "  endpoints: [\"{}\", {{ address: \"{}\", weight: 2 }}]\n  \
         circuit_breakers: {{ max_requests: 7 }}",
        servers[0].address, servers[1].address
    );
    let weir = Weir::start(&config(2, "", &keys));
    servers[0].answer(500);
    bodies(&weir, 30);
    let text = weir.admin_get("/clusters").text();
    let (a, b) = (servers[0].address, servers[1].address);
    let value = |address, stat: &str| {
        let start = format!("web::{address}::{stat}::");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("{start} in {text}"))
            .to_owned()
    };
    assert!(text.contains("web::default_priority::max_requests::7\n"));
    assert_eq!(value(a, "health_flags"), "healthy");
    assert_eq!(
        (value(a, "weight"), value(b, "weight")),
        ("1".into(), "2".into())
    );
    assert_eq!(
        (value(a, "rq_success"), value(a, "rq_error")),
        ("0".into(), value(a, "rq_total"))
    );
    assert_eq!(
        (value(b, "rq_success"), value(b, "rq_error")),
        (value(b, "rq_total"), "0".into())
    );
    let total = |address| value(address, "rq_total").parse::<usize>().unwrap();
    assert_eq!(total(a) + total(b), 30);
    assert_eq!(value(a, "rq_active"), "0");
    assert_ne!(value(a, "cx_active"), "0");
    let json = weir.admin_get("/clusters?format=json").text();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let host = &json["cluster_statuses"][0]["host_statuses"][1];
    assert_eq!(host["address"]["socket_address"]["port_value"], b.port());
    assert_eq!(host["health_status"]["eds_health_status"], "HEALTHY");
    let stats = host["stats"].as_array().unwrap();
    let success = stats
        .iter()
        .find(|stat| stat["name"] == "rq_success")
        .unwrap();
    assert_eq!(success["value"], total(b).to_string());
}

/// Tells the client what is said of the endpoint.
const TELLING: &str = r#"(module
  (import "env" "proxy_get_property" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (data (i32.const 16) "xds\00upstream_host_metadata\00filter_metadata\00my.filter\00tier")
  (data (i32.const 96) "x-tier")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 16) (i32.const 57) (i32.const 0) (i32.const 4)))
      (then (drop (call $add (i32.const 2) (i32.const 96) (i32.const 6)
        (i32.load (i32.const 0)) (i32.load (i32.const 4))))))
    (i32.const 0)))"#;

#[test]
fn filters_read_what_is_said_of_an_endpoint() {
    let (a, b) = (Server::start("a"), Server::start("b"));
    let keys = format!(
        "  endpoints: [{{ address: \"{}\", metadata: {{ my.filter: {{ tier: gold }} }} }}, \"{}\"]",
        a.address, b.address
    );
    let filter = "  http_filters: [{ name: f, wasm: { vm_config: { code: { local: \
                  { filename: f.wasm } } } } }]\n  routes:";
    let config = config(1, "", &keys).replace("  routes:", filter);
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("f.wasm"), wat::parse_str(TELLING).unwrap()).unwrap();
    });
    for _ in 0..4 {
        let response = weir.connect().get("/");
        let told = response.header("x-tier").map(str::to_owned);
        let expected = (response.text() == "a").then(|| "gold".to_owned());
        assert_eq!(told, expected);
    }
}
