//! The PROXY protocol, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};

use weir_conformance::tls::Authority;
use weir_conformance::{PATIENCE, Peer, Tunnel, Upstream, Weir, eventually, h2, read_head};

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

/// A server that takes what there is of the PROXY protocol from connections, and answers
/// requests with it, escaped.
fn announced() -> Peer {
    Peer::start(|connection| {
        let mut input = BufReader::new(connection.try_clone().unwrap());
        let mut out = connection;
        let mut header = Vec::new();
        if input.fill_buf().is_ok_and(|first| first.starts_with(b"P")) {
            input.read_until(b'\n', &mut header).unwrap();
        } else {
            header.resize(16, 0);
            if input.read_exact(&mut header).is_err() {
                return;
            }
            header.resize(16 + usize::from(header[15]), 0);
            input.read_exact(&mut header[16..]).unwrap();
        }
        let text = header.escape_ascii().to_string();
        while !read_head(&mut input).is_empty() {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            if out.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A listener with these keys before `endpoint`, whose cluster has these.
fn announcing(endpoint: &str, listener: &str, cluster: &str) -> String {
    format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
{listener}
clusters: [{{ name: web, endpoints: ['{endpoint}'], {cluster} }}]
"
    )
}

const ROUTE: &str = "  routes: [{ match: { prefix: / }, cluster: web }]";

/// The header in version 2 of a client at a port of 127.0.0.1, and of where it has gone.
fn v2(client: u16, destination: u16) -> String {
    let ports = [client.to_be_bytes(), destination.to_be_bytes()].concat();
    let ends = [b"\x7f\0\0\x01\x7f\0\0\x01".as_slice(), &ports].concat();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    [header.as_slice(), &ends]
        .concat()
        .escape_ascii()
        .to_string()
}

fn v1(client: u16, destination: u16) -> String {
    format!("PROXY TCP4 127.0.0.1 127.0.0.1 {client} {destination}\\r\\n")
}

/// A client's connection, and its port.
fn client(edge: SocketAddr) -> (TcpStream, u16) {
    let client = TcpStream::connect(edge).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = client.local_addr().unwrap().port();
    (client, port)
}

/// Makes a request; gives the body of the answer.
fn get(client: &mut TcpStream) -> String {
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut input = BufReader::new(client.try_clone().unwrap());
    let head = read_head(&mut input);
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    input.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

#[test]
fn endpoints_are_told_who_each_client_is() {
    for (version, expected) in [("v1", v1 as fn(u16, u16) -> String), ("v2", v2)] {
        for listener in [ROUTE, "  tcp: { cluster: web }"] {
            let endpoint = announced();
            let keys = format!("proxy_protocol: {{ version: {version} }}");
            let weir = Weir::start(&announcing(&endpoint.address.to_string(), listener, &keys));
            let edge = weir.listener("edge");
            let mut clients = [client(edge), client(edge)];
            for _ in 0..3 {
                // A connection that waits is for the client that it tells of.
                for (client, port) in &mut clients {
                    assert_eq!(get(client), expected(*port, edge.port()));
                }
            }
            assert_eq!(endpoint.connections(), 2, "{version} {listener}");
        }
    }
}

#[test]
fn endpoints_are_told_what_the_proxy_in_front_has_told() {
    let endpoint = announced();
    let log = "access_log: { path: stdout, format: \"%UPSTREAM_LOCAL_ADDRESS%\\n\" }";
    let listener = format!("  proxy_protocol: {{}}\n  {log}\n{ROUTE}");
    let keys = "proxy_protocol: {}";
    let weir = Weir::start(&announcing(&endpoint.address.to_string(), &listener, keys));
    for header in [V1, V2] {
        let mut client = weir.connect();
        client.send(header);
        let line = V1.escape_ascii().to_string();
        assert_eq!(client.get("/").text(), line);
    }
    // It is a connection like any other.
    weir.logged("127.0.0.1:");
    // Both tell of the same ends.
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_client_without_an_address_is_unknown_to_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let edge = folder.path().join("edge.sock");
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".escape_ascii().to_string();
    for (version, expected) in [("v1", "PROXY UNKNOWN\\r\\n"), ("v2", &v2)] {
        let endpoint = announced();
        let keys = format!("proxy_protocol: {{ version: {version} }}");
        let config = announcing(&endpoint.address.to_string(), ROUTE, &keys);
        let unix = format!("- name: edge\n  address: 'unix:{}'", edge.display());
        let weir = Weir::start(&config.replace("- name: edge\n  address: 127.0.0.1:0", &unix));
        assert_eq!(weir.connect().get("/").text(), expected);
    }
}

/// Takes headers of version 2 for IPv4 off connections, tells of them, and passes the rest
/// on.
fn in_front_of(server: SocketAddr) -> (Peer, mpsc::Receiver<[u8; 28]>) {
    let (told, headers) = mpsc::channel();
    let told = Mutex::new(told);
    let endpoint = Peer::start(move |mut connection| {
        let mut header = [0; 28];
        connection.read_exact(&mut header).unwrap();
        told.lock().unwrap().send(header).unwrap();
        let mut server = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (server.try_clone().unwrap(), connection.try_clone().unwrap());
        // What breaks is the test's to notice.
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut connection, &mut server);
    });
    (endpoint, headers)
}

#[test]
fn the_header_to_an_endpoint_stands_in_front_of_tls() {
    let authority = Authority::new("ca");
    let echo = Upstream::echo();
    let identity = authority.issue(&["127.0.0.1"]);
    let tunnel = Tunnel::decrypt(echo.address, authority.server(&identity, false));
    let (endpoint, headers) = in_front_of(tunnel.address);
    let keys = "proxy_protocol: { version: v2 }, tls: { ca: ca.pem }";
    let config = announcing(&endpoint.address.to_string(), ROUTE, keys);
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    let edge = weir.listener("edge");
    for _ in 0..2 {
        let (mut client, port) = client(edge);
        for _ in 0..2 {
            assert!(get(&mut client).starts_with("GET /"));
        }
        let header = headers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(header.escape_ascii().to_string(), v2(port, edge.port()));
    }
    assert_eq!(tunnel.handshakes().len(), 2);
}

#[test]
fn clients_share_no_http2_connection_to_endpoints_that_are_to_know_them() {
    let upstream = h2::H2Upstream::start(|_, mut respond| async move {
        respond
            .send_response(http::Response::new(()), true)
            .unwrap();
    });
    let (endpoint, headers) = in_front_of(upstream.address);
    let keys = "proxy_protocol: { version: v2 }, protocol: http2";
    let weir = Weir::start(&announcing(&endpoint.address.to_string(), ROUTE, keys));
    let edge = weir.listener("edge");
    let mut clients = [client(edge), client(edge)];
    for _ in 0..3 {
        for (client, _) in &mut clients {
            assert_eq!(get(client), "");
        }
    }
    for (_, port) in clients {
        let header = headers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(header.escape_ascii().to_string(), v2(port, edge.port()));
    }
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn each_client_gets_a_connection_whatever_the_circuit_breaker_says() {
    let endpoint = announced();
    let keys = "proxy_protocol: { version: v2 }, circuit_breakers: { max_connections: 1 }";
    let weir = Weir::start(&announcing(&endpoint.address.to_string(), ROUTE, keys));
    let edge = weir.listener("edge");
    // The connection of the first one waits for it alone.
    let (mut first, mut second) = (client(edge), client(edge));
    for (client, port) in [&mut first, &mut second] {
        assert_eq!(get(client), v2(*port, edge.port()));
    }
    assert_eq!(weir.metric("envoy_cluster_upstream_cx_overflow"), 1);
}

#[test]
fn health_checks_are_marked_as_the_proxys_own() {
    let times = "timeout: 5s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1";
    for check in ["http: { path: /healthz }", "tcp: {}"] {
        for version in ["v1", "v2"] {
            let (told, headers) = mpsc::channel();
            let told = Mutex::new(told);
            let endpoint = Peer::start(move |mut connection| {
                let mut header = vec![0; 16];
                connection.read_exact(&mut header).unwrap();
                let client = connection.peer_addr().unwrap();
                let mut input = BufReader::new(connection.try_clone().unwrap());
                if header.starts_with(b"PROXY ") {
                    input.read_until(b'\n', &mut header).unwrap();
                }
                told.lock().unwrap().send((header, client)).unwrap();
                read_head(&mut input);
                // A check by TCP has heard enough.
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            });
            let keys = format!(
                "proxy_protocol: {{ version: {version} }}, health_checks: [{{ {check}, {times} }}]"
            );
            let weir = Weir::start(&announcing(&endpoint.address.to_string(), ROUTE, &keys));
            let (header, client) = headers.recv_timeout(PATIENCE).unwrap();
            let expected = match version {
                "v1" => v1(client.port(), endpoint.address.port()),
                _ => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".escape_ascii().to_string(),
            };
            assert_eq!(header.escape_ascii().to_string(), expected, "{check}");
            weir.eventually_metric("envoy_cluster_membership_healthy", 1);
        }
    }
}
