//! HTTP/2 from clients.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_conformance::frames::{self, END_HEADERS, END_STREAM, RawH2, get_block, kind};
use weir_conformance::guests::{Edit, Map, body_reader, editor, pauser};
use weir_conformance::{Answer, Peer, Setup, Upstream, eventually, h2, read_head};

#[test]
fn a_request_and_its_response_pass() {
    let upstream = Upstream::start(|request| {
        Answer::with_headers(
            "X-Answer: 1\r\nset-cookie: a\r\nset-cookie: b\r\nconnection: x-hop\r\nx-hop: 1\r\n",
            &request.body,
        )
    });
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let request = h2::request(
            "POST",
            "/p?q",
            &[
                ("cookie", "a=1"),
                ("x", "1"),
                ("cookie", "b=2"),
                ("te", "trailers"),
            ],
        );
        let (response, mut stream) = client.send_request(request, false).unwrap();
        h2::send_all(&mut stream, "hello".into(), true)
            .await
            .unwrap();
        let response = h2::read(response).await.unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
        assert_eq!(response.headers["x-answer"], "1");
        assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
        assert!(
            !response.headers.contains_key("x-hop") && !response.headers.contains_key("connection")
        );
    });
    let request = &upstream.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/p?q")
    );
    assert_eq!(request.header("host"), Some("test"));
    // RFC 9113, section 8.2.3.
    assert_eq!(request.header("cookie"), Some("a=1; b=2"));
    assert_eq!(request.header("te"), Some("trailers"));
    assert!(
        weir.logged("POST /p?q")
            .contains("HTTP/2\" 200 - via_upstream 5 5")
    );
}

/// Answers a chunked request with its trailers in the response's trailers.
fn trailing() -> Peer {
    Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        while !read_head(&mut input).is_empty() {
            // One chunk of three bytes, then the trailers.
            let mut chunk = [0; 8];
            input.read_exact(&mut chunk).unwrap();
            assert_eq!(&chunk, b"3\r\nabc\r\n");
            let trailers = read_head(&mut input)[1..].join("|");
            let answer = format!(
                "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
                 x-seen: {trailers}\r\nx-two: 2\r\n\r\n"
            );
            out.write_all(answer.as_bytes()).unwrap();
        }
    })
}

#[test]
fn trailers_and_1xx_pass_both_ways() {
    let upstream = trailing();
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        for _ in 0..2 {
            let (mut response, mut stream) = client
                .send_request(h2::request("POST", "/", &[]), false)
                .unwrap();
            stream.send_data("abc".into(), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-one", "1".parse().unwrap());
            stream.send_trailers(trailers).unwrap();
            let hints = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            let hints = hints.unwrap().unwrap();
            assert_eq!(
                (hints.status().as_u16(), &hints.headers()["link"]),
                (103, &"x".parse::<http::HeaderValue>().unwrap())
            );
            let response = h2::read(response).await.unwrap();
            assert_eq!(response.text(), "ok");
            let trailers = response.trailers.unwrap();
            assert_eq!(
                (&trailers["x-seen"], &trailers["x-two"]),
                (
                    &"x-one: 1".parse::<http::HeaderValue>().unwrap(),
                    &"2".parse().unwrap()
                )
            );
        }
    });
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn http1_trailers_pass_both_ways() {
    let upstream = trailing();
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-One: 1\r\n\r\n");
    assert_eq!(client.response().status, 103);
    let mut all = Vec::new();
    while !all.ends_with(b"x-two: 2\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    let text = String::from_utf8(all).unwrap();
    assert!(
        text.ends_with("\r\n2\r\nok\r\n0\r\nx-seen: x-one: 1\r\nx-two: 2\r\n\r\n"),
        "{text:?}"
    );
}

#[test]
fn a_preface_may_come_byte_by_byte() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    for cut in [1, 3, 16, 18, 20, 23] {
        let mut raw = RawH2::from(std::net::TcpStream::connect(weir.listener("edge")).unwrap());
        raw.send_bytes(&frames::PREFACE[..cut]);
        // Nothing tells when Weir has read a part; it mostly has by now.
        std::thread::sleep(Duration::from_millis(20));
        raw.send_bytes(&frames::PREFACE[cut..]);
        raw.send(kind::SETTINGS, 0, 0, b"");
        raw.get(1);
        let headers = raw.read_until(|f| f.kind == kind::HEADERS);
        assert!(headers.is_ok(), "cut at {cut}");
    }
}

#[test]
fn reset_of_a_client_is_noticed_while_it_waits() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        for (path, headers) in [("/paused", &[("x-pause", "1")][..]), ("/waiting", &[])] {
            let (response, mut stream) = client
                .send_request(h2::request("POST", path, headers), false)
                .unwrap();
            stream.send_data("abc".into(), false).unwrap();
            // Ping-pong: what was sent before has been handled then.
            let mut other = client.clone().ready().await.unwrap();
            let (_late, _) = other
                .send_request(h2::request("GET", "/other", &[("x-pause", "2")]), true)
                .unwrap();
            stream.send_reset(::h2::Reason::CANCEL);
            drop(response);
            let line = weir.logged(&format!("\"POST {path} "));
            assert!(line.contains(" 0 DC "), "{line}");
        }
    });
}

#[test]
fn an_early_response_is_complete_and_stops_the_upload() {
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        if !read_head(&mut input).is_empty() {
            out.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
                .unwrap();
            let _ = input.read_to_end(&mut Vec::new());
        }
    });
    let weir = Setup::new(upstream.address).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        for _ in 0..5 {
            client = client.ready().await.unwrap();
            let (response, mut stream) = client
                .send_request(h2::request("POST", "/", &[]), false)
                .unwrap();
            let upload = tokio::spawn(async move {
                h2::send_all(&mut stream, vec![0; 10 << 20].into(), true).await
            });
            let response = h2::read(response).await.unwrap();
            assert_eq!((response.status, response.text().as_str()), (413, "big"));
            // Told to stop with NO_ERROR (RFC 9113, section 8.1).
            let stopped = upload.await.unwrap().unwrap_err();
            assert_eq!(stopped.reason(), Some(::h2::Reason::NO_ERROR));
        }
    });
}

#[test]
fn sigterm_drains_streams_and_loses_none() {
    let upstream = Upstream::start(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Answer::ok("ok")
    });
    let mut weir = Setup::new(upstream.address).start();
    let address = weir.listener("edge");
    let started = Arc::new(AtomicUsize::new(0));
    h2::run(async {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let started = Arc::clone(&started);
                tokio::spawn(async move {
                    let client = h2::connect(address).await;
                    let mut answered = 0;
                    // Until the connection takes no more streams.
                    while let Ok(mut ready) = client.clone().ready().await {
                        let Ok((response, _)) =
                            ready.send_request(h2::request("GET", "/", &[]), true)
                        else {
                            break;
                        };
                        started.fetch_add(1, Ordering::SeqCst);
                        match h2::read(response).await {
                            Ok(response) => {
                                assert_eq!(response.text(), "ok");
                                answered += 1;
                            }
                            // Not looked at, so it can be sent elsewhere.
                            Err(error) => {
                                assert!(
                                    error.is_go_away()
                                        && error.reason() == Some(::h2::Reason::NO_ERROR),
                                    "{error}"
                                );
                                break;
                            }
                        }
                    }
                    answered
                })
            })
            .collect();
        eventually("load", || {
            (started.load(Ordering::SeqCst) > 200).then_some(())
        });
        weir.terminate();
        let mut answered = 0;
        for client in clients {
            answered += client.await.unwrap();
        }
        assert!(weir.wait().success());
        assert_eq!(upstream.requests().len(), answered);
        assert_eq!(weir.stdout().lines().count(), answered);
    });
}

#[test]
fn a_paused_stream_with_a_full_window_holds_nobody_else_up() {
    let upstream = Upstream::start(|request| Answer::ok(request.body.len().to_string()));
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    h2::run(async {
        let client = h2::connect(weir.listener("edge")).await;
        // More streams than a shared window of few megabytes would carry.
        let mut paused = Vec::new();
        for _ in 0..40 {
            let mut ready = client.clone().ready().await.unwrap();
            let (response, mut stream) = ready
                .send_request(h2::request("POST", "/", &[("x-pause", "1")]), false)
                .unwrap();
            let upload = tokio::spawn(async move {
                h2::send_all(&mut stream, vec![0; 4 << 20].into(), true).await
            });
            paused.push((response, upload));
        }
        // Until the windows are full, nothing tells; then others still pass.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        for _ in 0..5 {
            let mut ready = client.clone().ready().await.unwrap();
            let (response, mut stream) = ready
                .send_request(h2::request("POST", "/", &[]), false)
                .unwrap();
            h2::send_all(&mut stream, vec![0; 1 << 20].into(), true)
                .await
                .unwrap();
            assert_eq!(
                h2::read(response).await.unwrap().text(),
                (1 << 20).to_string()
            );
        }
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(paused.iter().all(|(_, upload)| !upload.is_finished()));
    });
}

#[test]
fn headers_over_the_limit_are_answered_with_431() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let mut builder = ::h2::client::Builder::new();
    builder.max_send_buffer_size(1 << 20);
    h2::run(async {
        let mut client = h2::connect_with(weir.listener("edge"), &builder).await;
        let names: Vec<String> = (0..101).map(|n| format!("x-{n}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "1")).collect();
        assert_eq!(
            h2::get(&mut client, "/many", &many).await.unwrap().status,
            431
        );
        let large = "x".repeat(70_000);
        assert_eq!(
            h2::get(&mut client, "/large", &[("x", &large)])
                .await
                .unwrap()
                .status,
            431
        );
        assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().status, 200);
    });
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_client_that_expects_continue_is_told_to_go_on() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let request = h2::request("POST", "/", &[("expect", "100-continue")]);
        let (mut response, mut stream) = client.send_request(request, false).unwrap();
        let go_on = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
        assert_eq!(go_on.unwrap().unwrap().status().as_u16(), 100);
        stream.send_data(Bytes::from_static(b"abc"), true).unwrap();
        let response = h2::read(response).await.unwrap();
        assert!(response.text().ends_with("\n\nabc"));
    });
    assert_eq!(upstream.requests()[0].header("expect"), None);
}

#[test]
fn of_authority_and_host_one_goes_on() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let mut raw = RawH2::connect(weir.listener("edge"));
    let block = get_block(&[(b"host", b"other"), (b"x", b"\xff\xfe")]);
    raw.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, block);
    raw.read_until(|f| f.kind == kind::DATA).unwrap();
    let hosts: Vec<_> = upstream.requests()[0]
        .headers
        .iter()
        .filter(|(name, _)| name == "host")
        .map(|(_, value)| value.clone())
        .collect();
    assert_eq!(hosts, ["test"]);
}

#[test]
fn a_response_that_has_no_body_gets_none_from_a_filter() {
    let upstream = Upstream::start(|_| Answer::ok("ok"));
    let filter = editor(&[
        Edit::Replace(Map::ResponseHeaders, b":status", b"204"),
        Edit::Replace(Map::ResponseHeaders, b"content-length", b"2"),
    ]);
    let weir = Setup::new(upstream.address).filter(filter).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let response = h2::get(&mut client, "/", &[]).await.unwrap();
        assert_eq!((response.status, response.body.len()), (204, 0));
        assert!(!response.headers.contains_key("content-length"));
    });
}
