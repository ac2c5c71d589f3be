//! Frames of HTTP/2 that cost more than they are worth.

use std::time::Duration;

use weir_conformance::frames::{
    ACK, END_HEADERS, END_STREAM, RawFrame, RawH2, get_block, hpack, kind,
};
use weir_conformance::guests::pauser;
use weir_conformance::{Setup, Upstream, Weir, eventually};

use super::serves;

#[test]
fn ten_thousand_rapid_resets_leave_others_served() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    serves(&weir);
    let (before, _) = weir.memory();
    let mut ended = 0;
    let mut sent = 0;
    while sent < 10_000 {
        let mut raw = RawH2::connect(weir.listener("edge"));
        let mut bytes = Vec::new();
        for n in 0..1000 {
            let stream = 2 * n + 1;
            let flags = END_HEADERS | END_STREAM;
            bytes.extend(RawFrame::new(kind::HEADERS, flags, stream, get_block(&[])).bytes());
            bytes.extend(RawFrame::new(kind::RST_STREAM, 0, stream, [0, 0, 0, 8]).bytes());
        }
        raw.send_bytes(&bytes);
        sent += 1000;
        raw.send(kind::PING, 0, 0, [7; 8]);
        // ENHANCE_YOUR_CALM, or all were taken.
        match raw.read_until(|f| f.kind == kind::GOAWAY || (f.kind == kind::PING && f.flags == ACK))
        {
            Ok(frame) if frame.kind == kind::GOAWAY => {
                assert_eq!(frame.code(), Some(11));
                ended += 1;
            }
            Ok(_) => {}
            Err(_) => ended += 1,
        }
        serves(&weir);
    }
    let (after, _) = weir.memory();
    eprintln!(
        "10,000 resets: {ended} of 10 connections ended, {} KiB more",
        after.saturating_sub(before) / 1024
    );
    assert!(after.saturating_sub(before) < 16 << 20);
    eventually("all is over", || {
        (weir.metric("envoy_http_downstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn a_flood_of_continuations_or_compressed_headers_ends_its_connection() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    serves(&weir);
    let (before, _) = weir.memory();
    // A header block without end.
    let mut raw = RawH2::connect(weir.listener("edge"));
    raw.send(kind::HEADERS, END_STREAM, 1, get_block(&[]));
    let more = RawFrame::new(kind::CONTINUATION, 0, 1, hpack(&[(b"x", &[b'y'; 1000])])).bytes();
    for _ in 0..10_000 {
        raw.send_bytes(&more);
    }
    assert!(raw.goaway().is_none_or(|code| code != 0));
    // The same without any byte in the frames.
    let mut raw = RawH2::connect(weir.listener("edge"));
    raw.send(kind::HEADERS, END_STREAM, 1, get_block(&[]));
    let empty = RawFrame::new(kind::CONTINUATION, 0, 1, b"").bytes();
    raw.send_bytes(&empty.repeat(100_000));
    assert!(raw.goaway().is_none_or(|code| code != 0));
    // One large field in the dynamic table, named by an index 10,000 times.
    let mut raw = RawH2::connect(weir.listener("edge"));
    let mut block = get_block(&[]);
    block.extend_from_slice(&[0x40, 1, b'x', 127, 0xa1, 0x1e]);
    block.extend_from_slice(&vec![b'y'; 127 + 0x21 + 0x1e * 128]);
    block.extend_from_slice(&vec![0x80 | 62; 10_000]);
    raw.send(kind::HEADERS, END_HEADERS | END_STREAM, 1, block);
    let answer = raw.read_until(|f| f.stream == 1 || f.code().is_some());
    // `:status: 431`, as a literal value of the indexed name.
    let refused = answer.is_ok_and(|f| f.code().is_some() || f.payload.first() != Some(&0x88));
    assert!(refused);
    serves(&weir);
    let (_, peak) = weir.memory();
    eprintln!(
        "header floods: {} KiB more",
        peak.saturating_sub(before) / 1024
    );
    assert!(peak.saturating_sub(before) < 16 << 20);
}

#[test]
fn floods_of_control_frames_cost_little() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).start();
    serves(&weir);
    let (before, _) = weir.memory();
    for frame in [
        RawFrame::new(kind::PING, 0, 0, [0; 8]),
        RawFrame::new(kind::SETTINGS, 0, 0, b""),
        RawFrame::new(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 0]),
        RawFrame::new(kind::DATA, 0, 1, b""),
        RawFrame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1]),
        RawFrame::new(0xfa, 0, 0, b"unknown"),
    ] {
        // The client reads no answer.
        let mut raw = RawH2::connect(weir.listener("edge"));
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":authority", b"h"),
            (b":path", b"/"),
        ];
        raw.send(kind::HEADERS, END_HEADERS, 1, hpack(&fields));
        raw.tcp()
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        raw.send_bytes(&frame.bytes().repeat(100_000));
        serves(&weir);
    }
    let (_, peak) = weir.memory();
    eprintln!(
        "control frames: {} KiB more",
        peak.saturating_sub(before) / 1024
    );
    assert!(peak.saturating_sub(before) < 16 << 20);
}

#[test]
fn ten_thousand_streams_that_are_reset_after_a_while_leave_nothing_behind() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    serves(&weir);
    let mut raw = RawH2::connect(weir.listener("edge"));
    let block = get_block(&[(b"x-pause", b"1")]);
    let mut stream = 1;
    let mut batch = |raw: &mut RawH2| {
        let streams: Vec<u32> = (0..100).map(|n| stream + 2 * n).collect();
        stream += 200;
        for &stream in &streams {
            raw.send(kind::HEADERS, END_HEADERS, stream, &block);
        }
        for round in 0..2 {
            raw.send(kind::PING, 0, 0, [round; 8]);
            raw.read_until(|f| f.kind == kind::PING && f.flags == ACK)
                .unwrap();
            serves(&weir);
            for &stream in streams.iter().filter(|_| round == 0) {
                raw.send(kind::RST_STREAM, 0, stream, [0, 0, 0, 8]);
            }
        }
    };
    (0..10).for_each(|_| batch(&mut raw));
    let (before, _) = weir.memory();
    (0..90).for_each(|_| batch(&mut raw));
    let lines = || weir.stdout().matches(" 0 DC ").count();
    eventually("all are logged", || (lines() == 10_000).then_some(()));
    let grown = weir.memory().0.saturating_sub(before) / 1024;
    eprintln!("10,000 streams, reset later: {grown} KiB more");
    assert!(grown < 2048, "{grown} KiB");
}

#[test]
fn a_preface_where_only_http1_is_spoken_is_answered_and_the_worker_goes_on() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&format!(
        "workers: 1\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http: {{ codec: http1 }}\n  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters:\n\
         - {{ name: web, endpoints: [\"{}\"] }}\n",
        upstream.address
    ));
    let mut client = weir.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status, 426);
    assert_eq!(weir.connect().get("/").status, 200);
}
