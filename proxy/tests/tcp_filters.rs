//! Filters on connections in front of a TCP proxy, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use weir_conformance::guests::{connection_pauser, connection_reader};
use weir_conformance::{PATIENCE, Weir, eventually, filter};

const MIB: usize = 1 << 20;

/// A listener `edge` with one filter, in WebAssembly text.
fn weir(upstream: SocketAddr, workers: usize, text: &str) -> Weir {
    let config = config(upstream, workers, "filter.wasm", "");
    Weir::start_with(&config, |folder| {
        let module = wat::parse_str(text).unwrap();
        std::fs::write(folder.join("filter.wasm"), module).unwrap();
    })
}

fn config(upstream: SocketAddr, workers: usize, module: &str, configuration: &str) -> String {
    format!(
        "workers: {workers}\ndrain_timeout: 20s\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n\
         - name: edge\n  address: 127.0.0.1:0\n  access_log: {{ path: stdout }}\n  \
         tcp: {{ cluster: c }}\n  network_filters:\n  - name: f\n    wasm:\n      \
         vm_config: {{ code: {{ local: {{ filename: {module} }} }} }}\n{configuration}\
         clusters: [{{ name: c, endpoints: ['{upstream}'] }}]\n"
    )
}

fn connect(weir: &Weir) -> TcpStream {
    let client = TcpStream::connect(weir.listener("edge")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Serves every connection on a thread of its own; counts them.
fn upstream(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (serve, count) = (Arc::new(serve), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    thread::spawn(move || {
        for connection in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(connection.unwrap()));
        }
    });
    (address, count)
}

/// Says everything back.
fn echo(mut connection: TcpStream) {
    let mut out = connection.try_clone().unwrap();
    // Whoever goes early has nothing to hear.
    let _ = std::io::copy(&mut connection, &mut out);
    let _ = out.shutdown(Shutdown::Write);
}

/// Byte `n` of a flow whose every part can be told from the others.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 4096 * 31 + n) as u8).collect()
}

/// Sends and reads the echo at once.
fn exchange(mut client: TcpStream, blocks: usize) {
    let block = Arc::new(pattern(MIB));
    let (sent, mut out) = (Arc::clone(&block), client.try_clone().unwrap());
    let sender = thread::spawn(move || {
        for _ in 0..blocks {
            out.write_all(&sent).unwrap();
        }
        out.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = vec![0; MIB];
    for n in 0..blocks {
        client.read_exact(&mut got).unwrap();
        assert!(got == *block, "the block at {n} MiB");
    }
    assert_eq!(client.read(&mut got).unwrap(), 0);
    sender.join().unwrap();
}

/// Sends until nobody takes any more; gives how much that was.
fn push(client: &mut TcpStream, most: usize) -> usize {
    client
        .set_write_timeout(Some(Duration::from_millis(700)))
        .unwrap();
    let block = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < most {
        match client.write(&block[..block.len().min(most - sent)]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    sent
}

#[test]
fn flows_of_100_mib_both_ways_pass_a_filter_in_little_memory() {
    let (address, _) = upstream(echo);
    let weir = weir(address, 1, &connection_reader());
    // The first exchange makes what the later ones share.
    exchange(connect(&weir), 48);
    weir.forget_peak_memory();
    let (before, _) = weir.memory();
    exchange(connect(&weir), 100);
    let (_, peak) = weir.memory();
    let grown = peak.saturating_sub(before);
    assert!(grown < 12 * MIB as u64, "{} KiB", grown / 1024);
}

#[test]
fn a_paused_connection_pushes_back_and_goes_on_when_it_may() {
    let (address, _) = upstream(echo);
    let weir = weir(address, 1, &connection_pauser());
    let mut client = connect(&weir);
    let (before, _) = weir.memory();
    let sent = push(&mut client, 100 * MIB);
    let (_, peak) = weir.memory();
    let grown = peak.saturating_sub(before);
    // The rest of what was sent is in the kernel's buffers.
    assert!(sent < 20 * MIB, "{sent} were taken");
    assert!(grown < 6 * MIB as u64, "{} KiB", grown / 1024);
    drop(connect(&weir));
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert_eq!(back.len(), sent);
}

#[test]
fn a_client_that_breaks_off_is_noticed_while_nobody_reads_from_it() {
    let (address, _) = upstream(|mut connection| {
        let _ = connection.read(&mut [0]);
    });
    let weir = weir(address, 1, &connection_pauser());
    let mut client = connect(&weir);
    push(&mut client, 100 * MIB);
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually("the connection is logged", || {
        weir.stdout().ends_with('\n').then_some(())
    });
}

#[test]
fn what_an_upstream_has_said_reaches_a_slow_client_after_it_has_closed() {
    let (address, _) = upstream(|mut connection| {
        connection.write_all(&pattern(8 * MIB)).unwrap();
    });
    let weir = weir(address, 1, &connection_reader());
    let mut client = connect(&weir);
    client.shutdown(Shutdown::Write).unwrap();
    let mut first = vec![0; 1000];
    client.read_exact(&mut first).unwrap();
    // Time for Weir to hear of the upstream's end, if it did not push back.
    thread::sleep(Duration::from_millis(100));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!([first, rest].concat() == pattern(8 * MIB));
}

#[test]
fn a_connection_through_a_filter_is_drained() {
    let (address, _) = upstream(echo);
    let mut weir = weir(address, 1, &connection_reader());
    let mut client = connect(&weir);
    // It is there, and not just in the kernel.
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    weir.terminate();
    client.write_all(b"yz").unwrap();
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"yz");
    drop(client);
    assert!(weir.wait().success());
}

#[test]
fn two_workers_serve_connections_side_by_side() {
    let (address, count) = upstream(echo);
    let weir = weir(address, 2, &connection_reader());
    let clients = (0..40).map(|_| {
        let client = connect(&weir);
        thread::spawn(move || exchange(client, 1))
    });
    for client in clients.collect::<Vec<_>>() {
        client.join().unwrap();
    }
    assert_eq!(count.load(Ordering::SeqCst), 40);
}

#[test]
fn ip_allow_keeps_connections_from_the_endpoint() {
    let (address, count) = upstream(echo);
    let start = |configuration: &str| {
        let module = filter("ip-allow");
        let configuration = format!("      configuration: {configuration}\n");
        let module = module.display().to_string();
        Weir::start(&config(address, 1, &module, &configuration))
    };
    let closed = start("{ deny: [127.0.0.0/8] }");
    assert_eq!(connect(&closed).read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(closed.metric("ip_allow_refused"), 1);
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let open = start("{ allow: [127.0.0.1] }");
    exchange(connect(&open), 1);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}
