//! curl, over each version of HTTP.

use std::io::{BufReader, Write};

use weir_conformance::tls::Authority;
use weir_conformance::{Answer, Peer, Upstream, Weir, program, read_head};

use super::{pattern, plain_and_encrypted};

/// How it is told to speak, to which listener, and what it says that it spoke.
const WAYS: [(&str, &str, &str); 4] = [
    ("--http1.1", "edge", "1.1"),
    ("--http2-prior-knowledge", "edge", "2"),
    ("--http1.1", "tls", "1.1"),
    ("--http2", "tls", "2"),
];

/// Requests `path` with more arguments. Gives the version and status, and the body;
/// what was received besides is in the file `heads`.
fn curl(
    weir: &Weir,
    (option, listener, _): (&str, &str, &str),
    path: &str,
    arguments: &[&str],
) -> (String, Vec<u8>) {
    let port = weir.listener(listener).port();
    let scheme = if listener == "tls" { "https" } else { "http" };
    let output = program("curl")
        .args(["-sS", "--max-time", "60", option, "--cacert"])
        .arg(weir.path("ca.pem"))
        .args(["--resolve", &format!("edge.example:{port}:127.0.0.1")])
        .arg("-D")
        .arg(weir.path("heads"))
        .args(["-w", "%{stderr}%{http_version} %{http_code}"])
        .args(arguments)
        .arg(format!("{scheme}://edge.example:{port}{path}"))
        .current_dir(weir.path(""))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    (told, output.stdout)
}

#[test]
fn curl_loads_up_and_down() {
    let upstream = Upstream::start(|request| Answer::ok(&request.body));
    let weir = plain_and_encrypted(&Authority::new("ca"), upstream.address);
    let body = pattern(8 << 20);
    std::fs::write(weir.path("body"), &body).unwrap();
    let by_length = ["--data-binary", "@body"];
    let in_chunks = [&["-H", "transfer-encoding: chunked"][..], &by_length].concat();
    for way in WAYS {
        for upload in [&by_length[..], &in_chunks] {
            let (told, got) = curl(&weir, way, "/", upload);
            assert_eq!(told, format!("{} 200", way.2), "{way:?} {upload:?}");
            assert!(got == body, "{way:?} {upload:?}: {} bytes", got.len());
        }
        let (told, got) = curl(&weir, way, "/", &["-I"]);
        assert_eq!(told, format!("{} 200", way.2), "{way:?}");
        assert!(
            String::from_utf8(got)
                .unwrap()
                .contains("content-length: 0")
        );
    }
    let requests = upstream.requests();
    let framed = |name: &str| requests.iter().filter(|r| r.header(name).is_some()).count();
    assert_eq!(framed("content-length"), WAYS.len());
    assert_eq!(framed("transfer-encoding"), WAYS.len());
}

#[test]
fn curl_gets_trailers() {
    let upstream = Peer::start(|connection| {
        let mut out = connection.try_clone().unwrap();
        let mut input = BufReader::new(connection);
        while !read_head(&mut input).is_empty() {
            let response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                            4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n";
            out.write_all(response.as_bytes()).unwrap();
        }
    });
    let weir = plain_and_encrypted(&Authority::new("ca"), upstream.address);
    for way in WAYS {
        let (told, body) = curl(&weir, way, "/", &["-H", "te: trailers"]);
        assert_eq!(told, format!("{} 200", way.2), "{way:?}");
        assert_eq!(body, b"body", "{way:?}");
        let heads = std::fs::read_to_string(weir.path("heads")).unwrap();
        let (head, trailers) = heads.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("x-sum: "), "{way:?}: {heads}");
        assert_eq!(trailers.trim(), "x-sum: 42", "{way:?}: {heads}");
    }
}

#[test]
fn curl_keeps_its_connection() {
    let upstream = Upstream::echo();
    let weir = plain_and_encrypted(&Authority::new("ca"), upstream.address);
    // curl 7.88 fails to go on with an HTTP/2 connection that it did not agree on.
    let ways = WAYS
        .into_iter()
        .filter(|way| way.0 != "--http2-prior-knowledge");
    for (number, way) in (1..).zip(ways) {
        // Ten requests, one after the other.
        let (told, _) = curl(&weir, way, "/[0-9]", &[]);
        assert_eq!(told, format!("{} 200", way.2).repeat(10), "{way:?}");
        assert_eq!(weir.metric("envoy_http_downstream_cx_total"), number);
        assert_eq!(weir.metric("envoy_http_downstream_rq_total"), 10 * number);
    }
}
