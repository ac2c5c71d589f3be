//! Clients and upstreams that break the rules or go to their limits.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "abuse/descriptors.rs"]
mod descriptors;
#[path = "abuse/http2.rs"]
mod http2;

use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_conformance::{Answer, Peer, Setup, Upstream, Weir, read_head};

/// Whether Weir still serves others, soon.
fn serves(weir: &Weir) {
    let began = Instant::now();
    assert_eq!(weir.connect().get("/other").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn heads_over_the_limits_are_refused_on_both_sides() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/many" => Answer::with_headers(&"x: y\r\n".repeat(101), "x"),
        "/large" => Answer::with_headers(&format!("x: {}\r\n", "y".repeat(200_000)), "x"),
        "/endless" => {
            Answer::Raw([b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1 << 20]].concat())
        }
        _ => Answer::with_headers(&"x: y\r\n".repeat(50), "x"),
    });
    let weir = Setup::new(upstream.address).start();
    for path in ["/many", "/large", "/endless"] {
        assert_eq!(weir.connect().get(path).status, 502, "{path}");
    }
    assert_eq!(weir.connect().get("/").status, 200);
    let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "y")).collect();
    assert_eq!(weir.connect().get_with("/", &many).status, 431);
    let large = "y".repeat(200_000);
    assert_eq!(weir.connect().get_with("/", &[("x", &large)]).status, 431);
    let mut client = weir.connect();
    client.send(format!(
        "GET /{} HTTP/1.1\r\nhost: h\r\n\r\n",
        "y".repeat(200_000)
    ));
    assert_eq!(client.response().status, 431);
}

#[test]
fn trailers_without_end_are_refused_on_both_sides() {
    let endless = || {
        let mut bytes = b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n".to_vec();
        bytes.extend_from_slice(
            "x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"
                .repeat(20_000)
                .as_bytes(),
        );
        bytes
    };
    let upstream = Upstream::start(move |_| {
        Answer::Raw([b"HTTP/1.1 200 OK\r\n".to_vec(), endless()].concat())
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send("GET /upstream HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(
        client.try_response(false).is_err(),
        "the response is cut off"
    );
    let mut client = weir.connect();
    let _ = client.try_send([b"POST /client HTTP/1.1\r\nhost: h\r\n".to_vec(), endless()].concat());
    assert_eq!(client.response().status, 400);
    assert!(client.is_closed());
    weir.logged("POST /client HTTP/1.1\" 400 DPE");
}

#[test]
fn a_head_byte_by_byte_costs_no_more_than_it_is_long() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    serves(&weir);
    let mut client = weir.connect();
    client.send("GET /slow HTTP/1.1\r\nhost: h\r\nx: ");
    let before = weir.cpu();
    for _ in 0..50_000 {
        client.send("y");
    }
    client.send("\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let spent = weir.cpu() - before;
    eprintln!("50,000 bytes one by one: {spent:?} of CPU");
    assert!(spent < Duration::from_secs(2), "{spent:?}");
}

#[test]
fn interim_responses_have_an_end() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n";
    let upstream = Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let head = read_head(&mut BufReader::new(connection));
        let few = head.first().is_some_and(|l| l.contains("/few"));
        let count = if few { 10 } else { 1_000_000 };
        for _ in 0..count {
            if out.write_all(hints.as_bytes()).is_err() {
                return;
            }
        }
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send("GET /few HTTP/1.1\r\nhost: h\r\n\r\n");
    for _ in 0..10 {
        assert_eq!(client.response().status, 103);
    }
    assert_eq!(client.response().text(), "ok");
    client.send("GET /flood HTTP/1.1\r\nhost: h\r\n\r\n");
    let status = loop {
        match client.response().status {
            103 => {}
            status => break status,
        }
    };
    assert_eq!(status, 502);
    // A client of old gets none of them.
    let mut client = weir.connect();
    client.send("GET /few HTTP/1.0\r\nhost: h\r\n\r\n");
    assert_eq!(client.response().status, 200);
    // A switch that nobody asked for does not pass as one of them.
    let upstream = Upstream::start(|_| {
        Answer::Raw(b"HTTP/1.1 101 x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec())
    });
    let weir = Setup::new(upstream.address).start();
    assert_eq!(weir.connect().get("/").status, 502);
}

#[test]
fn an_early_response_can_be_read_whatever_the_client_sends() {
    let upstream = Upstream::echo();
    // A target that is no path, hence an answer before the body.
    let weir = Setup::new(upstream.address).start();
    for _ in 0..20 {
        let mut client = weir.connect();
        client.send("POST * HTTP/1.1\r\nhost: h\r\ncontent-length: 100000000\r\n\r\n");
        // A good part of it, but not all.
        let mut tcp = client.tcp().try_clone().unwrap();
        let sender = thread::spawn(move || {
            let block = vec![b'x'; 64 * 1024];
            for _ in 0..64 {
                if tcp.write_all(&block).is_err() {
                    return;
                }
            }
        });
        let response = client.response();
        assert_eq!(response.status, 404);
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_closed());
        sender.join().unwrap();
    }
}

#[test]
fn a_connection_carries_on_after_every_kind_of_response() {
    let upstream = Upstream::start(|request| {
        Answer::Raw(match request.path.as_str() {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n".to_vec(),
            "/head" => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec(),
            "/head-chunked" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            "/chunked" => {
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
                    .to_vec()
            }
            "/empty" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
            "/close" => return Answer::RawThenClose(b"HTTP/1.1 200 OK\r\n\r\nok".to_vec()),
            "/say-close" => {
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_vec()
            }
            "/gone" => return Answer::RawThenClose(Vec::new()),
            "/short" => return Answer::Silence,
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
        })
    });
    let weir = Setup::new(upstream.address).start();
    let kinds = [
        ("GET", "/", 200),
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("HEAD", "/head", 200),
        ("HEAD", "/head-chunked", 200),
        ("GET", "/chunked", 200),
        ("POST", "/empty", 200),
        ("GET", "/close", 200),
        ("GET", "/say-close", 200),
        ("GET", "/gone", 503),
        ("GET", "/short", 504),
        ("HEAD", "/gone", 503),
        ("HEAD", "/close", 200),
    ];
    let mut client = weir.connect();
    for (method, path, status) in kinds {
        let body: &[u8] = if method == "POST" { b"abc" } else { b"" };
        let response = client.request(method, path, &[], body);
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(response.header("connection"), None, "{method} {path}");
    }
    // All at once.
    let mut client = weir.connect();
    let at_once: String = kinds
        .iter()
        .map(|(method, path, _)| {
            format!("{method} {path} HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc")
        })
        .collect();
    client.send(at_once);
    for (method, path, status) in kinds {
        let response = client.try_response(method == "HEAD").unwrap();
        assert_eq!(response.status, status, "{method} {path}");
    }
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn a_client_of_old_keeps_its_connection_if_it_asks() {
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/chunked" => Answer::Raw(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
        ),
        _ => Answer::ok("ok"),
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(
            (response.text().as_str(), response.header("connection")),
            ("ok", Some("keep-alive"))
        );
    }
    // Without a host, too.
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.response().header("connection"), Some("close"));
    assert!(client.is_closed());
    // It knows no chunks: the body ends with the connection.
    let mut client = weir.connect();
    client.send("GET /chunked HTTP/1.0\r\nhost: h\r\nconnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (
            response.text().as_str(),
            response.header("transfer-encoding")
        ),
        ("ok", None)
    );
    assert!(client.is_closed());
}

#[test]
fn responses_that_break_off_or_are_too_long() {
    let upstream = Upstream::start(|request| {
        match request.path.as_str() {
        "/no-end" => Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n".to_vec()),
        "/in-trailers" => Answer::RawThenClose(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: ".to_vec()),
        "/in-head" => Answer::RawThenClose(b"HTTP/1.1 200 OK\r\nx: y\r\n".to_vec()),
        "/long" => Answer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil".to_vec()),
        _ => Answer::ok("ok"),
    }
    });
    let weir = Setup::new(upstream.address).start();
    for path in ["/no-end", "/in-trailers"] {
        let mut client = weir.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n"));
        assert!(client.try_response(false).is_err(), "{path}");
    }
    assert_eq!(weir.connect().get("/in-head").status, 503);
    let mut client = weir.connect();
    for _ in 0..20 {
        assert_eq!(client.get("/long").text(), "ok");
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn the_route_timeout_begins_with_the_end_of_the_request() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let upstream = Upstream::start(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        if request.body.is_empty() {
            Answer::Silence
        } else {
            Answer::ok("ok")
        }
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send("POST /short HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n");
    for byte in ["a", "b", "c"] {
        thread::sleep(Duration::from_millis(400));
        client.send(byte);
    }
    assert_eq!(client.response().text(), "ok");
    let began = Instant::now();
    assert_eq!(client.get("/short").status, 504);
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(990)..Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_request_that_may_not_be_sent_twice_is_not() {
    let posts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&posts);
    // Serves one request of a connection and breaks it at the second.
    let upstream = Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        for n in 0..2 {
            let head = read_head(&mut input);
            let Some(line) = head.first() else { return };
            if line.starts_with("POST") {
                count.fetch_add(1, Ordering::SeqCst);
            }
            if n == 0 {
                out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .unwrap();
            }
        }
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    // Sent again on a new connection.
    assert_eq!(client.get("/").status, 200);
    // Not known to be unseen (RFC 9110, section 9.2.2).
    assert_eq!(client.request("POST", "/", &[], b"").status, 503);
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

#[test]
fn garbage_on_a_listener_is_answered_or_closed() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for bytes in [
        &hello[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &[0xff; 100_000],
        b"\r\n\r\n\r\n",
        b"SSH-2.0-x\r\n",
    ] {
        let mut client = weir.connect();
        let _ = client.try_send(bytes);
        let _ = client.tcp().shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = client.tcp().read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest);
        assert!(rest.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    serves(&weir);
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start(|request| Answer::ok(&request.path));
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    let mut tcp = client.tcp().try_clone().unwrap();
    let sender = thread::spawn(move || {
        for n in 0..1000 {
            let padding = "y".repeat(n % 300);
            let request = format!(
                "POST /{n} HTTP/1.1\r\nhost: h\r\nx: {padding}\r\ncontent-length: 3\r\n\r\nabc"
            );
            tcp.write_all(request.as_bytes()).unwrap();
        }
    });
    for n in 0..1000 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    sender.join().unwrap();
}

#[test]
fn the_early_response_of_an_upstream_that_closes_is_passed_on() {
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        read_head(&mut input);
        out.write_all(
            b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig",
        )
        .unwrap();
        // Over unread input, the end is a reset.
    });
    let weir = Setup::new(upstream.address).start();
    for _ in 0..30 {
        let mut client = weir.connect();
        let mut tcp = client.tcp().try_clone().unwrap();
        let sender = thread::spawn(move || {
            let head = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10485760\r\n\r\n";
            let _ = tcp.write_all(head.as_bytes());
            let _ = tcp.write_all(&vec![b'x'; 10 << 20]);
        });
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (413, "big"));
        drop(client);
        sender.join().unwrap();
    }
}

#[test]
fn two_upgrades_in_one_request_are_refused() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send(
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: secret\r\n\
         upgrade: websocket\r\n\r\n",
    );
    assert_eq!(client.response().status, 400);
    assert_eq!(upstream.requests().len(), 0);
}
