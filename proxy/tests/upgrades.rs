//! Protocol upgrades and CONNECT.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{BufReader, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use weir_conformance::guests::{Edit, Map, editor};
use weir_conformance::{Client, Peer, Setup, Weir, h2, read_head};

/// Switches protocols where it is asked to, and echoes raw bytes then; answers
/// 200 otherwise. Tells the heads that it sees.
fn switching(heads: Sender<Vec<String>>) -> Peer {
    let heads = Mutex::new(heads);
    Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        loop {
            let head = read_head(&mut input);
            if head.is_empty() {
                return;
            }
            let switches = head
                .iter()
                .any(|l| l.eq_ignore_ascii_case("upgrade: websocket"));
            let refused = head[0].contains("/refuse");
            heads.lock().unwrap().send(head).unwrap();
            if !switches || refused {
                out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno")
                    .unwrap();
                continue;
            }
            // What came before the switch came too early.
            assert!(input.buffer().is_empty(), "bytes before the switch");
            std::thread::sleep(Duration::from_millis(30));
            assert!(input.buffer().is_empty(), "bytes before the switch");
            out.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhello ").unwrap();
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = input.read(&mut buffer) {
                out.write_all(&buffer[..n]).unwrap();
            }
            return;
        }
    })
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nhost: h\r\nConnection: keep-alive, Upgrade\r\n\
     Upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

fn read(client: &mut Client, length: usize) -> String {
    let mut bytes = vec![0; length];
    client.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_websocket_passes_with_filters_on_the_headers() {
    let (heads, seen) = channel();
    let upstream = switching(heads);
    let filter = editor(&[
        Edit::Add(Map::RequestHeaders, b"x-filter", b"1"),
        Edit::Add(Map::ResponseHeaders, b"y-filter", b"1"),
    ]);
    let weir = Setup::new(upstream.address).filter(filter).start();
    let mut client = weir.connect();
    client.send(HANDSHAKE);
    let response = client.response();
    assert_eq!(response.status, 101);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert!(
        response
            .header("connection")
            .unwrap()
            .eq_ignore_ascii_case("upgrade")
    );
    assert_eq!(response.header("sec-websocket-accept"), Some("x"));
    assert_eq!(response.header("y-filter"), Some("1"));
    for name in ["transfer-encoding", "content-length"] {
        assert_eq!(response.header(name), None);
    }
    assert_eq!(read(&mut client, 6), "hello ");
    for message in ["abc", "GET / HTTP/1.1\r\n\r\n", "\0\r\n"] {
        client.send(message);
        assert_eq!(read(&mut client, message.len()), message);
    }
    let head = seen.recv().unwrap();
    assert!(
        head.contains(&"x-filter: 1".to_owned()) && head.contains(&"upgrade: websocket".to_owned()),
        "{head:?}"
    );
    drop(client);
    let line = weir.logged("GET /ws");
    assert!(line.contains(" 101 "), "{line}");
}

#[test]
fn bytes_that_come_before_the_switch_wait_for_it() {
    let (heads, seen) = channel();
    let upstream = switching(heads);
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send(format!("{HANDSHAKE}early"));
    assert_eq!(client.response().status, 101);
    assert_eq!(read(&mut client, 11), "hello early");
    drop(seen);
}

#[test]
fn an_upstream_that_refuses_to_switch_gets_no_bytes_as_a_request() {
    let (heads, seen) = channel();
    let upstream = switching(heads);
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    let handshake = HANDSHAKE.replace("/ws", "/refuse");
    client.send(format!(
        "{handshake}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
    ));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (200, "no"));
    assert!(client.is_closed());
    assert_eq!(weir.connect().get("/after").status, 200);
    let first = seen.recv().unwrap();
    assert!(first[0].starts_with("GET /refuse"));
    assert!(seen.recv().unwrap()[0].starts_with("GET /after"));
}

#[test]
fn other_protocols_and_connect_are_refused() {
    let (heads, seen) = channel();
    let upstream = switching(heads);
    let weir = Setup::new(upstream.address).start();
    let connect = "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n";
    for (request, status) in [
        (HANDSHAKE.replace("websocket\r\n", "other\r\n"), 403),
        (
            HANDSHAKE.replace("websocket\r\n", "websocket, other\r\n"),
            403,
        ),
        // A tunnel that nobody offers has no route, as in Envoy.
        (connect.to_owned(), 404),
    ] {
        let mut client = weir.connect();
        client.send(request.as_str());
        assert_eq!(client.response().status, status, "{request:?}");
        assert!(client.is_closed());
    }
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        let request = http::Request::builder()
            .method("CONNECT")
            .uri("h:80")
            .body(())
            .unwrap();
        let (response, _stream) = client.send_request(request, false).unwrap();
        assert_eq!(h2::read(response).await.unwrap().status, 404);
    });
    assert!(seen.try_recv().is_err());
    // An offer of h2c is not taken, and the request answered.
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
    assert_eq!(client.response().status, 200);
    let head = seen.recv().unwrap().join("\n");
    assert!(
        !head.contains("upgrade") && !head.contains("settings"),
        "{head}"
    );
}

#[test]
fn a_websocket_over_http2_reaches_an_http1_upstream() {
    let (heads, seen) = channel();
    let upstream = switching(heads);
    let weir = Setup::new(upstream.address).start();
    h2::run(async {
        let mut client = h2::connect(weir.listener("edge")).await;
        // The settings have come with the first response.
        assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().status, 200);
        assert!(client.is_extended_connect_protocol_enabled());
        let mut request = http::Request::builder()
            .method("CONNECT")
            .uri("http://test/ws")
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        request
            .extensions_mut()
            .insert(::h2::ext::Protocol::from_static("websocket"));
        let (response, mut stream) = client.send_request(request, false).unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        assert_eq!(head.status.as_u16(), 200);
        assert!(!head.headers.contains_key("upgrade") && !head.headers.contains_key("connection"));
        stream.send_data("abc".into(), false).unwrap();
        let mut got = Vec::new();
        while got.len() < 9 {
            got.extend_from_slice(&body.data().await.unwrap().unwrap());
        }
        assert_eq!(got, b"hello abc");
    });
    seen.recv().unwrap();
    let head = seen.recv().unwrap();
    assert_eq!(head[0], "GET /ws HTTP/1.1");
    for line in ["upgrade: websocket", "connection: upgrade"] {
        assert!(head.contains(&line.to_owned()), "{head:?}");
    }
    // Needed there, and not sent here (RFC 8441, section 5).
    assert!(
        head.iter().any(|l| l.starts_with("sec-websocket-key: ")),
        "{head:?}"
    );
}

#[test]
fn a_websocket_ends_when_either_side_goes() {
    let (heads, _seen) = channel();
    let upstream = switching(heads);
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    client.tcp().shutdown(std::net::Shutdown::Both).unwrap();
    weir.logged("GET /ws");
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        read_head(&mut BufReader::new(connection));
        out.write_all(b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nbye")
            .unwrap();
    });
    let weir = Setup::new(upstream.address).start();
    let mut client = weir.connect();
    client.send(HANDSHAKE);
    assert_eq!(client.response().status, 101);
    assert_eq!(read(&mut client, 3), "bye");
    assert!(client.is_closed());
}

/// Weir with a route for CONNECT to `endpoint` that has the keys of `route`, on a
/// listener with those of `http`.
fn tunnelling(endpoint: &Peer, http: &str, route: &str) -> Weir {
    Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http: {{ {http} }}
  routes:
  - {{ match: {{ connect: true, headers: [{{ name: x-no, present: false }}] }}, cluster: web{route} }}
  - {{ match: {{ prefix: / }}, direct_response: {{ status: 204 }} }}
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        endpoint.address
    ))
}

const CONNECT: &str = "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n";

/// The head of a response that nothing frames.
fn tunnel_head(client: &mut Client) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &read(client, 1);
    }
    head
}

#[test]
fn connect_goes_on_to_an_endpoint_that_answers_it() {
    let endpoint = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        let head = read_head(&mut input);
        assert_eq!(head[..2], ["CONNECT h:80 HTTP/1.1", "host: h:80"]);
        out.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut buffer = [0; 4];
        input.read_exact(&mut buffer).unwrap();
        out.write_all(&buffer).unwrap();
        assert_eq!(input.read(&mut buffer).unwrap(), 0, "the client has ended");
    });
    for (http, route) in [("upgrades: [connect]", ""), ("", ", connect: pass_on")] {
        let weir = tunnelling(&endpoint, http, route);
        let mut client = weir.connect();
        client.send(CONNECT);
        assert!(tunnel_head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
        client.send("ping");
        assert_eq!(read(&mut client, 4), "ping");
    }
}

#[test]
fn connect_is_answered_where_the_route_says_so() {
    let (ended, end) = channel();
    let ended = Mutex::new(ended);
    let endpoint = Peer::start(move |connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        assert_eq!(read_head(&mut input)[0], "GET /inner HTTP/1.1");
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\ninner")
            .unwrap();
        ended.lock().unwrap().send(input.read(&mut [0])).unwrap();
    });
    let weir = tunnelling(&endpoint, "", ", connect: terminate");
    let mut client = weir.connect();
    client.send(CONNECT);
    let head = tunnel_head(&mut client);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.contains("transfer-encoding"), "{head}");
    client.send("GET /inner HTTP/1.1\r\nhost: inner\r\n\r\n");
    assert_eq!(client.response().text(), "inner");
    // The end of one side is that of the other.
    drop(client);
    assert_eq!(end.recv().unwrap().unwrap(), 0);
}

#[test]
fn connect_is_refused_where_nothing_allows_it() {
    let endpoint = Peer::start(|_| panic!("a connection"));
    let weir = tunnelling(&endpoint, "", "");
    let mut client = weir.connect();
    client.send(CONNECT);
    assert_eq!(client.response().status, 404);
    // Nor does a route with a path take it.
    let weir = tunnelling(&endpoint, "upgrades: [connect]", "");
    let mut client = weir.connect();
    client.send(CONNECT.replace("\r\n\r\n", "\r\nx-no: 1\r\n\r\n"));
    assert_eq!(client.response().status, 404);
    assert_eq!(weir.connect().get("/").status, 204);
}

#[test]
fn a_tunnel_without_an_endpoint_is_answered_with_503() {
    let address = weir_conformance::nobody();
    let weir = Weir::start(&format!(
        "admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  routes: [{{ match: {{ connect: true }}, cluster: web, connect: terminate }}]
clusters: [{{ name: web, endpoints: [\"{address}\"] }}]
"
    ));
    let mut client = weir.connect();
    client.send(CONNECT);
    assert_eq!(client.response().status, 503);
}
