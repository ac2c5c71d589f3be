//! HTTP/2 to upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::sync::Notify;
use weir_conformance::guests::body_reader;
use weir_conformance::h2::{H2Upstream, connect, get, read, request, run, send_all};
use weir_conformance::{Setup, Weir};

fn start(upstream: &H2Upstream) -> Weir {
    Setup::new(upstream.address)
        .http2_upstream()
        .filter(body_reader())
        .start()
}

fn response(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

fn field(name: &'static str, value: &str) -> HeaderMap {
    [(name.parse().unwrap(), value.parse().unwrap())]
        .into_iter()
        .collect()
}

/// Says what it was sent, after a 103; the trailers come back with one more.
async fn tell(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let hints = Response::builder()
        .status(103)
        .header("link", "x")
        .body(())
        .unwrap();
    respond.send_informational(hints).unwrap();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text += "\n";
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        text += std::str::from_utf8(&data).unwrap();
    }
    let trailers = body.trailers().await.unwrap();
    let mut stream = respond.send_response(response(200), false).unwrap();
    send_all(&mut stream, text.into(), trailers.is_none())
        .await
        .unwrap();
    if let Some(mut trailers) = trailers {
        trailers.insert("x-two", "2".parse().unwrap());
        stream.send_trailers(trailers).unwrap();
    }
}

#[test]
fn messages_pass_whole_from_either_version() {
    let upstream = H2Upstream::start(tell);
    let weir = start(&upstream);
    run(async {
        let mut client = connect(weir.listener("edge")).await;
        let headers = [
            ("te", "trailers"),
            ("x", "1"),
            ("x", "2"),
            ("cookie", "a"),
            ("cookie", "b"),
        ];
        let (mut answer, mut stream) = client
            .send_request(request("POST", "/p?q", &headers), false)
            .unwrap();
        stream.send_data("abc".into(), false).unwrap();
        stream.send_trailers(field("x-one", "1")).unwrap();
        let hints = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        assert_eq!(hints.unwrap().unwrap().status(), 103);
        let answer = read(answer).await.unwrap();
        let text = answer.text();
        assert!(
            text.starts_with("POST http://test/p?q\n") && text.ends_with("\n\nabc"),
            "{text}"
        );
        for line in ["te: trailers\n", "x: 1\nx: 2\n", "cookie: a; b\n"] {
            assert!(text.contains(line), "{text}");
        }
        let trailers = answer.trailers.unwrap();
        assert_eq!(
            (&trailers["x-one"], &trailers["x-two"]),
            (
                &"1".parse::<http::HeaderValue>().unwrap(),
                &"2".parse().unwrap()
            )
        );
    });
    let mut client = weir.connect();
    client.send(b"POST /h1 HTTP/1.1\r\nhost: h\r\nx: \xff\r\nte: trailers, gzip\r\nconnection: x-hop\r\nx-hop: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 103);
    let text = client.response().text();
    assert!(
        text.starts_with("POST http://h/h1\n") && text.ends_with("\n\nabc"),
        "{text}"
    );
    assert!(text.contains("te: trailers\n"), "{text}");
    assert!(
        !text.contains("x-hop") && !text.contains("transfer-encoding"),
        "{text}"
    );
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn reset_codes_are_kept() {
    let upstream = H2Upstream::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            match request.uri().path() {
                "/before" => respond.send_reset(Reason::from(13)),
                "/within" => {
                    let mut stream = respond.send_response(response(200), false).unwrap();
                    send_all(&mut stream, "part".into(), false).await.unwrap();
                    // What is not on its way yet goes with the stream.
                    PART_CAME.notified().await;
                    stream.send_reset(Reason::from(13));
                }
                _ => {
                    // Until the other side resets it.
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx))
                        .await
                        .unwrap();
                    LAST_RESET.store(u32::from(reason) as usize, Ordering::SeqCst);
                }
            }
        },
    );
    static LAST_RESET: AtomicUsize = AtomicUsize::new(0);
    static PART_CAME: Notify = Notify::const_new();
    let weir = start(&upstream);
    run(async {
        let mut client = connect(weir.listener("edge")).await;
        assert_eq!(get(&mut client, "/before", &[]).await.unwrap().status, 503);
        let within = request("GET", "/within", &[]);
        let (answer, _) = client.send_request(within, true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "part");
        PART_CAME.notify_one();
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::from(13)));
        let (answer, mut stream) = client
            .send_request(request("POST", "/wait", &[]), false)
            .unwrap();
        weir_conformance::eventually("the request has come", || {
            (upstream.requests() == 3).then_some(())
        });
        stream.send_reset(Reason::from(14));
        drop(answer);
        weir_conformance::eventually("the code has passed", || {
            (LAST_RESET.load(Ordering::SeqCst) == 14).then_some(())
        });
    });
    assert!(weir.logged("GET /before").contains(" 503 UR "));
    assert!(weir.logged("POST /wait").contains(" DC "));
}

#[test]
fn goaway_and_refused_streams_fail_no_request() {
    // Every connection takes ten requests; every fifth stream is refused.
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let upstream =
        H2Upstream::start_with(&h2::server::Builder::new(), 10, move |_, mut respond| {
            let turn = count.fetch_add(1, Ordering::SeqCst);
            async move {
                if turn % 5 == 4 {
                    return respond.send_reset(Reason::REFUSED_STREAM);
                }
                let mut stream = respond.send_response(response(200), false).unwrap();
                send_all(&mut stream, "ok".into(), true).await.unwrap();
            }
        });
    let weir = start(&upstream);
    let mut failed = 0;
    let mut client = weir.connect();
    for _ in 0..300 {
        if client.get("/").status != 200 {
            failed += 1;
        }
    }
    // A stream that was refused on a connection's first use is not sent again.
    assert!(
        failed <= upstream.connections() && failed * 5 < 300,
        "{failed}"
    );
    let upstream = H2Upstream::start_with(
        &h2::server::Builder::new(),
        10,
        |_, mut respond| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut stream = respond.send_response(response(200), false).unwrap();
            send_all(&mut stream, "ok".into(), true).await.unwrap();
        },
    );
    let weir = start(&upstream);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = weir.connect();
            std::thread::spawn(move || {
                for n in 0..100 {
                    assert_eq!(client.get("/").status, 200, "{n}");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    assert_eq!(upstream.requests(), 800);
    assert!(upstream.connections() >= 40, "{}", upstream.connections());
}

#[test]
fn an_endpoint_that_refuses_streams_gets_no_connection_for_each() {
    let upstream = H2Upstream::start(|request, mut respond| async move {
        if request.uri().path() == "/refused" {
            respond.send_reset(Reason::REFUSED_STREAM);
        } else {
            let response = http::Response::new(());
            respond.send_response(response, true).unwrap();
        }
    });
    let weir = start(&upstream);
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    for _ in 0..20 {
        assert_eq!(client.get("/refused").status, 503);
    }
    // Each was sent once more, over the connection that there is.
    assert_eq!((upstream.requests(), upstream.connections()), (41, 1));
}

#[test]
fn a_response_that_is_no_message_is_refused() {
    let upstream = H2Upstream::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut answer = response(200);
            match request.uri().path() {
                "/101" => *answer.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS,
                "/many" => {
                    for n in 0..101 {
                        let name: http::HeaderName = format!("x-{n}").parse().unwrap();
                        answer.headers_mut().insert(name, "1".parse().unwrap());
                    }
                }
                "/large" => {
                    _ = answer
                        .headers_mut()
                        .insert("x", "y".repeat(200_000).parse().unwrap());
                }
                "/length" => {
                    _ = answer
                        .headers_mut()
                        .insert("content-length", "10".parse().unwrap());
                }
                _ => {}
            }
            if let Ok(mut stream) = respond.send_response(answer, false) {
                let _ = send_all(&mut stream, "ok".into(), true).await;
            }
        },
    );
    let weir = start(&upstream);
    for path in ["/101", "/many", "/large"] {
        let status = weir.connect().get(path).status;
        assert!(status == 502 || status == 503, "{path} {status}");
    }
    let mut client = weir.connect();
    client.send("GET /length HTTP/1.1\r\nhost: h\r\n\r\n");
    // The error may come before the headers went out.
    assert!(client.try_response(false).is_err() || client.is_closed());
    assert_eq!(weir.connect().get("/").status, 200);
}

#[test]
fn an_echo_of_100_mib_passes_over_http2_on_both_sides() {
    const MIB: usize = 1 << 20;
    let upstream = H2Upstream::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut body = request.into_body();
            let mut stream = respond.send_response(response(200), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                body.flow_control().release_capacity(data.len()).unwrap();
                if send_all(&mut stream, data, false).await.is_err() {
                    return;
                }
            }
            stream.send_data(Bytes::new(), true).unwrap();
        },
    );
    let weir = start(&upstream);
    let echo = |length: usize| {
        run(async {
            let mut client = connect(weir.listener("edge")).await;
            let (answer, mut stream) = client
                .send_request(request("POST", "/", &[]), false)
                .unwrap();
            let sender = tokio::spawn(async move {
                for n in 1..=length / MIB {
                    let block = Bytes::from(vec![(n % 251) as u8; MIB]);
                    send_all(&mut stream, block, n == length / MIB)
                        .await
                        .unwrap();
                }
            });
            let mut body = answer.await.unwrap().into_body();
            let mut at = 0;
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                // The end may come in an empty frame of its own.
                let block = ((at / MIB + 1) % 251) as u8;
                assert!(data.first().is_none_or(|first| *first == block));
                at += data.len();
            }
            assert_eq!(at, length);
            sender.await.unwrap();
        });
    };
    echo(4 * MIB);
    weir.forget_peak_memory();
    let (before, _) = weir.memory();
    let began = Instant::now();
    echo(100 * MIB);
    let grown = weir.memory().1.saturating_sub(before);
    eprintln!(
        "HTTP/2 to HTTP/2 echo of 100 MiB: {:?}, {} KiB more",
        began.elapsed(),
        grown / 1024
    );
    assert!(grown < 8 * MIB as u64, "{} KiB", grown / 1024);
}

#[test]
fn a_client_that_does_not_read_stops_no_other_stream_of_the_upstreams_connection() {
    let upstream = H2Upstream::start(
        |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
            let mut stream = respond.send_response(response(200), false).unwrap();
            let large = request.uri().path() == "/large";
            let body = if large {
                vec![0; 64 << 20]
            } else {
                b"ok".to_vec()
            };
            let _ = send_all(&mut stream, body.into(), true).await;
        },
    );
    let weir = start(&upstream);
    let mut stalled: Vec<_> = (0..20).map(|_| weir.connect()).collect();
    for client in &mut stalled {
        client.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n");
    }
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..20 {
        assert_eq!(weir.connect().get("/").text(), "ok");
    }
}

#[test]
fn requests_that_come_together_share_a_connection() {
    let upstream = H2Upstream::start(|_, mut respond: SendResponse<Bytes>| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = respond.send_response(response(200), false).unwrap();
        send_all(&mut stream, "ok".into(), true).await.unwrap();
    });
    let weir = start(&upstream);
    let mut clients: Vec<_> = (0..60).map(|_| weir.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    assert_eq!(upstream.connections(), 1);
    // A failure is shared, too.
    let weir = Setup::new(weir_conformance::nobody())
        .http2_upstream()
        .start();
    for client in &mut (0..10).map(|_| weir.connect()).collect::<Vec<_>>() {
        assert_eq!(client.get("/").status, 503);
    }
}

#[test]
fn a_websocket_reaches_an_http2_upstream() {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let echo = |request: Request<RecvStream>, mut respond: SendResponse<Bytes>| async move {
        if request.method() != http::Method::CONNECT {
            respond.send_response(response(200), true).unwrap();
            return;
        }
        let protocol = request.extensions().get::<h2::ext::Protocol>();
        assert_eq!(protocol.unwrap().as_str(), "websocket");
        assert_eq!(request.uri().path(), "/ws");
        assert!(!request.headers().contains_key("upgrade"));
        let mut body = request.into_body();
        let mut stream = respond.send_response(response(200), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
            send_all(&mut stream, data, false).await.unwrap();
        }
    };
    let upstream = H2Upstream::start_with(&builder, usize::MAX, echo);
    let weir = start(&upstream);
    for _ in 0..2 {
        let mut client = weir.connect();
        client.send(
            "GET /ws HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
        );
        let switched = client.response();
        assert_eq!(switched.status, 101);
        assert_eq!(switched.header("upgrade"), Some("websocket"));
        client.send("abc");
        let mut got = [0; 3];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"abc");
    }
}

#[test]
fn an_early_response_that_stops_the_upload_is_passed_on() {
    let upstream = H2Upstream::start(|request, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(response(413), false).unwrap();
        stream.send_data("big".into(), true).unwrap();
        // Its body unread, the request is reset with NO_ERROR.
        drop(request);
    });
    let weir = start(&upstream);
    for _ in 0..30 {
        let mut client = weir.connect();
        let mut tcp = client.tcp().try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            use std::io::Write;
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
