//! Active health checks of each kind, against real servers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use weir_conformance::server::{Failure, Server, endpoints};
use weir_conformance::{Weir, eventually};

use super::tonic_server::GrpcServer;
use super::{bodies, config, count};

const TIMES: &str = "timeout: 1s, interval: 50ms, no_traffic_interval: 50ms, \
                     unhealthy_threshold: 2, healthy_threshold: 2";

fn checked(endpoints: &str, check: &str) -> String {
    format!("  endpoints: {endpoints}\n  health_checks: [{{ {check}, {TIMES} }}]")
}

fn healthy(weir: &Weir, count: u64) {
    weir.eventually_metric("envoy_cluster_membership_healthy", count);
}

#[test]
fn the_first_check_decides_before_the_listener_opens() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    servers[1].set_health(500);
    let keys = checked(&endpoints(&servers), "http: { path: /healthz }");
    let weir = Weir::start(&config(2, "", &keys));
    let counts = bodies(&weir, 20);
    assert_eq!(count(&counts, "a"), 20, "{counts:?}");
    assert_eq!(weir.metric("envoy_cluster_membership_healthy"), 1);
    assert!(
        weir.log().contains("unhealthy: the status is 500"),
        "{}",
        weir.log()
    );
    let clusters = weir.admin_get("/clusters").text();
    let line = format!(
        "web::{}::health_flags::/failed_active_hc\n",
        servers[1].address
    );
    assert!(clusters.contains(&line), "{clusters}");

    servers[1].set_health(200);
    healthy(&weir, 2);
    assert_eq!(count(&bodies(&weir, 20), "b"), 10);
    servers[0].set_health(503);
    healthy(&weir, 1);
    assert_eq!(count(&bodies(&weir, 20), "b"), 20);
    assert!(weir.metric("envoy_cluster_health_check_failure") > 0);
    assert!(weir.metric("envoy_cluster_health_check_success") > 0);
}

#[test]
fn each_way_to_be_gone_is_noticed() {
    for failure in [Failure::Killed, Failure::Stalled, Failure::BlackHoled] {
        let mut servers: Vec<_> = ["a", "b"].map(Server::start).into();
        let keys = checked(&endpoints(&servers), "http: { path: /healthz }");
        let weir = Weir::start(&config(1, "", &keys));
        healthy(&weir, 2);
        servers[0].fail(failure);
        healthy(&weir, 1);
        let counts = bodies(&weir, 10);
        assert_eq!(count(&counts, "b"), 10, "{failure:?}: {counts:?}");
        servers[0].recover();
        healthy(&weir, 2);
        assert!(weir.metric("envoy_cluster_health_check_network_failure") > 0);
    }
}

#[test]
fn statuses_can_be_expected_and_be_passed_over_for_a_while() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    servers[0].set_health(204);
    let http = "http: { path: /healthz, method: HEAD, host: check.example, \
                expected_statuses: [{ start: 200, end: 300 }], \
                retriable_statuses: [{ start: 429, end: 430 }] }, reuse_connection: false";
    let weir = Weir::start(&config(1, "", &checked(&endpoints(&servers), http)));
    healthy(&weir, 2);
    servers[0].set_health(429);
    healthy(&weir, 1);
    // It took two of them.
    let name = "envoy_cluster_health_check_failure";
    assert!(weir.metric(name) >= 2);
}

#[test]
fn checks_can_go_to_another_port() {
    let (server, health) = (Server::start("a"), Server::start("health"));
    // The port of the other one, at this address.
    let port = health.address.port();
    let listener = TcpListener::bind((server.address.ip(), port)).unwrap();
    let keys = checked(
        &format!(
            "[{{ address: \"{}\", health_check_port: {port} }}]",
            server.address
        ),
        "tcp: {}",
    );
    server.set_health(500);
    let weir = Weir::start(&config(1, "", &keys));
    healthy(&weir, 1);
    assert_eq!(server.checks(), 0);
    drop(listener);
    healthy(&weir, 0);
}

#[test]
fn a_tcp_check_wants_the_bytes_it_waits_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sick = Arc::new(AtomicBool::new(false));
    let is_sick = Arc::clone(&sick);
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let is_sick = Arc::clone(&is_sick);
            thread::spawn(move || {
                let mut asked = [0; 4];
                if connection.read_exact(&mut asked).is_ok() && asked == *b"PING" {
                    let answer = if is_sick.load(Ordering::SeqCst) {
                        b"..NO.."
                    } else {
                        b"+PONG+"
                    };
                    let _ = connection.write_all(answer);
                }
            });
        }
    });
    let check = "tcp: { send: { text: 50494e47 }, receive: [{ binary: UE9ORw== }] }";
    let keys = checked(&format!("[\"{address}\"]"), check);
    let weir = Weir::start(&config(1, "", &keys));
    healthy(&weir, 1);
    sick.store(true, Ordering::SeqCst);
    healthy(&weir, 0);
    sick.store(false, Ordering::SeqCst);
    healthy(&weir, 1);
}

#[test]
fn a_grpc_check_asks_the_health_service() {
    let serving = Arc::new(AtomicBool::new(true));
    let is_serving = Arc::clone(&serving);
    weir_conformance::h2::run(async move {
        let server = GrpcServer::start("127.0.0.1:0", "/none", move |message| {
            assert_eq!(&message[..], b"\x0a\x0amy.Service");
            // The field `status`: SERVING is 1, NOT_SERVING 2.
            Ok(vec![
                8,
                if is_serving.load(Ordering::SeqCst) {
                    1
                } else {
                    2
                },
            ])
        });
        let keys = format!(
            "{}\n  protocol: http2",
            checked(
                &format!("[\"{}\"]", server.upstream.address),
                "grpc: { service_name: my.Service }"
            )
        );
        let weir = Weir::start(&config(1, "", &keys));
        healthy(&weir, 1);
        serving.store(false, Ordering::SeqCst);
        healthy(&weir, 0);
        assert!(server.count("/grpc.health.v1.Health/Check") > 1);
        serving.store(true, Ordering::SeqCst);
        healthy(&weir, 1);
    });
}

#[test]
fn health_outlives_a_reload_that_leaves_the_cluster() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    servers[1].set_health(500);
    let slow = "http: { path: /healthz }, timeout: 1s, interval: 60s, \
                unhealthy_threshold: 1, healthy_threshold: 1";
    let keys = format!(
        "  endpoints: {}\n  health_checks: [{{ {slow} }}]",
        endpoints(&servers)
    );
    let weir = Weir::start(&config(2, "", &keys));
    assert_eq!((servers[0].checks(), servers[1].checks()), (1, 1));
    weir.reload_with(&config(2, ", timeout: 1s", &keys));
    let counts = bodies(&weir, 20);
    assert_eq!(count(&counts, "a"), 20, "{counts:?}");
    assert_eq!((servers[0].checks(), servers[1].checks()), (1, 1));
    // Another cluster is checked before it serves.
    weir.reload_with(&config(2, "", &format!("{keys}\n  idle_timeout: 1s")));
    assert_eq!((servers[0].checks(), servers[1].checks()), (2, 2));
}

#[test]
fn no_healthy_endpoint_is_used_where_panic_is_off() {
    let servers = [Server::start("a")];
    servers[0].set_health(500);
    let check = checked(&endpoints(&servers), "http: { path: /healthz }");
    let weir = Weir::start(&config(1, "", &check));
    // With one of one missing, all are used.
    assert_eq!(weir.connect().get("/").status, 200);
    assert_eq!(weir.metric("envoy_cluster_lb_healthy_panic"), 1);
    let weir = Weir::start(&config(
        1,
        "",
        &format!("{check}\n  healthy_panic_threshold: 0"),
    ));
    let refused = weir.connect().get("/");
    assert_eq!(
        (refused.status, refused.text()),
        (503, "no healthy upstream".to_owned())
    );
    let fails = format!("{check}\n  fail_traffic_on_panic: true");
    let weir = Weir::start(&config(1, "", &fails));
    assert_eq!(weir.connect().get("/").status, 503);
}

#[test]
fn an_ejection_ends_with_a_check_that_succeeds() {
    let servers: Vec<_> = ["a", "b"].map(Server::start).into();
    let keys = format!(
        "{}\n  outlier_detection: {{ consecutive_5xx: 1, base_ejection_time: 600s, \
         max_ejection_time: 600s, max_ejection_percent: 50 }}",
        checked(&endpoints(&servers), "http: { path: /healthz }")
    );
    let weir = Weir::start(&config(1, "", &keys));
    servers[0].answer(500);
    let name = "envoy_cluster_outlier_detection_ejections_enforced_total";
    eventually("it is ejected", || {
        weir.connect().get("/");
        (weir.metric(name) > 0).then_some(())
    });
    servers[0].answer(200);
    weir.eventually_metric("envoy_cluster_outlier_detection_ejections_active", 0);
}

#[test]
fn envoys_own_configuration_is_checked_and_balanced_alike() {
    let servers: Vec<_> = ["heavy", "light", "sick", "spare"]
        .map(Server::start)
        .into();
    servers[2].set_health(500);
    let endpoint = |server: &Server, more: &str| {
        let (ip, port) = (server.address.ip(), server.address.port());
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}{more} }}"
        )
    };
    let [heavy, light, sick, spare] = &servers[..] else {
        unreachable!("there are four")
    };
    let weir = Weir::start_envoy(&format!(
        r#"admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
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
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: web }} }}] }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: web
    lb_policy: ROUND_ROBIN
    health_checks:
    - timeout: 1s
      interval: 0.05s
      unhealthy_threshold: 1
      healthy_threshold: 1
      http_health_check: {{ path: /healthz }}
    outlier_detection: {{}}
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
        - {}
        - {}
        - {}
      - {{ priority: 1, lb_endpoints: [{}] }}
"#,
        endpoint(heavy, ", load_balancing_weight: 3"),
        endpoint(light, ""),
        endpoint(sick, ""),
        endpoint(spare, ""),
    ));
    let counts = bodies(&weir, 400);
    // Two of three, times 1.4, is 93 of 100; workers take turns of their own.
    let of = |name| count(&counts, name);
    assert_eq!(of("sick"), 0, "{counts:?}");
    assert!((5..60).contains(&of("spare")), "{counts:?}");
    assert!(
        (2 * of("light")..4 * of("light")).contains(&of("heavy")),
        "{counts:?}"
    );
}
