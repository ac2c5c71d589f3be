//! HTTP/1.1 through Weir without a filter.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_conformance::{Answer, Upstream, Weir, eventually};

fn config(upstream: &Upstream) -> String {
    config_with(upstream, "")
}

fn config_with(upstream: &Upstream, listener: &str) -> String {
    format!(
        "workers: 1\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n{listener}  \
           routes:\n  \
           - {{ match: {{ prefix: /short }}, cluster: web, timeout: 300ms }}\n  \
           - {{ match: {{ prefix: /web }}, cluster: web }}\n  \
           - {{ match: {{ prefix: /dead }}, cluster: dead }}\n\
         clusters:\n\
         - {{ name: web, endpoints: [\"{}\"] }}\n\
         - {{ name: dead, endpoints: [\"127.0.0.1:1\"] }}\n",
        upstream.address
    )
}

#[test]
fn a_request_and_its_response_pass_with_headers_in_order() {
    let upstream = Upstream::start(|_| {
        Answer::with_headers("x-b: 1\r\nX-A: 2\r\nx-b: 3\r\nserver: origin\r\n", "hello")
    });
    let weir = Weir::start(&config(&upstream));
    let response = weir
        .connect()
        .get_with("/web/x?y=z", &[("X-Two", "1"), ("x-one", "2")]);
    assert_eq!(response.status, 200);
    assert_eq!(response.text(), "hello");
    assert_eq!(response.header("x-a"), Some("2"));
    assert_eq!(response.header("server"), Some("weir"));
    let request = &upstream.requests()[0];
    assert_eq!(request.path, "/web/x?y=z");
    let names: Vec<&str> = request.headers.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["host", "x-two", "x-one", "x-forwarded-proto"]);
}

#[test]
fn connections_are_kept_alive_on_both_sides() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    for n in 0..50 {
        assert_eq!(client.get(&format!("/web/{n}")).status, 200);
    }
    assert_eq!(upstream.requests().len(), 50);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn bodies_pass_by_length_and_in_chunks() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    let body = vec![b'x'; 300_000];
    let response = client.request("POST", "/web", &[], &body);
    assert!(response.body.ends_with(&body));
    client.send(
        "POST /web HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n",
    );
    assert!(client.response().text().ends_with("\n\nabcdefg"));
    // An empty one, too.
    client.send("POST /web HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert!(client.response().text().ends_with("\n\n"));
}

#[test]
fn chunked_and_close_delimited_responses_pass() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/web/chunked" => Answer::Raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_vec(),
        ),
        _ => Answer::RawThenClose(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec()),
    });
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    assert_eq!(client.get("/web/chunked").text(), "hello");
    assert_eq!(client.get("/web/close").text(), "until the end");
    assert_eq!(client.get("/web/chunked").text(), "hello");
}

#[test]
fn head_and_bodiless_statuses_have_no_body_and_keep_the_connection() {
    let upstream = Upstream::start(|request| {
        Answer::Raw(match request.path.as_str() {
            "/web/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/web/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec(),
        })
    });
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    let head = client.request("HEAD", "/web", &[], b"");
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(client.get("/web/204").status, 204);
    let unmodified = client.get("/web/304");
    assert_eq!(
        (unmodified.status, unmodified.header("etag")),
        (304, Some("\"a\""))
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn failures_are_answered_and_flagged() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/web/garbage" => Answer::RawThenClose(b"no http at all\r\n\r\n".to_vec()),
        "/web/close" => Answer::RawThenClose(Vec::new()),
        _ => Answer::Silence,
    });
    let log = "  access_log: { path: stdout }\n";
    let weir = Weir::start(&config_with(&upstream, log));
    let cases = [
        ("/nowhere", 404, "NR"),
        ("/dead", 503, "UF"),
        ("/web/close", 503, "UC"),
        ("/web/garbage", 502, "UPE"),
        ("/short", 504, "UT"),
    ];
    let mut client = weir.connect();
    for (path, status, flag) in cases {
        let response = client.get(path);
        assert_eq!(response.status, status, "{path}");
        assert_eq!(response.header("server"), Some("weir"));
        // As Envoy: only the access log says why there is no route.
        assert_eq!(response.body.is_empty(), status == 404, "{path}");
        let line = format!("\"GET {path} HTTP/1.1\" {status} {flag} ");
        eventually(&line, || weir.stdout().contains(&line).then_some(()));
    }
}

#[test]
fn a_response_that_breaks_off_is_cut_and_not_completed() {
    let upstream = Upstream::start(|_| {
        Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec())
    });
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    client.send("GET /web HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(client.try_response(false).is_err());
}

#[test]
fn malformed_requests_are_refused_and_the_connection_closed() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream));
    let long = format!(
        "GET /web HTTP/1.1\r\nhost: h\r\na: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    let cases = [
        ("GET /web HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("GET /web HTTP/1.1\r\nhost: h\r\nbad name: x\r\n\r\n", 400),
        (
            "POST /web HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
        ),
        (&long, 431),
    ];
    for (request, status) in cases {
        let mut client = weir.connect();
        // Weir may close before it has read all of it.
        let _ = client.try_send(request);
        let response = client.response();
        assert_eq!(response.status, status, "{request:.60}");
        assert!(client.is_closed());
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    let requests: String = (0..5)
        .map(|n| format!("GET /web/{n} HTTP/1.1\r\nhost: h\r\n\r\n"))
        .collect();
    client.send(requests);
    for n in 0..5 {
        assert!(
            client
                .response()
                .text()
                .starts_with(&format!("GET /web/{n}\n"))
        );
    }
}

#[test]
fn a_client_that_expects_continue_is_told_to_go_on() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    client
        .send("POST /web HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    assert_eq!(client.response().status, 100);
    client.send("abc");
    let response = client.response();
    assert_eq!(response.status, 200);
    assert!(response.text().ends_with("\n\nabc"));
    assert_eq!(upstream.requests()[0].header("expect"), None);
}

#[test]
fn an_idle_connection_that_the_endpoint_closed_fails_no_request() {
    // Closes every connection after one answer, without saying so.
    let upstream = Upstream::start(|_| {
        Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())
    });
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    for _ in 0..200 {
        assert_eq!(client.get("/web").text(), "ok");
    }
}

#[test]
fn http_1_0_clients_get_a_response_they_can_frame() {
    let upstream = Upstream::start(|_| {
        Answer::Raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_vec(),
        )
    });
    let weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    client.send("GET /web HTTP/1.0\r\nhost: h\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "hello");
    assert_eq!(response.header("transfer-encoding"), None);
    assert!(client.is_closed());
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_resets_nothing() {
    let started = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&started);
    let upstream = Upstream::start(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        Answer::ok("fine")
    });
    let mut weir = Weir::start(&config(&upstream).replace("workers: 1", "workers: 2"));
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let mut client = weir.connect();
            std::thread::spawn(move || {
                // Until Weir says that the connection ends; it must say so.
                for answered in 1.. {
                    client.send("GET /web HTTP/1.1\r\nhost: h\r\n\r\n");
                    let response = client.try_response(false).expect("no request is lost");
                    assert_eq!(response.text(), "fine");
                    if response.header("connection") == Some("close") {
                        return answered;
                    }
                }
                0
            })
        })
        .collect();
    eventually("load", || {
        (started.load(Ordering::SeqCst) > 500).then_some(())
    });
    weir.terminate();
    let answered: usize = clients.into_iter().map(|c| c.join().unwrap()).sum();
    assert!(weir.wait().success());
    assert_eq!(upstream.requests().len(), answered);
}

#[test]
fn sigterm_waits_for_a_slow_response() {
    let upstream = Upstream::start(|_| {
        std::thread::park_timeout(std::time::Duration::from_millis(700));
        Answer::ok("late but whole")
    });
    let mut weir = Weir::start(&config(&upstream));
    let mut client = weir.connect();
    client.send("GET /web HTTP/1.1\r\nhost: h\r\n\r\n");
    eventually("the request is on its way", || {
        (weir.metric("envoy_cluster_upstream_rq_total") == 1).then_some(())
    });
    weir.terminate();
    assert_eq!(client.response().text(), "late but whole");
    assert!(weir.wait().success());
}

#[test]
fn a_connection_that_waits_too_long_for_a_request_is_given_up() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream).replace(
        "name: web, endpoints",
        "name: web, idle_timeout: 1ms, endpoints",
    ));
    let mut client = weir.connect();
    // With the default, one connection would do for all.
    eventually("another connection is made", || {
        assert_eq!(client.get("/web").status, 200);
        (upstream.connections() > 1).then_some(())
    });
}
