//! HTTP/2 of clients as it should not be: the right error, and nobody else is
//! harmed (RFC 9113).
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::frames::{
    ACK, END_HEADERS, END_STREAM, PADDED, PRIORITY, RawFrame, RawH2, get_block, hpack, kind,
    request_block,
};
use weir_conformance::guests::pauser;
use weir_conformance::{Answer, Setup, Upstream};

#[test]
fn what_is_malformed_gets_the_right_code() {
    const PROTOCOL: u32 = 1;
    const FLOW: u32 = 3;
    const CLOSED: u32 = 5;
    const FRAME_SIZE: u32 = 6;
    const COMPRESSION: u32 = 9;
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    let headers = END_HEADERS | END_STREAM;
    // `h2` is not always as exact as it could be: the unspecific code is one, too.
    let connection_errors: Vec<(&str, Vec<u8>, &[u32])> = vec![
        (
            "DATA on stream 0",
            frame(kind::DATA, 0, 0, b"x"),
            &[PROTOCOL],
        ),
        (
            "HEADERS on stream 0",
            frame(kind::HEADERS, headers, 0, &get_block(&[])),
            &[PROTOCOL],
        ),
        (
            "DATA on an idle stream",
            frame(kind::DATA, 0, 1, b"x"),
            &[PROTOCOL],
        ),
        (
            "an even stream",
            frame(kind::HEADERS, headers, 2, &get_block(&[])),
            &[PROTOCOL],
        ),
        (
            "RST_STREAM on an idle stream",
            frame(kind::RST_STREAM, 0, 1, &[0; 4]),
            &[PROTOCOL],
        ),
        (
            "RST_STREAM of 3 bytes",
            frame(kind::RST_STREAM, 0, 1, &[0; 3]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "SETTINGS on a stream",
            frame(kind::SETTINGS, 0, 1, b""),
            &[PROTOCOL],
        ),
        (
            "SETTINGS of 5 bytes",
            frame(kind::SETTINGS, 0, 0, &[0; 5]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "a SETTINGS ACK with payload",
            frame(kind::SETTINGS, ACK, 0, &[0; 6]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "ENABLE_PUSH of 2",
            frame(kind::SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
            &[PROTOCOL],
        ),
        (
            "a window that is too large",
            frame(kind::SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
            &[FLOW, PROTOCOL],
        ),
        (
            "a frame size that is too small",
            frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
            &[PROTOCOL],
        ),
        (
            "PUSH_PROMISE of a client",
            frame(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
            &[PROTOCOL],
        ),
        (
            "PING of 7 bytes",
            frame(kind::PING, 0, 0, &[0; 7]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "PING on a stream",
            frame(kind::PING, 0, 1, &[0; 8]),
            &[PROTOCOL],
        ),
        (
            "WINDOW_UPDATE of 3 bytes",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "WINDOW_UPDATE of 0",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]),
            &[PROTOCOL],
        ),
        (
            "a connection window over 2^31",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            &[FLOW],
        ),
        (
            "CONTINUATION alone",
            frame(kind::CONTINUATION, END_HEADERS, 1, b""),
            &[PROTOCOL],
        ),
        (
            "a frame inside a header block",
            [
                frame(kind::HEADERS, END_STREAM, 1, &get_block(&[])),
                frame(kind::PING, 0, 0, &[0; 8]),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "a frame that is too large",
            frame(kind::DATA, 0, 1, &[0; 20_000]),
            &[FRAME_SIZE],
        ),
        (
            "padding longer than its frame",
            frame(kind::HEADERS, headers | PADDED, 1, &[200, 0]),
            &[PROTOCOL],
        ),
        (
            "an index outside of the table",
            frame(kind::HEADERS, headers, 1, &[0xff, 0xff, 0x0f]),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "a table size that is too large",
            frame(kind::HEADERS, headers, 1, &[0x3f, 0xff, 0xff, 0xff, 0x07]),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "Huffman code with EOS",
            frame(
                kind::HEADERS,
                headers,
                1,
                &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            ),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "a header block that breaks off",
            frame(kind::HEADERS, headers, 1, &[0, 5, b'a']),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "WINDOW_UPDATE on an idle stream",
            frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            &[PROTOCOL],
        ),
        (
            "GOAWAY on a stream",
            frame(kind::GOAWAY, 0, 1, &[0; 8]),
            &[PROTOCOL],
        ),
        (
            "PRIORITY on stream 0",
            frame(kind::PRIORITY, 0, 0, &[0; 5]),
            &[PROTOCOL],
        ),
        (
            "PRIORITY of 4 bytes",
            frame(kind::PRIORITY, 0, 1, &[0; 4]),
            &[FRAME_SIZE, PROTOCOL],
        ),
        (
            "a frame size that is too large to be one",
            frame(kind::SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]),
            &[PROTOCOL],
        ),
        (
            "padding longer than its DATA",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::DATA, PADDED, 1, &[200, 0]),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "a stream window over 2^31",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
            &[FLOW],
        ),
        (
            "settings that make a stream's window too large",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0, 0]),
                frame(kind::SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
            &[FLOW],
        ),
        (
            "a stream with a smaller number than one before",
            [
                frame(kind::HEADERS, headers, 5, &get_block(&[])),
                frame(kind::HEADERS, headers, 3, &get_block(&[])),
            ]
            .concat(),
            &[PROTOCOL, CLOSED],
        ),
        (
            "HEADERS behind the end of a request",
            [
                frame(kind::HEADERS, headers, 1, &get_block(&[])),
                frame(kind::HEADERS, headers, 1, &get_block(&[])),
            ]
            .concat(),
            &[CLOSED, PROTOCOL],
        ),
        (
            "trailers that do not end the stream",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::HEADERS, END_HEADERS, 1, &hpack(&[(b"x", b"1")])),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "capitals in trailers",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::HEADERS, headers, 1, &hpack(&[(b"X", b"1")])),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "CONTINUATION on another stream",
            [
                frame(kind::HEADERS, END_STREAM, 1, &get_block(&[])),
                frame(kind::CONTINUATION, END_HEADERS, 3, b""),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "CONTINUATION behind the end of a header block",
            [
                frame(kind::HEADERS, END_HEADERS, 1, &post_block()),
                frame(kind::CONTINUATION, END_HEADERS, 1, b""),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "an unknown frame inside a header block",
            [
                frame(kind::HEADERS, END_STREAM, 1, &get_block(&[])),
                frame(0xfa, 0, 0, b""),
            ]
            .concat(),
            &[PROTOCOL],
        ),
        (
            "a table size behind the first field",
            frame(
                kind::HEADERS,
                headers,
                1,
                &[get_block(&[]), vec![0x20]].concat(),
            ),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "an index of 0",
            frame(kind::HEADERS, headers, 1, &[0x80]),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "Huffman code that is padded with zeros",
            frame(kind::HEADERS, headers, 1, &[0, 0x81, 0x18, 0]),
            &[COMPRESSION, PROTOCOL],
        ),
        (
            "DATA on a stream that is over",
            [
                frame(kind::HEADERS, headers, 1, &get_block(&[])),
                frame(kind::DATA, 0, 1, b"x"),
            ]
            .concat(),
            &[CLOSED, PROTOCOL],
        ),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, codes) in connection_errors {
        let mut raw = RawH2::connect(weir.listener("edge"));
        raw.send_bytes(&bytes);
        // An error of a stream is an answer, too, where it is one of a stream.
        let answer = raw.read_until(|f| f.code().is_some_and(|c| c != 0));
        let code = answer.ok().and_then(|f| f.code());
        if !code.is_some_and(|c| codes.contains(&c)) {
            wrong.push((what, code, codes));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let malformed: Vec<(&str, Vec<u8>)> = vec![
        (
            "no :method",
            hpack(&[
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", b"/"),
            ]),
        ),
        (
            "no :path",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
            ]),
        ),
        (
            "no :scheme",
            hpack(&[
                (b":method", b"GET"),
                (b":authority", b"h"),
                (b":path", b"/"),
            ]),
        ),
        (
            "an empty :path",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", b""),
            ]),
        ),
        ("two :path", get_block(&[(b":path", b"/other")])),
        ("an unknown pseudo-header", get_block(&[(b":x", b"1")])),
        (":status", get_block(&[(b":status", b"200")])),
        (
            "a pseudo-header behind others",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b"x", b"1"),
                (b":path", b"/"),
            ]),
        ),
        ("capitals", get_block(&[(b"X-A", b"1")])),
        ("an empty name", get_block(&[(b"", b"1")])),
        ("a name with a space", get_block(&[(b"x a", b"1")])),
        ("a name with CRLF", get_block(&[(b"x\r\ny", b"1")])),
        ("NUL in a value", get_block(&[(b"x", b"a\0b")])),
        ("CR in a value", get_block(&[(b"x", b"a\rb")])),
        ("LF in a value", get_block(&[(b"x", b"a\nb")])),
        ("connection", get_block(&[(b"connection", b"close")])),
        ("keep-alive", get_block(&[(b"keep-alive", b"1")])),
        (
            "proxy-connection",
            get_block(&[(b"proxy-connection", b"1")]),
        ),
        (
            "transfer-encoding",
            get_block(&[(b"transfer-encoding", b"chunked")]),
        ),
        ("upgrade", get_block(&[(b"upgrade", b"websocket")])),
        ("te", get_block(&[(b"te", b"gzip")])),
        (
            "content-length without body",
            get_block(&[(b"content-length", b"5")]),
        ),
        (
            "content-length that is none",
            get_block(&[(b"content-length", b"x")]),
        ),
        (
            "two content-lengths",
            get_block(&[(b"content-length", b"0"), (b"content-length", b"1")]),
        ),
        (
            "NUL in :path",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", b"/\0"),
            ]),
        ),
        (
            "a space in :path",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", b"/ HTTP/1.1"),
            ]),
        ),
        (
            "CRLF in :method",
            hpack(&[
                (b":method", b"GET / HTTP/1.1\r\nx: y\r\n"),
                (b":scheme", b"http"),
                (b":authority", b"h"),
                (b":path", b"/"),
            ]),
        ),
        (
            "CRLF in :authority",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":authority", b"h\r\nx: y"),
                (b":path", b"/"),
            ]),
        ),
        (
            ":protocol with GET",
            get_block(&[(b":protocol", b"websocket")]),
        ),
        (
            "two hosts",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":path", b"/"),
                (b"host", b"a"),
                (b"host", b"b"),
            ]),
        ),
        (
            "a host with a path",
            hpack(&[
                (b":method", b"GET"),
                (b":scheme", b"http"),
                (b":path", b"/"),
                (b"host", b"a/b"),
            ]),
        ),
    ];
    let mut answers = Vec::new();
    for (what, block) in malformed {
        let mut raw = RawH2::connect(weir.listener("edge"));
        raw.send(kind::HEADERS, headers, 1, &block);
        // A 400 is an answer, too (RFC 9113, section 8.1.1).
        let answer = raw
            .read_until(|f| f.stream == 1 || f.code().is_some_and(|c| c != 0))
            .unwrap();
        let refused = match answer.kind {
            kind::RST_STREAM | kind::GOAWAY => answer.code() == Some(PROTOCOL),
            // The indexed field `:status: 400`.
            kind::HEADERS => answer.payload.first() == Some(&0x8c),
            _ => false,
        };
        if !refused {
            answers.push((what, answer));
        }
    }
    assert!(answers.is_empty(), "{answers:?}");
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    RawFrame::new(kind, flags, stream, payload).bytes()
}

/// The header block of a request with a body.
fn post_block() -> Vec<u8> {
    request_block("POST", &[])
}

#[test]
fn a_body_of_another_length_than_declared_is_an_error() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    for body in [&b"123456"[..], b"1234"] {
        let mut raw = RawH2::connect(weir.listener("edge"));
        let block = request_block("POST", &[(b"content-length", b"5")]);
        raw.send(kind::HEADERS, END_HEADERS, 1, block);
        raw.send(kind::DATA, END_STREAM, 1, body);
        assert_eq!(raw.reset(1), Some(1), "{body:?}");
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn what_is_not_known_is_passed_over() {
    let upstream = Upstream::start(|request| Answer::ok(&request.body));
    let weir = Setup::new(upstream.address).start();
    let mut raw = RawH2::connect(weir.listener("edge"));
    raw.send(0xfa, 0xff, 0, b"unknown");
    raw.send(kind::SETTINGS, 0, 0, [0xff, 0, 0, 0, 0, 1]);
    raw.send(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 5]);
    raw.send(kind::PING, ACK, 0, b"no ping!");
    // Flags that have no meaning, and a reserved bit.
    raw.send(kind::PING, 0xfe, 0x8000_0000, b"pingpong");
    let pong = raw.read_until(|f| f.kind == kind::PING).unwrap();
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"pingpong"[..]));
    // Padding and a priority are no part of the message.
    let block = [&[2, 0, 0, 0, 0, 9][..], &post_block(), &[0, 0]].concat();
    raw.send(kind::HEADERS, END_HEADERS | PADDED | PRIORITY, 1, block);
    raw.send(kind::DATA, END_STREAM | PADDED, 1, b"\x03abc\0\0\0");
    let data = raw.read_until(|f| f.kind == kind::DATA).unwrap();
    assert_eq!(data.payload, b"abc");
}

#[test]
fn a_response_keeps_to_the_windows_of_its_client() {
    let upstream = Upstream::start(|_| Answer::ok("x".repeat(300)));
    let weir = Setup::new(upstream.address).start();
    let mut raw = RawH2::connect(weir.listener("edge"));
    raw.send(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 100]);
    raw.get(1);
    let data = |raw: &mut RawH2, expected| {
        let frame = raw.read_until(|f| f.kind == kind::DATA).unwrap();
        assert_eq!((frame.payload.len(), frame.flags), expected);
    };
    data(&mut raw, (100, 0));
    // Larger settings count for what is under way, too.
    raw.send(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 150]);
    data(&mut raw, (50, 0));
    raw.send(kind::WINDOW_UPDATE, 0, 1, [0, 0, 0, 100]);
    data(&mut raw, (100, 0));
    // Smaller ones make a window that is less than nothing.
    raw.send(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]);
    raw.send(kind::WINDOW_UPDATE, 0, 1, [0, 0, 0, 150]);
    raw.send(kind::PING, 0, 0, [0; 8]);
    let next = raw.read_until(|f| matches!(f.kind, kind::DATA | kind::PING));
    assert_eq!(next.unwrap().kind, kind::PING);
    raw.send(kind::WINDOW_UPDATE, 0, 1, [0, 0, 1, 0]);
    data(&mut raw, (50, END_STREAM));
}

#[test]
fn a_client_keeps_to_the_windows_of_weir() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    let mut raw = RawH2::connect(weir.listener("edge"));
    let block = request_block("POST", &[(b"x-pause", b"1")]);
    raw.send(kind::HEADERS, END_HEADERS, 1, block);
    // More than the window of a stream and what the filter may hold.
    for _ in 0..256 {
        raw.send(kind::DATA, 0, 1, [0; 16384]);
    }
    let answer = raw.read_until(|f| f.code().is_some()).unwrap();
    assert_eq!(answer.code(), Some(3), "FLOW_CONTROL_ERROR");
    assert_eq!(weir.connect().get("/short").status, 504);
}

#[test]
fn streams_over_the_limit_are_refused_and_the_others_go_on() {
    let upstream = Upstream::start(|_| Answer::ok("ok"));
    let weir = Setup::new(upstream.address)
        .listener("http: { http2: { max_concurrent_streams: 2 } }")
        .start();
    let mut raw = RawH2::connect(weir.listener("edge"));
    for stream in [1, 3, 5] {
        raw.send(kind::HEADERS, END_HEADERS, stream, post_block());
    }
    // REFUSED_STREAM: it may be sent again.
    assert_eq!(raw.reset(5), Some(7));
    raw.send(kind::DATA, END_STREAM, 1, b"");
    let answer = raw.read_until(|f| f.kind == kind::HEADERS).unwrap();
    assert_eq!(answer.stream, 1);
}
