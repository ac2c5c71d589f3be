//! Circuit breakers, and what waits for them.

use std::io::Read as _;
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use weir_conformance::{Client, Upstream, Weir, eventually};

use super::config;

fn keys(upstream: &Upstream, breakers: &str) -> String {
    let address = upstream.address;
    format!("  endpoints: [\"{address}\"]\n  circuit_breakers: {{ {breakers} }}")
}

fn send_slow(weir: &Weir) -> Client {
    let mut client = weir.connect();
    client.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    client
}

#[test]
fn a_request_too_many_is_answered_as_by_envoy() {
    let (upstream, held) = Upstream::slow();
    let weir = Weir::start(&config(2, "", &keys(&upstream, "max_requests: 1")));
    let mut first = send_slow(&weir);
    held.arrived();
    let open = "envoy_cluster_circuit_breakers_default_rq_open";
    weir.eventually_metric(open, 1);
    let refused = weir.connect().get("/");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("x-envoy-overloaded"), Some("true"));
    let body = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    assert_eq!(refused.text(), body);
    let line = weir.logged("UO");
    assert!(line.contains("503"), "{line}");
    assert_eq!(weir.metric("envoy_cluster_upstream_rq_pending_overflow"), 1);
    held.release();
    assert_eq!(first.response().status, 200);
    weir.eventually_metric(open, 0);
    let next = weir.connect().get("/");
    assert_eq!(next.status, 200, "{}", next.text());
}

#[test]
fn the_limit_holds_for_all_workers_together() {
    let (upstream, held) = Upstream::slow();
    let weir = Weir::start(&config(3, "", &keys(&upstream, "max_requests: 4")));
    // One after the other: two at the same moment may both take the last place.
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(send_slow(&weir));
        held.arrived();
    }
    clients.extend((0..16).map(|_| send_slow(&weir)));
    weir.eventually_metric("envoy_cluster_upstream_rq_pending_overflow", 16);
    for _ in 0..4 {
        held.release();
    }
    let statuses = clients.iter_mut().map(|client| client.response().status);
    assert_eq!(statuses.filter(|status| *status == 200).count(), 4);
}

#[test]
fn a_request_waits_for_one_of_the_connections() {
    let (upstream, held) = Upstream::slow();
    let breakers = "max_connections: 1, max_pending_requests: 1";
    let weir = Weir::start(&config(1, "", &keys(&upstream, breakers)));
    let mut first = send_slow(&weir);
    held.arrived();
    let mut second = send_slow(&weir);
    weir.eventually_metric("envoy_cluster_upstream_rq_pending_active", 1);
    assert_eq!(weir.metric("envoy_cluster_upstream_cx_overflow"), 1);
    assert_eq!(weir.metric("envoy_cluster_upstream_cx_active"), 1);
    let third = weir.connect().get("/");
    assert_eq!(third.status, 503);
    held.release();
    assert_eq!(first.response().status, 200);
    held.arrived();
    held.release();
    assert_eq!(second.response().status, 200);
    assert_eq!(upstream.connections(), 1);
    weir.eventually_metric("envoy_cluster_upstream_rq_pending_active", 0);
}

#[test]
fn a_connection_that_ends_makes_room_for_another() {
    let upstream = Upstream::start(|_| {
        weir_conformance::Answer::RawThenClose(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
    });
    let weir = Weir::start(&config(2, "", &keys(&upstream, "max_connections: 1")));
    for _ in 0..20 {
        assert_eq!(weir.connect().get("/").status, 200);
    }
    weir.eventually_metric("envoy_cluster_upstream_cx_active", 0);
    assert_eq!(weir.metric("envoy_cluster_upstream_cx_total"), 20);
}

#[test]
fn a_tcp_connection_too_many_is_closed() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  access_log: {{ path: stdout }}\n  tcp: {{ cluster: web }}\n\
         clusters:\n- name: web\n{}\n",
        keys(&upstream, "max_connections: 1")
    ));
    let mut first = weir.connect();
    assert_eq!(first.get("/").status, 200);
    let mut second = weir.connect();
    assert!(second.is_closed());
    assert!(weir.logged("UO").contains("UO"));
    drop(first);
    weir.eventually_metric("envoy_cluster_upstream_cx_active", 0);
    assert_eq!(weir.connect().get("/").status, 200);
}

#[test]
fn an_http2_connection_without_a_sign_of_life_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // It takes everything, and says nothing.
            thread::spawn(move || std::io::copy(&mut { connection }, &mut std::io::sink()));
        }
    });
    let keys = format!(
        "  endpoints: [\"{address}\"]\n  protocol: http2\n  \
         connection_keepalive: {{ interval: 100ms, timeout: 100ms }}"
    );
    let weir = Weir::start(&config(1, ", timeout: 15s", &keys));
    let asked = Instant::now();
    assert_eq!(weir.connect().get("/").status, 503);
    assert!(asked.elapsed() < Duration::from_secs(5));
    weir.eventually_metric("envoy_cluster_upstream_cx_active", 0);
}

#[test]
fn connections_have_the_keepalive_that_is_asked_for() {
    let upstream = Upstream::echo();
    let keys = format!(
        "  endpoints: [\"{}\"]\n  tcp_keepalive: {{ keepalive_time: 61s }}",
        upstream.address
    );
    let weir = Weir::start(&config(1, "", &keys));
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    // The kernel's table of sockets tells the timer of each: 02 is keepalive.
    let port = format!(":{:04X} 01", upstream.address.port());
    eventually("the timer is set", || {
        let mut table = String::new();
        let mut file = std::fs::File::open("/proc/net/tcp").unwrap();
        file.read_to_string(&mut table).unwrap();
        table
            .lines()
            .any(|line| {
                let mut fields = line.split_whitespace().skip(2);
                let remote = fields.next().unwrap_or_default();
                let state = fields.next().unwrap_or_default();
                let timer = fields.nth(1).unwrap_or_default();
                format!("{remote} {state}").ends_with(&port) && timer.starts_with("02:")
            })
            .then_some(())
    });
}

#[test]
fn streams_of_http2_share_the_connection_that_there_may_be() {
    weir_conformance::h2::run(async {
        let upstream = weir_conformance::h2::H2Upstream::start(|request, mut respond| async move {
            drop(request);
            let response = http::Response::builder().status(200).body(()).unwrap();
            respond.send_response(response, true).unwrap();
        });
        let keys = format!(
            "  endpoints: [\"{}\"]\n  protocol: http2\n  circuit_breakers: {{ max_connections: 1 }}",
            upstream.address
        );
        let weir = Weir::start(&config(1, "", &keys));
        let mut clients: Vec<_> = (0..20).map(|_| weir.connect()).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.response().status, 200);
        }
        assert_eq!(weir.metric("envoy_cluster_upstream_cx_total"), 1);
        assert_eq!(weir.metric("envoy_cluster_upstream_cx_overflow"), 0);
    });
}
