//! Large bodies, slow peers and paused streams: nothing waits for what it does
//! not need, and memory has its bounds.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use weir_conformance::frames::{END_HEADERS, END_STREAM, RawH2, hpack, kind};
use weir_conformance::guests::{body_pauser, body_reader, pauser};
use weir_conformance::{
    Answer, Client, PATIENCE, Peer, Setup, Upstream, eventually, h2, read_head,
};

const MIB: usize = 1 << 20;

/// Answers at once and returns every byte of the request's body, by the length
/// that it declares.
fn echo() -> Peer {
    Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::with_capacity(256 * 1024, connection);
        loop {
            let head = read_head(&mut input);
            let Some(length) = head.iter().find_map(|l| l.strip_prefix("content-length: ")) else {
                return;
            };
            let mut left: usize = length.parse().unwrap();
            write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n\r\n").unwrap();
            let mut buffer = vec![0; 256 * 1024];
            while left > 0 {
                let Ok(n @ 1..) = input.read(&mut buffer) else {
                    return;
                };
                if out.write_all(&buffer[..n]).is_err() {
                    return;
                }
                left -= n;
            }
        }
    })
}

/// Byte `n` of a body whose every part can be told from the others.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 4096 * 31 + n) as u8).collect()
}

#[test]
fn a_body_of_100_mib_passes_a_filter_in_little_memory() {
    let upstream = echo();
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    let address = weir.listener("edge");
    // The first exchange makes what the later ones share.
    upload(address, 4 * MIB);
    let began = Instant::now();
    let grown = weir.growth(|| upload(address, 100 * MIB));
    eprintln!(
        "HTTP/1.1 echo of 100 MiB: {:?}, {} KiB more",
        began.elapsed(),
        grown / 1024
    );
    assert!(grown < 8 * MIB as u64, "{} KiB", grown / 1024);
}

/// Sends a body while it reads the echo.
fn upload(address: std::net::SocketAddr, length: usize) {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut out = tcp.try_clone().unwrap();
    let block = Arc::new(pattern(MIB));
    let sent = Arc::clone(&block);
    let sender = thread::spawn(move || {
        write!(
            out,
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n"
        )
        .unwrap();
        for _ in 0..length / MIB {
            out.write_all(&sent).unwrap();
        }
    });
    let mut input = BufReader::with_capacity(MIB, tcp);
    assert!(read_head(&mut input)[0].contains("200"));
    let mut got = vec![0; MIB];
    for n in 0..length / MIB {
        input.read_exact(&mut got).unwrap();
        assert!(got == *block, "the block at {n} MiB");
    }
    sender.join().unwrap();
}

#[test]
fn an_echo_of_100_mib_passes_over_http2() {
    let upstream = echo();
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    let echo = |length: usize| {
        h2::run(async {
            let mut builder = ::h2::client::Builder::new();
            builder
                .initial_window_size(1 << 20)
                .initial_connection_window_size(1 << 20);
            let mut client = h2::connect_with(weir.listener("edge"), &builder).await;
            let length_text = length.to_string();
            let request = h2::request("POST", "/", &[("content-length", &length_text)]);
            let (response, mut stream) = client.send_request(request, false).unwrap();
            let block = bytes::Bytes::from(pattern(MIB));
            let sent = block.clone();
            let sender = tokio::spawn(async move {
                for n in 1..=length / MIB {
                    let end = n == length / MIB;
                    h2::send_all(&mut stream, sent.clone(), end).await.unwrap();
                }
            });
            let mut body = response.await.unwrap().into_body();
            let mut at = 0;
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                for part in data.chunks(4096) {
                    let from = at % MIB;
                    let n = part.len().min(MIB - from);
                    assert!(part[..n] == block[from..from + n], "at {at}");
                    assert!(part[n..] == block[..part.len() - n], "at {at}");
                    at += part.len();
                }
            }
            assert_eq!(at, length);
            sender.await.unwrap();
        });
    };
    echo(4 * MIB);
    let began = Instant::now();
    let grown = weir.growth(|| echo(100 * MIB));
    eprintln!(
        "HTTP/2 echo of 100 MiB: {:?}, {} KiB more",
        began.elapsed(),
        grown / 1024
    );
    assert!(grown < 8 * MIB as u64, "{} KiB", grown / 1024);
}

/// Sends until the other side takes no more, or all of `most` is sent; gives how
/// much that was.
fn push(tcp: &mut TcpStream, most: usize) -> usize {
    tcp.set_write_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let block = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < most {
        match tcp.write(&block[..block.len().min(most - sent)]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    sent
}

#[test]
fn a_paused_request_holds_no_more_than_its_limit_and_pushes_back() {
    let upstream = Upstream::start(|request| Answer::ok(request.body.len().to_string()));
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    assert_eq!(weir.connect().get("/").status, 200);
    let mut client = weir.connect();
    client.send(
        "POST /paused HTTP/1.1\r\nhost: h\r\nx-pause: 1\r\ncontent-length: 104857600\r\n\r\n",
    );
    let mut sent = 0;
    let grown = weir.growth(|| sent = push(client.tcp(), 100 * MIB));
    eprintln!(
        "paused HTTP/1.1: {} KiB taken, {} KiB more",
        sent / 1024,
        grown / 1024
    );
    // The rest of what was sent is in the kernel's buffers.
    assert!(sent < 20 * MIB, "{sent} were taken");
    assert!(grown < 4 * MIB as u64, "{} KiB", grown / 1024);
    assert_eq!(upstream.requests().len(), 1);
    // Released, it goes on.
    assert_eq!(
        weir.connect()
            .get_with("/release", &[("x-release", "1")])
            .status,
        200
    );
    client.tcp().set_write_timeout(Some(PATIENCE)).unwrap();
    client.send(vec![b'x'; 100 * MIB - sent]);
    assert_eq!(client.response().text(), (100 * MIB).to_string());
}

#[test]
fn a_body_in_tiny_chunks_costs_no_more_than_its_limit() {
    let upstream = Upstream::start(|request| Answer::ok(request.body.len().to_string()));
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    assert_eq!(weir.connect().get("/").status, 200);
    let mut client = weir.connect();
    client.send(
        "POST /paused HTTP/1.1\r\nhost: h\r\nx-pause: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let chunks = "1\r\nx\r\n".repeat(MIB / 2);
    let grown = weir.growth(|| {
        client.send(&chunks);
        // A request behind it on the one worker: what came before it is read.
        for _ in 0..20 {
            assert_eq!(weir.connect().get("/").status, 200);
        }
    });
    eprintln!(
        "tiny chunks: {} KiB more for {} KiB",
        grown / 1024,
        MIB / 2 / 1024
    );
    assert!(grown < 6 * MIB as u64, "{} KiB", grown / 1024);
    assert_eq!(
        weir.connect()
            .get_with("/release", &[("x-release", "1")])
            .status,
        200
    );
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), (MIB / 2).to_string());
}

#[test]
fn paused_http2_streams_hold_no_more_than_their_limits() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().status, 200);
        weir.forget_peak_memory();
        let (before, _) = weir.memory();
        let request = h2::request("POST", "/paused", &[("x-pause", "1")]);
        let (_response, mut stream) = client.send_request(request, false).unwrap();
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        tokio::spawn(async move {
            let block = bytes::Bytes::from(vec![0; 16384]);
            while h2::send_all(&mut stream, block.clone(), false)
                .await
                .is_ok()
            {
                count.fetch_add(block.len(), Ordering::SeqCst);
            }
        });
        // Until nothing has moved for a while.
        let mut last = (0, Instant::now());
        eventually("the client is pushed back", || {
            let now = sent.load(Ordering::SeqCst);
            if now != last.0 {
                last = (now, Instant::now());
            }
            (now > MIB && last.1.elapsed() > Duration::from_millis(300)).then_some(())
        });
        let (_, peak) = weir.memory();
        let sent = sent.load(Ordering::SeqCst);
        let grown = peak.saturating_sub(before) / 1024;
        eprintln!("paused HTTP/2: {} KiB taken, {grown} KiB more", sent / 1024);
        assert!(sent < 2 * MIB, "{sent}");
        assert!(grown < 4096, "{grown} KiB");
    });
}

/// Ends a connection with a reset: where the other side does not read, an end
/// would wait behind the data.
fn abort(mut client: Client) {
    let socket = socket2::SockRef::from(&*client.tcp());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_client_that_leaves_is_noticed_while_its_request_is_paused() {
    let upstream = Upstream::echo();
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    // Below the watermark, above it, over the kernel's buffers, too (where an end
    // cannot arrive and only a reset tells), and with the response paused.
    for (path, header, body, reset) in [
        ("/below", "x-pause", 1000, false),
        ("/above", "x-pause", MIB + 65536, false),
        ("/full", "x-pause", 100 * MIB, true),
        ("/response", "x-pause-response", 1000, false),
    ] {
        let mut client = weir.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\n{header}: 1\r\ncontent-length: {}\r\n\r\n",
            body + usize::from(header == "x-pause")
        ));
        push(client.tcp(), body);
        if header == "x-pause-response" {
            eventually("the request has passed", || {
                (!upstream.requests().is_empty()).then_some(())
            });
        }
        if reset {
            abort(client);
        } else {
            drop(client);
        }
        let line = weir.logged(&format!("\"POST {path} "));
        assert!(line.contains(" DC "), "{line}");
    }
    assert_eq!(weir.metric("envoy_http_downstream_cx_active"), 0);
    let mut requests = weir.metric("envoy_http_downstream_rq_total");
    h2::run(async {
        for (path, header, body) in [
            ("/below-2", "x-pause", 1000),
            ("/above-2", "x-pause", 8 * MIB),
            ("/response-2", "x-pause-response", 1000),
        ] {
            let tcp = tokio::net::TcpStream::connect(weir.listener("edge"))
                .await
                .unwrap();
            let (mut client, connection) = ::h2::client::handshake(tcp).await.unwrap();
            let driver = tokio::spawn(connection);
            let (_response, mut stream) = client
                .send_request(h2::request("POST", path, &[(header, "1")]), false)
                .unwrap();
            let upload = h2::send_all(&mut stream, vec![0; body].into(), true);
            let _ = tokio::time::timeout(Duration::from_millis(300), upload).await;
            let name = "envoy_http_downstream_rq_total";
            eventually("the request has come", || {
                (weir.metric(name) > requests).then_some(())
            });
            if header == "x-pause-response" {
                eventually("the request has passed", || {
                    (upstream.requests().len() == 2).then_some(())
                });
            }
            requests = weir.metric(name);
            driver.abort();
            assert!(driver.await.is_err());
            let line = weir.logged(&format!("\"POST {path} "));
            assert!(line.contains(" DC "), "{line}");
        }
    });
    eventually("connections are closed", || {
        (weir.metric("envoy_http_downstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn the_response_comes_while_the_request_is_paused_behind_it() {
    // The upstream answers at once; the request's end never comes.
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        read_head(&mut input);
        out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for _ in 0..20 {
            out.write_all(b"5\r\nhello\r\n").unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        out.write_all(b"0\r\n\r\n").unwrap();
        let _ = input.read_to_end(&mut Vec::new());
    });
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    let mut client = weir.connect();
    client.send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\nsome");
    assert_eq!(client.response().text(), "hello".repeat(20));
    assert!(client.is_closed());
}

/// Answers with a body that does not end before `length`.
fn source(length: usize, sent: Arc<AtomicUsize>) -> Peer {
    Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        let block = vec![b'x'; 64 * 1024];
        while let Some(line) = read_head(&mut input).first() {
            let length = if line.contains("/large") { length } else { 2 };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            out.write_all(head.as_bytes()).unwrap();
            let mut left = length;
            while left > 0 {
                let n = left.min(block.len());
                if out.write_all(&block[..n]).is_err() {
                    return;
                }
                left -= n;
                sent.fetch_add(n, Ordering::SeqCst);
            }
        }
    })
}

#[test]
fn a_paused_response_holds_no_more_than_its_limit_and_pushes_back() {
    const LENGTH: usize = 100 * MIB;
    let sent = Arc::new(AtomicUsize::new(0));
    let http1 = source(LENGTH, Arc::clone(&sent));
    let count = Arc::clone(&sent);
    let http2 = h2::H2Upstream::start(move |request, mut respond| {
        let count = Arc::clone(&count);
        async move {
            let large = request.uri().path() == "/large";
            let mut left = if large { LENGTH } else { 2 };
            let mut stream = respond.send_response(Default::default(), false).unwrap();
            while left > 0 {
                let n = left.min(16384);
                left -= n;
                if h2::send_all(&mut stream, vec![b'x'; n].into(), left == 0)
                    .await
                    .is_err()
                {
                    return;
                }
                count.fetch_add(n, Ordering::SeqCst);
            }
        }
    });
    for (what, setup) in [
        ("HTTP/1.1", Setup::new(http1.address)),
        ("HTTP/2", Setup::new(http2.address).http2_upstream()),
    ] {
        let weir = setup.filter(pauser()).start();
        assert_eq!(weir.connect().get("/").status, 200);
        sent.store(0, Ordering::SeqCst);
        let mut client = weir.connect();
        let mut taken = 0;
        let grown = weir.growth(|| {
            client.send("GET /large HTTP/1.1\r\nhost: h\r\nx-pause-response: 1\r\n\r\n");
            eventually("the response begins", || {
                (sent.load(Ordering::SeqCst) > 0).then_some(())
            });
            taken = settled(&sent);
        });
        eprintln!(
            "paused response, {what}: {} KiB taken, {} KiB more",
            taken / 1024,
            grown / 1024
        );
        // The rest of what was sent is in the kernel's buffers.
        assert!(taken < 20 * MIB, "{what}: {taken} were taken");
        assert!(grown < 4 * MIB as u64, "{what}: {} KiB", grown / 1024);
        // Released, it goes on.
        let released = weir.connect().get_with("/release", &[("x-release", "1")]);
        assert_eq!(released.status, 200);
        assert_eq!(client.response().body.len(), LENGTH, "{what}");
    }
}

#[test]
fn clients_that_do_not_read_cost_little_and_stop_nobody() {
    let sent = Arc::new(AtomicUsize::new(0));
    let upstream = source(1 << 30, Arc::clone(&sent));
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    assert_eq!(weir.connect().get("/").status, 200);
    weir.forget_peak_memory();
    let (before, _) = weir.memory();
    let mut stalled: Vec<Client> = (0..8).map(|_| weir.connect()).collect();
    for client in &mut stalled {
        client.send("GET /large HTTP/1.1\r\nhost: h\r\n\r\n");
    }
    // The same over HTTP/2, with windows as large as can be.
    let mut raw = RawH2::connect(weir.listener("edge"));
    raw.send(kind::SETTINGS, 0, 0, [0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(kind::WINDOW_UPDATE, 0, 0, [0x7f, 0xfe, 0, 0]);
    for n in 0..8 {
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"h"),
            (b":path", b"/large"),
        ];
        let block = hpack(&fields);
        raw.send(kind::HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, block);
    }
    let stopped = settled(&sent);
    let grown = weir.memory().1.saturating_sub(before);
    eprintln!(
        "16 stalled clients: {} KiB more, {} KiB sent",
        grown / 1024,
        stopped / 1024
    );
    let began = Instant::now();
    for _ in 0..50 {
        assert_eq!(weir.connect().get("/").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(grown < 40 * MIB as u64, "{} KiB", grown / 1024);
}

/// Waits until the counter has not moved for a while.
fn settled(counter: &AtomicUsize) -> usize {
    let mut last = (counter.load(Ordering::SeqCst), Instant::now());
    eventually("it stops", || {
        let now = counter.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn an_upstream_that_does_not_read_costs_little_and_stops_nobody() {
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::with_capacity(1024, connection);
        while let Some(line) = read_head(&mut input).first() {
            if line.contains("/stall") {
                thread::sleep(PATIENCE);
                return;
            }
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
        }
    });
    let weir = Setup::new(upstream.address).filter(body_reader()).start();
    assert_eq!(weir.connect().get("/").status, 200);
    let mut clients: Vec<Client> = (0..4).map(|_| weir.connect()).collect();
    let grown = weir.growth(|| {
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    client.send(
                        "POST /stall HTTP/1.1\r\nhost: h\r\ncontent-length: 104857600\r\n\r\n",
                    );
                    let sent = push(client.tcp(), 100 * MIB);
                    assert!(sent < 30 * MIB, "{sent}");
                });
            }
        });
    });
    eprintln!("4 stalled uploads: {} KiB more", grown / 1024);
    assert!(grown < 10 * MIB as u64, "{} KiB", grown / 1024);
    assert_eq!(weir.connect().get("/").status, 200);
    clients.into_iter().for_each(abort);
    eventually("clients that left are noticed", || {
        (weir.metric("envoy_http_downstream_cx_active") == 0).then_some(())
    });
}

#[test]
fn idle_connections_hold_no_large_buffers() {
    let upstream = Upstream::start(|_| Answer::ok("ok"));
    let weir = Setup::new(upstream.address).start();
    let body = vec![b'x'; 512 * 1024];
    assert_eq!(weir.connect().request("POST", "/", &[], &body).status, 200);
    let (before, _) = weir.memory();
    let idle: Vec<Client> = (0..300)
        .map(|_| {
            let mut client = weir.connect();
            assert_eq!(client.request("POST", "/", &[], &body).status, 200);
            client
        })
        .collect();
    let grown = weir.memory().0.saturating_sub(before) / 1024;
    eprintln!("300 idle connections: {grown} KiB more");
    assert!(grown < 10 * 1024, "{grown} KiB");
    drop(idle);
}

#[test]
fn the_request_goes_on_while_the_response_is_paused() {
    const LENGTH: usize = 20 * MIB;
    let got = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&got);
    // Answers at once, ends its answer when it has the whole request.
    let upstream = Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        if read_head(&mut input)[0].contains("/release") {
            out.write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
            return;
        }
        out.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        let mut buffer = vec![0; 64 * 1024];
        while count.load(Ordering::SeqCst) < LENGTH {
            let Ok(n @ 1..) = input.read(&mut buffer) else {
                return;
            };
            count.fetch_add(n, Ordering::SeqCst);
        }
        out.write_all(b"4\r\nlate\r\n0\r\n\r\n").unwrap();
    });
    let weir = Setup::new(upstream.address).filter(pauser()).start();
    let mut client = weir.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: h\r\nx-pause-response: 1\r\ncontent-length: {LENGTH}\r\n\r\n"
    ));
    client.send(vec![b'x'; LENGTH]);
    eventually("the whole request", || {
        (got.load(Ordering::SeqCst) == LENGTH).then_some(())
    });
    assert_eq!(
        weir.connect()
            .get_with("/release", &[("x-release", "1")])
            .status,
        204
    );
    assert_eq!(client.response().text(), "late");
}

#[test]
fn the_response_goes_on_while_the_request_is_paused() {
    // Answers at once, and without end, until the connection ends.
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        read_head(&mut BufReader::new(connection));
        out.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let block = vec![b'x'; 64 * 1024];
        while out.write_all(&block).is_ok() {}
    });
    let weir = Setup::new(upstream.address).filter(body_pauser()).start();
    let mut client = weir.connect();
    client.send("POST /h1 HTTP/1.1\r\nhost: h\r\ncontent-length: 104857600\r\n\r\n");
    push(client.tcp(), 100 * MIB);
    // The request stands still, more of the response than any buffer holds passes.
    let mut got = vec![0; 50 * MIB];
    client.read_exact(&mut got).unwrap();
    abort(client);
    assert!(weir.logged("\"POST /h1 ").contains(" 200 DC "));
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let (response, mut stream) = client
            .send_request(h2::request("POST", "/h2", &[]), false)
            .unwrap();
        let upload =
            tokio::spawn(
                async move { h2::send_all(&mut stream, vec![0; 8 * MIB].into(), true).await },
            );
        let mut body = response.await.unwrap().into_body();
        let mut got = 0;
        while got < 50 * MIB {
            let data = body.data().await.unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            got += data.len();
        }
        assert!(!upload.is_finished());
        upload.abort();
        drop(body);
        assert!(upload.await.is_err());
        assert!(weir.logged("\"POST /h2 ").contains(" 200 DC "));
    });
}
