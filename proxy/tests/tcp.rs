//! Connections that are passed on as they are.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use weir_conformance::{PATIENCE, Weir, eventually};

fn weir(upstream: SocketAddr, tcp: &str) -> Weir {
    Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  access_log: {{ path: stdout }}\n  tcp: {{ cluster: c{tcp} }}\n\
         clusters: [{{ name: c, endpoints: ['{upstream}'] }}]\n"
    ))
}

fn connect(weir: &Weir) -> TcpStream {
    let client = TcpStream::connect(weir.listener("edge")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Serves one connection on a thread of its own.
fn upstream(serve: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    address
}

#[test]
fn an_end_of_one_direction_leaves_the_other_open() {
    let address = upstream(|mut connection| {
        // Speaks first, and answers only after the client's end.
        connection.write_all(b"hello\n").unwrap();
        let mut all = Vec::new();
        connection.read_to_end(&mut all).unwrap();
        connection
            .write_all(format!("{} bytes", all.len()).as_bytes())
            .unwrap();
    });
    let weir = weir(address, "");
    let mut client = connect(&weir);
    let mut hello = [0; 6];
    client.read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello\n");
    client.write_all(&vec![7; 1_000_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "1000000 bytes");
    let line = eventually("the connection is logged", || {
        let log = weir.stdout();
        log.ends_with('\n').then_some(log)
    });
    let expected = " 0 - - 1000000 19 ";
    assert!(line.contains(expected), "{line}");
    assert!(
        line.trim_end().ends_with(&format!("\"{address}\"")),
        "{line}"
    );
}

#[test]
fn an_idle_connection_is_closed() {
    let address = upstream(|mut connection| {
        let _ = connection.read(&mut [0]);
    });
    let weir = weir(address, ", idle_timeout: 200ms");
    let mut client = connect(&weir);
    assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn without_an_endpoint_the_connection_is_closed_and_logged() {
    let weir = weir("127.0.0.1:1".parse().unwrap(), "");
    assert_eq!(connect(&weir).read(&mut [0]).unwrap_or(0), 0);
    eventually("the failure is logged", || {
        weir.stdout().contains(" 0 UF,URX ").then_some(())
    });
    assert_eq!(weir.metric("envoy_cluster_upstream_rq_total"), 1);
}

#[test]
fn a_cluster_without_endpoints_is_told_from_one_that_fails() {
    let weir = Weir::start(
        "workers: 1\nadmin: { address: 127.0.0.1:0 }\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  access_log: { path: stdout }\n  tcp: { cluster: c }\n\
         clusters: [{ name: c, type: strict_dns, endpoints: ['none.invalid:80'] }]\n",
    );
    assert_eq!(connect(&weir).read(&mut [0]).unwrap_or(0), 0);
    eventually("the failure is logged", || {
        weir.stdout().contains(" 0 UH ").then_some(())
    });
    assert_eq!(weir.metric("envoy_cluster_upstream_rq_total"), 0);
}

#[test]
fn a_tcp_proxy_is_drained_like_any_listener() {
    let address = upstream(|mut connection| {
        let mut byte = [0];
        connection.read_exact(&mut byte).unwrap();
        connection.write_all(&byte).unwrap();
    });
    let mut weir = weir(address, "");
    let mut client = connect(&weir);
    weir.terminate();
    client.write_all(b"x").unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"x");
    drop(client);
    assert!(weir.wait().success());
}
