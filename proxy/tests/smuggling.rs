//! Messages with two readings: refused or normalised, whether their bytes come
//! from a client, from an upstream or from a filter.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufReader, Read, Write};
use std::sync::{Arc, Mutex};

use weir_conformance::guests::{Edit, Map, body_replacer, editor};
use weir_conformance::{Answer, Client, Peer, Setup, Upstream, Weir, read_head};

/// An upstream that keeps what it is sent, byte for byte, and answers 200 to
/// every head.
fn recorder() -> (Peer, Arc<Mutex<Vec<u8>>>) {
    let record: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&record);
    let peer = Peer::start(move |mut connection| {
        let mut buffer = [0; 65536];
        while let Ok(n @ 1..) = connection.read(&mut buffer) {
            let mut all = kept.lock().unwrap();
            all.extend_from_slice(&buffer[..n]);
            if all.ends_with(b"\r\n\r\n") {
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                if connection.write_all(ok).is_err() {
                    return;
                }
            }
        }
    });
    (peer, record)
}

fn text(record: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&record.lock().unwrap()).into_owned()
}

/// The status of the answer, and whether the connection is closed then.
fn ask(weir: &Weir, request: impl AsRef<[u8]>) -> (u16, bool) {
    let mut client = weir.connect();
    let _ = client.try_send(request);
    let status = client.try_response(false).map_or(0, |r| r.status);
    (status, client.is_closed())
}

#[test]
fn a_request_with_two_readings_is_refused_and_its_connection_ends() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let post = |fields: &str, body: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: h\r\n{fields}\r\n{body}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
        )
    };
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(5000));
    let cases = [
        post(
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "0\r\n\r\n",
        ),
        post("content-length: 5\r\ncontent-length: 6\r\n", "12345"),
        post("content-length: 5, 6\r\n", "12345"),
        post("content-length: 5, 5\r\n", "12345"),
        post("content-length: +5\r\n", "12345"),
        post("content-length: 0x5\r\n", "12345"),
        post("content-length: -1\r\n", ""),
        post("content-length: 99999999999999999999\r\n", ""),
        post("content-length:\r\n", ""),
        post("content-length : 5\r\n", "12345"),
        post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("transfer-encoding: identity\r\n", ""),
        post(
            "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n",
            "0\r\n\r\n",
        ),
        post("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding:\x0bchunked\r\n", "0\r\n\r\n"),
        post("transfer-encoding: \"chunked\"\r\n", "0\r\n\r\n"),
        post("x: 1\r\n\ttransfer-encoding: chunked\r\n", "0\r\n\r\n"),
        post(" x: 1\r\n", ""),
        post("x: a\r\n b\r\n", ""),
        post("x: a\0b\r\n", ""),
        post("x\0: a\r\n", ""),
        post("x: a\rb\r\n", ""),
        post("x: a\n", ""),
        post("x: a\r\ny: b\n", ""),
        post("host: other\r\n", ""),
        post("no colon\r\n", ""),
        post(": empty\r\n", ""),
        post("transfer-encoding: chunked\r\n", "5\nabcde\r\n0\r\n\r\n"),
        post(
            "transfer-encoding: chunked\r\n",
            "5\r\nabcdefg\r\n0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\n",
            "5 x\r\nabcde\r\n0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\n",
            "0x5\r\nabcde\r\n0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\n",
            "ffffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\n",
            "5;a\0b\r\nabcde\r\n0\r\n\r\n",
        ),
        post(
            "transfer-encoding: chunked\r\n",
            "5;a\rb\r\nabcde\r\n0\r\n\r\n",
        ),
        post("transfer-encoding: chunked\r\n", "0\r\nx: a\n\r\n"),
        post("transfer-encoding: chunked\r\n", "0\r\n x: a\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", "0\r\nx\0: a\r\n\r\n"),
        post("transfer-encoding: chunked\r\n", &long),
        post(
            "connection: upgrade\r\nupgrade: websocket\r\ntransfer-encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        post(
            "connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n",
            "12345",
        ),
        "GET / HTTP/1.1\nhost: h\n\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: h\r\n\nGET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "GET / x HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "GET /\0 HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "GET / HTTP/1.1 \r\nhost: h\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\nhost: h\r\n\r\n".to_owned(),
        "GET /\r\n\r\n".to_owned(),
        "G(T / HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: a,b\tc\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
    ];
    for case in cases {
        let (status, closed) = ask(&weir, &case);
        assert!(
            (400..=501).contains(&status) && closed,
            "{status} {closed} {case:?}"
        );
    }
    let smuggled = upstream
        .requests()
        .into_iter()
        .filter(|r| r.path == "/smuggled");
    assert_eq!(smuggled.count(), 0);
}

#[test]
fn what_goes_on_has_one_reading() {
    let (upstream, record) = recorder();
    let weir = Setup::new(upstream.address).start();
    let cases: [(&str, &str); 7] = [
        (
            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nconnection: x-a, content-length\r\nx-a: 1\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: h\r\nx-forwarded-proto: http\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 000\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 000\r\nx-forwarded-proto: http\r\n\r\n",
        ),
        // A client of old knows no upgrade (RFC 9110, section 7.8).
        (
            "GET /old HTTP/1.0\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "GET /old HTTP/1.1\r\nhost: h\r\nx-forwarded-proto: http\r\n\r\n",
        ),
        (
            "GET http://abs?q HTTP/1.1\r\nhost: other\r\n\r\n",
            "GET /?q HTTP/1.1\r\nhost: abs\r\nx-forwarded-proto: http\r\n\r\n",
        ),
        // The target names its host itself.
        (
            "GET http://abs/ HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: abs\r\nx-forwarded-proto: http\r\n\r\n",
        ),
        (
            "GET / HTTP/1.1\r\nhost: h\r\nx: \t a b \t\r\nx-empty:\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\r\nx: a b\r\nx-empty: \r\nx-forwarded-proto: http\r\n\r\n",
        ),
        (
            "\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: te\r\nkeep-alive: 5\r\nproxy-connection: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\nx-forwarded-proto: http\r\n\r\n",
        ),
    ];
    for (sent, expected) in cases {
        record.lock().unwrap().clear();
        let mut client = weir.connect();
        client.send(sent);
        assert_eq!(client.response().status, 200, "{sent:?}");
        let got = text(&record);
        assert!(got.starts_with(expected), "{sent:?} became {got:?}");
    }
}

#[test]
fn connection_cannot_name_what_frames_a_message() {
    let (upstream, record) = recorder();
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    // Taken away, the body would become a request of its own.
    client.send(
        "POST / HTTP/1.1\r\nhost: h\r\nconnection: content-length, host, cookie\r\n\
         cookie: a\r\ncontent-length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: hhhhhh\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    let got = text(&record);
    let framed =
        got.contains("content-length: 38\r\n") || got.contains("transfer-encoding: chunked\r\n");
    assert!(framed && got.contains("host: h\r\n"), "{got:?}");
}

#[test]
fn bytes_that_are_not_utf8_and_duplicates_pass_in_order() {
    let (upstream, record) = recorder();
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send(b"GET / HTTP/1.1\r\nhost: h\r\nb: 1\r\na: \xff\xfe\r\nb: 2\r\nB: 3\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let expected = b"host: h\r\nb: 1\r\na: \xff\xfe\r\nb: 2\r\nb: 3\r\nx-";
    let got = record.lock().unwrap();
    assert!(got.windows(expected.len()).any(|w| w == expected));
}

/// Answers every request with the same bytes; keeps the connection.
fn answering(bytes: &'static [u8]) -> Peer {
    Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        while !read_head(&mut input).is_empty() {
            if out.write_all(bytes).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_response_with_two_readings_is_refused() {
    let cases: [&'static [u8]; 15] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx y: a\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    ];
    for case in cases {
        let upstream = answering(case);
        let weir = Setup::new(upstream.address).start();
        let mut client = weir.connect();
        let response = client.get("/");
        let shown = String::from_utf8_lossy(case);
        assert_eq!(response.status, 502, "{shown:?}");
        let log = weir.logged("GET / ");
        assert!(log.contains(" 502 UPE "), "{log}");
        // Nothing is left on a connection that another request could get.
        assert_eq!(client.get("/").status, 502);
        assert_eq!(upstream.connections(), 2, "{shown:?}");
    }
}

#[test]
fn a_broken_chunk_of_a_response_cuts_it_off() {
    for body in [
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "x\r\n",
        "3;\0\r\nabc\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |_| {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Answer::Raw(format!("{head}2\r\nab\r\n{body}").into())
        });
        let weir = Setup::new(upstream.address).start();
        let mut client = weir.connect();
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        // The error may come before the headers went out.
        let whole = client.try_response(false).map_or(0, |r| r.status);
        assert!(whole == 0 || whole == 502, "{body:?} {whole}");
        assert!(client.is_closed() || whole == 502);
    }
}

#[test]
fn bytes_behind_a_response_do_not_become_the_next_one() {
    // Each answer is followed by another one that nobody asked for.
    for first in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 37\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 37\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let upstream = Upstream::start(move |_| {
            let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            Answer::Raw([first, &evil[..]].concat())
        });
        let weir = Setup::new(upstream.address).start();
        let mut client = weir.connect();
        for _ in 0..10 {
            let response = client.get("/");
            assert_ne!(
                response.body,
                b"evil",
                "{:?}",
                String::from_utf8_lossy(first)
            );
        }
    }
}

#[test]
fn a_204_has_no_length_and_no_coding() {
    let upstream = answering(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n");
    let weir = Setup::new(upstream.address).start();
    let response = weir.connect().get("/");
    assert_eq!(response.status, 204);
    // RFC 9110, section 8.6.
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.header("transfer-encoding"), None);
}

fn through(filter: String) -> (Weir, Peer, Arc<Mutex<Vec<u8>>>) {
    let (upstream, record) = recorder();
    let weir = Setup::new(upstream.address).filter(filter).start();
    (weir, upstream, record)
}

#[test]
fn a_filter_cannot_break_a_request_apart() {
    use Edit::{Add, Replace};
    let request = Map::RequestHeaders;
    let edits = [
        Add(request, b"x", b"a\r\nsmuggled: 1"),
        Add(request, b"x", b"a\nsmuggled: 1"),
        Add(request, b"x", b"a\0b"),
        Add(request, b"x\r\nsmuggled: 1\r\ny", b"a"),
        Add(request, b"x y", b"a"),
        Add(request, b"", b"a"),
        Add(request, b"x:", b"a"),
        Replace(request, b":path", b"/ HTTP/1.1\r\nsmuggled: 1\r\nx:"),
        Replace(request, b":path", b"/a b"),
        Replace(request, b":path", b"/\x7f"),
        Replace(
            request,
            b":method",
            b"GET /smuggled HTTP/1.1\r\nx: y\r\n\r\nGET",
        ),
        Replace(request, b":method", b""),
        Replace(request, b":method", b"CONNECT"),
        Replace(request, b":authority", b"h\r\nsmuggled: 1"),
        Replace(request, b":authority", b"h/path"),
        Replace(request, b"content-length", b"5\r\nsmuggled: 1"),
        Replace(request, b"content-length", b"5"),
        Add(request, b"content-length", b"7"),
        Replace(request, b"Content-Length", b"x"),
    ];
    for edit in edits {
        let (weir, upstream, record) = through(editor(&[edit]));
        let mut client = weir.connect();
        client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        let status = client.response().status;
        assert_eq!(status, 503, "{edit:?}");
        assert_eq!(text(&record), "", "{edit:?}");
        drop(upstream);
    }
}

#[test]
fn a_filter_cannot_frame_a_message() {
    use Edit::{Add, Replace};
    let request = Map::RequestHeaders;
    for (edits, body) in [
        (vec![Add(request, b"transfer-encoding", b"chunked")], ""),
        (
            vec![Add(request, b"Transfer-Encoding", b"chunked")],
            "\r\n\r\n",
        ),
        (
            vec![
                Add(request, b"connection", b"upgrade"),
                Add(request, b"upgrade", b"websocket"),
            ],
            "",
        ),
        (
            vec![Replace(request, b"connection", b"close, content-length")],
            "\r\n\r\n",
        ),
        (vec![Add(request, b"host", b"other")], ""),
        (vec![Add(request, b"keep-alive", b"x")], ""),
    ] {
        let (weir, _upstream, record) = through(editor(&edits));
        let mut client = weir.connect();
        let more = if body.is_empty() {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        client.send(format!("POST / HTTP/1.1\r\nhost: h\r\n{more}\r\n{body}"));
        let status = client.response().status;
        let got = text(&record);
        for (name, most) in [
            ("host: ", 1),
            ("content-length: ", 1),
            ("transfer-encoding", 0),
            ("upgrade", 0),
            ("connection", 0),
        ] {
            assert!(
                got.matches(name).count() <= most,
                "{status} {edits:?} {got:?}"
            );
        }
    }
}

#[test]
fn a_filter_cannot_break_a_response_apart() {
    use Edit::{Add, Replace};
    let response = Map::ResponseHeaders;
    for edit in [
        Add(response, b"x", b"a\r\nsmuggled: 1"),
        Add(response, b"x", b"a\0"),
        Add(response, b"x\r\nsmuggled: 1\r\ny", b"a"),
        Add(response, b"", b"a"),
        Replace(response, b":status", b"200 OK\r\nsmuggled: 1\r\nx:"),
        Replace(response, b":status", b"2000"),
        Replace(response, b":status", b"101"),
        Replace(response, b":status", b"100"),
        Add(response, b"content-length", b"7"),
        Replace(response, b"content-length", b"x"),
        Add(response, b":status", b"204"),
    ] {
        let (weir, _upstream, _) = through(editor(&[edit]));
        let mut client = weir.connect();
        let answer = client.get("/");
        assert_eq!(answer.status, 502, "{edit:?}");
        assert_eq!(answer.header("smuggled"), None, "{edit:?}");
        // The connection is in order.
        assert_eq!(client.get("/").status, 502);
    }
    let edits = [
        Add(response, b"transfer-encoding", b"chunked"),
        Add(response, b"Connection", b"close"),
        Add(response, b"upgrade", b"h2c"),
    ];
    let (weir, _upstream, _) = through(editor(&edits));
    let mut client = weir.connect();
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        for name in ["transfer-encoding", "connection", "upgrade"] {
            assert_eq!(answer.header(name), None);
        }
    }
}

#[test]
fn trailers_of_a_filter_keep_what_frames_a_message_out() {
    use Edit::Add;
    let (request, response) = (Map::RequestTrailers, Map::ResponseTrailers);
    let filter = editor(&[
        Add(request, b"content-length", b"5"),
        Add(request, b"transfer-encoding", b"chunked"),
        Add(request, b"host", b"other"),
        Add(request, b":path", b"/other"),
        Add(
            request,
            b"x",
            b"a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n",
        ),
        Add(request, b"x-good", b"1"),
        Add(response, b"content-length", b"5"),
        Add(response, b"y", b"a\r\n\r\nHTTP/1.1 200 OK\r\n"),
        Add(response, b"y-good", b"1"),
    ]);
    let (upstream, record) = {
        let record: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = Arc::clone(&record);
        let peer = Peer::start(move |mut connection| {
            let mut buffer = [0; 65536];
            while let Ok(n @ 1..) = connection.read(&mut buffer) {
                let mut all = kept.lock().unwrap();
                all.extend_from_slice(&buffer[..n]);
                // Behind the body's last chunk.
                if all.windows(5).any(|w| w == b"\r\n0\r\n") && all.ends_with(b"\r\n\r\n") {
                    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nt: 1\r\nhost: q\r\n\r\n";
                    connection.write_all(answer).unwrap();
                }
            }
        });
        (peer, record)
    };
    let weir = Setup::new(upstream.address).filter(filter).start();
    let mut client = weir.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\
         t: 1\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\nhost: x\r\n\r\n",
    );
    let answer = read_raw(&mut client, b"y-good: 1\r\n\r\n");
    assert!(
        answer.contains("\r\n0\r\nt: 1\r\ny-good: 1\r\n\r\n"),
        "{answer:?}"
    );
    let got = text(&record);
    assert!(
        got.ends_with("\r\n3\r\nabc\r\n0\r\nt: 1\r\nx-good: 1\r\n\r\n"),
        "{got:?}"
    );
}

/// Reads until the end of what has come is `end`.
fn read_raw(client: &mut Client, end: &[u8]) -> String {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn a_body_of_another_length_does_not_shift_the_next_message() {
    // Longer than declared: cut to its length, on both ways.
    let upstream = Upstream::start(|_| Answer::ok("four"));
    let weir = Setup::new(upstream.address)
        .filter(body_replacer(
            Some("abcGET /smuggled HTTP/1.1"),
            Some("0123456789"),
        ))
        .start();
    let mut client = weir.connect();
    for _ in 0..3 {
        let response = client.request("POST", "/", &[], b"xyz");
        assert_eq!((response.status, response.text().as_str()), (200, "0123"));
    }
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|r| r.path == "/" && r.body == b"abc"));
    // Shorter than declared: the message is broken off.
    let upstream = Upstream::echo();
    let short = |request, response| {
        let filter = body_replacer(request, response);
        Setup::new(upstream.address).filter(filter).start()
    };
    let weir = short(Some("a"), None);
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nxyz");
    assert_eq!(client.response().status, 503);
    assert!(upstream.requests().is_empty());
    let weir = short(None, Some("b"));
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(client.try_response(false).is_err() && client.is_closed());
}
