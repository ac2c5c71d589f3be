//! HTTP/2 of endpoints as it should not be: a bad gateway, and no forged message
//! (RFC 9113).
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};

use weir_conformance::frames::{END_HEADERS, END_STREAM, PREFACE, RawFrame, RawH2, hpack, kind};
use weir_conformance::{Peer, Setup, Weir};

/// An endpoint that speaks HTTP/2 and has `answer` respond to every request, by
/// its stream.
fn endpoint(answer: impl Fn(&mut RawH2, u32) + Send + Sync + 'static) -> Peer {
    Peer::start(move |mut connection| {
        let mut preface = [0; PREFACE.len()];
        if connection.read_exact(&mut preface).is_err() {
            return;
        }
        let mut raw = RawH2::from(connection);
        raw.send(kind::SETTINGS, 0, 0, b"");
        while let Ok(head) = raw.read_until(|f| f.kind == kind::HEADERS) {
            answer(&mut raw, head.stream);
        }
    })
}

/// The status that a client gets, 0 if none comes.
fn status_through(weir: &Weir) -> u16 {
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    client.try_response(false).map_or(0, |r| r.status)
}

/// A client gets 502 or 503 in place of what any of these answers.
fn are_bad_gateways(endpoints: impl Iterator<Item = (&'static str, Peer)>) {
    let statuses = endpoints.map(|(what, peer)| {
        let weir = Setup::new(peer.address).http2_upstream().start();
        (what, status_through(&weir))
    });
    let wrong: Vec<_> = statuses
        .filter(|(_, status)| !matches!(status, 502 | 503))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_malformed_response_is_a_bad_gateway() {
    let ok: (&[u8], &[u8]) = (b":status", b"200");
    let blocks: Vec<(&str, Vec<u8>)> = vec![
        ("no :status", hpack(&[(b"x", b"1")])),
        (":status that is no number", hpack(&[(b":status", b"abc")])),
        (":status of two digits", hpack(&[(b":status", b"20")])),
        ("two :status", hpack(&[ok, (b":status", b"204")])),
        ("a pseudo-header behind others", hpack(&[(b"x", b"1"), ok])),
        ("capitals", hpack(&[ok, (b"X-A", b"1")])),
        ("an empty name", hpack(&[ok, (b"", b"1")])),
        ("a name with a space", hpack(&[ok, (b"x a", b"1")])),
        ("a name with CRLF", hpack(&[ok, (b"x\r\ny", b"1")])),
        ("CRLF in a value", hpack(&[ok, (b"x", b"a\r\ny: 1")])),
        ("LF in a value", hpack(&[ok, (b"x", b"a\ny: 1")])),
        ("NUL in a value", hpack(&[ok, (b"x", b"a\0")])),
        ("connection", hpack(&[ok, (b"connection", b"close")])),
        (
            "transfer-encoding",
            hpack(&[ok, (b"transfer-encoding", b"chunked")]),
        ),
        ("upgrade", hpack(&[ok, (b"upgrade", b"websocket")])),
        (
            "content-length without body",
            hpack(&[ok, (b"content-length", b"5")]),
        ),
        (
            "content-length that is none",
            hpack(&[ok, (b"content-length", b"x")]),
        ),
        (
            "two content-lengths",
            hpack(&[ok, (b"content-length", b"0"), (b"content-length", b"1")]),
        ),
    ];
    let endpoints = blocks.into_iter().map(|(what, block)| {
        let peer = endpoint(move |raw, stream| {
            raw.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &block);
        });
        (what, peer)
    });
    are_bad_gateways(endpoints);
}

#[test]
fn an_endpoint_that_breaks_the_rules_of_frames_is_a_bad_gateway() {
    let headers = END_HEADERS | END_STREAM;
    let ok = hpack(&[(b":status", b"200")]);
    let answers: Vec<(&str, Vec<RawFrame>)> = vec![
        ("DATA first", vec![RawFrame::new(kind::DATA, 0, 1, b"x")]),
        (
            "PUSH_PROMISE",
            vec![RawFrame::new(
                kind::PUSH_PROMISE,
                END_HEADERS,
                1,
                [0, 0, 0, 2],
            )],
        ),
        (
            "a frame that is too large",
            // Of no kind that is known: it would be passed over but for its size.
            vec![
                RawFrame::new(0xfa, 0, 0, [0; 20_000]),
                RawFrame::new(kind::HEADERS, headers, 1, &ok),
            ],
        ),
        (
            "a header block that breaks off",
            vec![RawFrame::new(kind::HEADERS, headers, 1, [0, 5, b'a'])],
        ),
        (
            "a frame inside a header block",
            vec![
                RawFrame::new(kind::HEADERS, END_STREAM, 1, &ok),
                RawFrame::new(kind::PING, 0, 0, [0; 8]),
            ],
        ),
        (
            "a header block without end",
            [
                vec![RawFrame::new(kind::HEADERS, END_STREAM, 1, &ok)],
                vec![
                    RawFrame::new(kind::CONTINUATION, 0, 1, hpack(&[(b"x", &[b'y'; 1000])]));
                    5000
                ],
            ]
            .concat(),
        ),
        (
            "SETTINGS of 5 bytes",
            vec![RawFrame::new(kind::SETTINGS, 0, 0, [0; 5])],
        ),
        (
            "HEADERS of another stream",
            vec![RawFrame::new(kind::HEADERS, headers, 7, &ok)],
        ),
        (
            "a connection window over 2^31",
            vec![RawFrame::new(
                kind::WINDOW_UPDATE,
                0,
                0,
                [0x7f, 0xff, 0xff, 0xff],
            )],
        ),
    ];
    let endpoints = answers.into_iter().map(|(what, answer)| {
        let peer = endpoint(move |raw, _| {
            answer
                .iter()
                .for_each(|frame| raw.send_bytes(&frame.bytes()));
        });
        (what, peer)
    });
    are_bad_gateways(endpoints);
}

#[test]
fn an_endpoint_that_speaks_something_else_is_a_bad_gateway() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ] {
        let peer = Peer::start(move |mut connection| {
            let mut preface = [0; PREFACE.len()];
            let _ = connection.read_exact(&mut preface);
            let _ = connection.write_all(bytes);
        });
        let weir = Setup::new(peer.address).http2_upstream().start();
        let status = status_through(&weir);
        assert!(matches!(status, 502 | 503), "{status} {bytes:?}");
    }
}

#[test]
fn a_flood_of_an_endpoint_costs_little() {
    for frame in [
        RawFrame::new(kind::PING, 0, 0, [0; 8]),
        RawFrame::new(kind::SETTINGS, 0, 0, b""),
    ] {
        let flood = frame.bytes().repeat(200_000);
        // It reads no answer, and gives one in the end.
        let peer = endpoint(move |raw, stream| {
            raw.send_bytes(&flood);
            let block = hpack(&[(b":status", b"200")]);
            raw.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, block);
        });
        let weir = Setup::new(peer.address).http2_upstream().start();
        let mut status = 0;
        let grown = weir.growth(|| status = status_through(&weir));
        assert!(matches!(status, 200 | 502 | 503), "{status}");
        assert!(grown < 16 << 20, "{} KiB", grown / 1024);
        assert_eq!(weir.admin_get("/ready").text(), "LIVE\n");
    }
}

#[test]
fn pseudo_headers_where_there_are_none_go_no_further() {
    let peer = endpoint(|raw, stream| {
        let block = hpack(&[(b":status", b"200"), (b":path", b"/"), (b"x", b"1")]);
        raw.send(kind::HEADERS, END_HEADERS, stream, &block);
        raw.send(kind::DATA, 0, stream, b"ok");
        let trailers = hpack(&[(b":status", b"500"), (b"y", b"2")]);
        raw.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &trailers);
    });
    let weir = Setup::new(peer.address).http2_upstream().start();
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\nte: trailers\r\n\r\n");
    let mut all = Vec::new();
    while !all.ends_with(b"0\r\ny: 2\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\nx: 1\r\n"), "{text}");
    assert!(!text.contains(":path") && !text.contains("500"), "{text}");
}
