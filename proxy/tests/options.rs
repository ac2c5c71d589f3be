//! Options of listeners and clusters, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use weir_conformance::{Peer, Setup, Upstream, Weir, h2, read_head};

#[test]
fn a_request_that_does_not_arrive_in_time_is_answered_with_408() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address)
        .listener("http: { request_timeout: 100ms }")
        .start();
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (408, "request timeout")
    );
    assert!(client.is_closed());
    weir.logged("request_overall_timeout");
}

#[test]
fn the_time_of_a_request_ends_with_it() {
    let slow = Peer::start(|connection| {
        let mut input = BufReader::new(connection.try_clone().unwrap());
        // What is not read when the connection ends would reset it.
        let head = read_head(&mut input);
        if head.iter().any(|line| line == "content-length: 2") {
            input.read_exact(&mut [0; 2]).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(400));
        (&connection)
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
    });
    let weir = Setup::new(slow.address)
        .listener("http: { request_timeout: 100ms }")
        .start();
    assert_eq!(weir.connect().get("/").text(), "ok");
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_listener_takes_as_many_connections_as_it_may() {
    let upstream = weir_conformance::Upstream::echo();
    let weir = Setup::new(upstream.address)
        .listener("max_connections: 2")
        .start();
    let mut clients = [weir.connect(), weir.connect()];
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    assert!(weir.connect().is_closed());
    assert_eq!(weir.metric("envoy_listener_downstream_cx_overflow"), 1);
    let [gone, mut kept] = clients;
    drop(gone);
    weir_conformance::eventually("room for another", || {
        let mut client = weir.connect();
        client.try_send("GET / HTTP/1.1\r\nhost: h\r\n\r\n").ok()?;
        let response = client.try_response(false).ok()?;
        (response.status == 200).then_some(())
    });
    assert_eq!(kept.get("/").status, 200);
}

#[test]
fn an_expectation_is_left_to_the_endpoint() {
    let (heads, seen) = channel();
    let heads = Mutex::new(heads);
    let peer = Peer::start(move |connection| {
        let mut input = BufReader::new(connection.try_clone().unwrap());
        let head = read_head(&mut input);
        let expects = head.iter().any(|l| l == "expect: 100-continue");
        heads.lock().unwrap().send(expects).unwrap();
        (&connection)
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .unwrap();
        input.read_exact(&mut [0; 3]).unwrap();
        (&connection)
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
    });
    let weir = Setup::new(peer.address)
        .listener("http: { proxy_100_continue: true }")
        .start();
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    assert!(seen.recv().unwrap(), "the endpoint sees it");
    assert_eq!(client.response().status, 100);
    client.send("abc");
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_refusal_of_an_expectation_reaches_the_client() {
    let peer = Peer::start(|connection| {
        read_head(&mut BufReader::new(connection.try_clone().unwrap()));
        (&connection)
            .write_all(b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    });
    let weir = Setup::new(peer.address)
        .listener("http: { proxy_100_continue: true }")
        .start();
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(client.response().status, 417);
    assert!(client.is_closed());
}

#[test]
fn via_is_told_both_ways() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address)
        .listener("http: { via: edge }")
        .start();
    let response = weir.connect().get_with("/", &[("via", "1.1 other")]);
    assert_eq!(response.header("via"), Some("edge"));
    let request = &upstream.requests()[0];
    assert_eq!(request.header("via"), Some("1.1 other, edge"));
}

#[test]
fn a_connection_to_an_endpoint_carries_as_many_requests_as_it_may() {
    let peer = Peer::start(|connection| {
        let mut input = BufReader::new(connection.try_clone().unwrap());
        while !read_head(&mut input).is_empty() {
            (&connection)
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let weir = Setup::new(peer.address)
        .cluster("max_requests_per_connection: 2")
        .start();
    let mut client = weir.connect();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(peer.connections(), 3);
}

#[test]
fn so_does_a_connection_that_requests_share() {
    let endpoint = h2::H2Upstream::start(|_, mut respond| async move {
        respond
            .send_response(http::Response::new(()), true)
            .unwrap();
    });
    let weir = Setup::new(endpoint.address)
        .http2_upstream()
        .cluster("max_requests_per_connection: 2")
        .start();
    let mut client = weir.connect();
    for _ in 0..6 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(endpoint.connections(), 3);
}

#[test]
fn what_waits_for_an_endpoint_may_be_as_much_as_its_cluster_says() {
    const LENGTH: usize = 64 << 20;
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let peer = Peer::start(move |connection| {
        let mut input = BufReader::new(connection.try_clone().unwrap());
        read_head(&mut input);
        wait.lock().unwrap().recv().unwrap();
        std::io::copy(&mut input.take(LENGTH as u64), &mut std::io::sink()).unwrap();
        (&connection)
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
    });
    let weir = Setup::new(peer.address)
        .cluster("buffer_limit: 80MiB")
        .start();
    let mut client = weir.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {LENGTH}\r\n\r\n"
    ));
    // More than the kernel takes: the rest waits in Weir, and nobody reads.
    client.send(vec![b'x'; LENGTH]);
    go.send(()).unwrap();
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn the_client_is_whom_trusted_proxies_tell_of() {
    let upstream = Upstream::echo();
    let forwarded = [("x-forwarded-for", "192.0.2.1, 192.0.2.2, 2001:db8::3")];
    for (http, expected) in [
        ("{}", "[2001:db8::3]:0"),
        ("{ xff_num_trusted_hops: 1 }", "192.0.2.2:0"),
        ("{ xff_num_trusted_hops: 3 }", "127.0.0.1:"),
        ("{ use_remote_address: true }", "127.0.0.1:"),
        (
            "{ use_remote_address: true, xff_num_trusted_hops: 2 }",
            "192.0.2.2:0",
        ),
    ] {
        let format = "client=%DOWNSTREAM_REMOTE_ADDRESS% peer=%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%";
        let weir = Weir::start(&format!(
            "admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http: {http}
  access_log: {{ path: stdout, format: \"{format}\\n\" }}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters: [{{ name: web, endpoints: [\"{}\"] }}]
",
            upstream.address
        ));
        weir.connect().get_with("/", &forwarded);
        let line = weir.logged("client=");
        assert!(line.starts_with(&format!("client={expected}")), "{line}");
        assert!(line.contains(" peer=127.0.0.1:"), "{line}");
    }
}
