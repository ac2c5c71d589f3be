//! The PROXY protocol, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{Read, Write};
use std::net::TcpStream;

use weir_conformance::tls::Authority;
use weir_conformance::{PATIENCE, Upstream, Weir, eventually};

fn config(upstream: &Upstream, listener: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  access_log: {{ path: stdout, format: \"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%\\n\" }}
{listener}
clusters: [{{ name: web, endpoints: ['{}'] }}]
",
        upstream.address
    )
}

const HTTP: &str = "  http: { use_remote_address: true }
  proxy_protocol: {}
  routes: [{ match: { prefix: / }, cluster: web }]";

const V1: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 80\r\n";

/// The same in version 2, with a field that says nothing to Weir.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc0\0\x02\x02\x04\x01\0\x50\x04\0\x01\0";

#[test]
fn a_client_is_who_the_proxy_in_front_says() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, HTTP));
    for header in [V1, V2] {
        let mut client = weir.connect();
        // The header comes in pieces, with the request right behind it.
        let (first, rest) = header.split_at(9);
        client.send(first);
        client.send([rest, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.text().contains("\nx-forwarded-for: 192.0.2.1\n"));
        // It is there once.
        assert_eq!(client.get("/").status, 200);
    }
    let line = "192.0.2.1:1025 192.0.2.2:80\n";
    eventually("the access log", || {
        (weir.stdout() == line.repeat(4)).then_some(())
    });
}

#[test]
fn a_connection_of_the_proxy_itself_is_its_own() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&config(&upstream, HTTP));
    let local: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let mut client = weir.connect();
        client.send(header);
        let text = client.get("/").text();
        assert!(text.contains("\nx-forwarded-for: 127.0.0.1\n"), "{text}");
    }
}

#[test]
fn a_connection_without_the_header_is_closed() {
    let upstream = Upstream::echo();
    let listener = HTTP.replace("{}", "{ timeout: 200ms }");
    let weir = Weir::start(&config(&upstream, &listener));
    let endless = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    let wrong: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"PROXY TCP4 nobody 192.0.2.2 1025 80\r\n",
        &endless,
        // It says nothing more.
        b"PROXY TCP4",
        b"",
    ];
    for bytes in wrong {
        let mut client = TcpStream::connect(weir.listener("edge")).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // A reset is an end, too.
        let _ = client.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
    weir.eventually_metric("weir_listener_proxy_protocol_errors_total", 5);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_header_stands_in_front_of_tls() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let listener = "  proxy_protocol: {}
  tls: { certificates: [{ cert: edge.pem, key: edge.key }] }
  tcp: { cluster: web }";
    let weir = Weir::start_with(&config(&upstream, listener), |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
    });
    let mut tcp = TcpStream::connect(weir.listener("edge")).unwrap();
    tcp.write_all(V2).unwrap();
    let config = std::sync::Arc::new(authority.client(None));
    let name = "edge.example".try_into().unwrap();
    let session = rustls::ClientConnection::new(config, name).unwrap();
    let mut tls = rustls::StreamOwned::new(session, tcp);
    tls.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = [0; 15];
    tls.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    drop(tls);
    let line = "192.0.2.1:1025 192.0.2.2:80\n";
    eventually("the access log", || (weir.stdout() == line).then_some(()));
}
