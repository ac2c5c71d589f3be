//! Weir's own filters on real traffic.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fmt::Write as _;

use weir_conformance::{Answer, Request, Upstream, Weir, eventually, filter};

/// A listener `edge` with filters of (module, configuration as YAML).
fn config(upstream: &Upstream, workers: usize, filters: &[(&str, &str)]) -> String {
    let mut chain = String::new();
    for (module, configuration) in filters {
        let file = filter(module);
        let _ = write!(
            chain,
            "\n  - name: {module}\n    wasm:\n      vm_config: {{ vm_id: {module}, code: {{ local: \
             {{ filename: {} }} }} }}\n      configuration: {configuration}",
            file.display()
        );
    }
    format!(
        "workers: {workers}\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:{chain}\n  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    )
}

const REQUEST_ID: (&str, &str) = ("request-id", "{}");
const SECURITY_HEADERS: (&str, &str) = ("security-headers", "{ frame_options: DENY }");
const REDACT: (&str, &str) = (
    "redact",
    "{ rules: [{ detect: credit_card }, { literal: secret }], \
       directions: [request, response] }",
);

fn json(body: impl AsRef<[u8]>) -> Answer {
    Answer::with_headers(
        "content-type: application/json\r\nx-powered-by: php\r\n",
        body,
    )
}

/// Answers with the request's body.
fn mirror(request: &Request) -> Answer {
    json(&request.body)
}

#[test]
fn three_filters_change_request_and_response_headers_and_bodies() {
    let upstream = Upstream::start(|_| json(r#"{"card":"4111 1111 1111 1111","note":"secret"}"#));
    let weir = Weir::start(&config(
        &upstream,
        1,
        &[REQUEST_ID, SECURITY_HEADERS, REDACT],
    ));
    let response = weir.connect().request(
        "POST",
        "/orders",
        &[("content-type", "application/json")],
        br#"{"pin":"secret"}"#,
    );

    let request = &upstream.requests()[0];
    let id = request.header("x-request-id").unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert!(request.header("traceparent").unwrap().starts_with("00-"));
    assert_eq!(request.body, br#"{"pin":"[redacted]"}"#);
    assert_eq!(request.header("content-length"), None);

    assert_eq!(response.status, 200);
    assert_eq!(response.header("x-request-id"), Some(id));
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("x-powered-by"), None);
    assert_eq!(
        response.text(),
        r#"{"card":"[redacted]","note":"[redacted]"}"#
    );
}

#[test]
fn a_match_across_chunks_is_redacted() {
    let upstream = Upstream::start(mirror);
    let weir = Weir::start(&config(&upstream, 1, &[REDACT]));
    let mut client = weir.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\n\
         transfer-encoding: chunked\r\n\r\n",
    );
    for piece in ["a sec", "re", "t, ", "4111 1111 ", "1111 1111", " end"] {
        client.send(format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().text(), "a [redacted], [redacted] end");
    assert_eq!(upstream.requests()[0].body, b"a [redacted], [redacted] end");
}

#[test]
fn ten_thousand_requests_over_64_connections_are_all_right_and_memory_stays() {
    const CLIENTS: usize = 64;
    const EACH: usize = 157;
    let upstream = Upstream::start(mirror);
    let weir = Weir::start(&config(
        &upstream,
        2,
        &[REQUEST_ID, SECURITY_HEADERS, REDACT],
    ));
    let run = |each: usize| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let mut connection = weir.connect();
                std::thread::spawn(move || {
                    for n in 0..each {
                        let id = format!("{client}-{n}");
                        let body = format!("order {id}: secret, card 4111111111111111");
                        let headers = [("content-type", "text/plain"), ("x-request-id", &id)];
                        let response = connection.request("POST", "/", &headers, body.as_bytes());
                        assert_eq!(response.status, 200);
                        assert_eq!(response.header("x-request-id"), Some(&*id));
                        assert_eq!(response.header("x-frame-options"), Some("DENY"));
                        let expected = format!("order {id}: [redacted], card [redacted]");
                        assert_eq!(response.text(), expected);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
    };
    run(16);
    let settled = || {
        // Published a few times a second: equal twice in a row is current.
        let mut last = 0;
        eventually("memory is published", || {
            std::thread::park_timeout(std::time::Duration::from_millis(400));
            let now = weir.metric("weir_wasm_vm_memory_bytes");
            let same = now > 0 && now == last;
            last = now;
            same.then_some(now)
        })
    };
    let after_the_first_thousand = settled();
    run(EACH - 16);
    assert_eq!(settled(), after_the_first_thousand);
    assert_eq!(upstream.requests().len(), CLIENTS * EACH);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn a_header_value_that_is_not_utf8_fails_no_filter() {
    let upstream = Upstream::start(mirror);
    let weir = Weir::start(&config(
        &upstream,
        1,
        &[REQUEST_ID, SECURITY_HEADERS, REDACT],
    ));
    let mut client = weir.connect();
    client.send(
        b"GET / HTTP/1.1\r\nhost: h\r\nx-request-id: \xff\xfe\r\ntraceparent: \xff\r\nx: \xe9\r\n\r\n",
    );
    assert_eq!(client.response().status, 200);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn the_first_filter_of_the_readme_runs() {
    let upstream = Upstream::echo();
    let hello = ("hello", "{ request: there, response: here }");
    let weir = Weir::start(&config(&upstream, 1, &[hello]));
    let response = weir.connect().get("/");
    assert_eq!(response.header("x-hello"), Some("here"));
    assert!(response.text().contains("x-hello: there\n"));
}

/// A guest that traps in a request whose path holds `trap`, and marks all others.
const TRAPPING: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-trap")
  (data (i32.const 32) "x-marked")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6)
                            (i32.const 0) (i32.const 4)))
      (then unreachable))
    (drop (call $add (i32.const 0) (i32.const 32) (i32.const 8)
                     (i32.const 16) (i32.const 6)))
    (i32.const 0)))"#;

fn trapping(upstream: &Upstream, policy: &str) -> Weir {
    Weir::start_guest(upstream, policy, TRAPPING)
}

#[test]
fn a_trap_costs_one_request_and_the_next_is_filtered() {
    let upstream = Upstream::echo();
    let weir = trapping(&upstream, "root_id: r");
    let mut client = weir.connect();
    for round in 1..=3 {
        let trapped = client.get_with("/", &[("x-trap", "1")]);
        assert_eq!((trapped.status, trapped.body.len()), (503, 0));
        let next = client.get("/");
        assert_eq!(next.status, 200);
        assert!(next.text().contains("x-marked: x-trap\n"));
        assert_eq!(weir.metric("weir_wasm_vm_failures_total"), round);
        assert_eq!(weir.metric("weir_wasm_vm_restarts_total"), round);
    }
    let log = weir.log();
    assert!(
        log.contains("proxy_on_request_headers failed (trap): unreachable"),
        "{log}"
    );
    assert!(log.contains(r#"plugin="guest""#), "{log}");
}

#[test]
fn the_failure_policy_decides_about_later_requests() {
    let upstream = Upstream::echo();
    for (policy, status) in [
        ("FAIL_CLOSED", 503),
        ("FAIL_OPEN", 200),
        ("FAIL_RELOAD", 503),
    ] {
        let weir = trapping(&upstream, &format!("failure_policy: {policy}"));
        let mut client = weir.connect();
        assert_eq!(client.get("/").status, 200);
        assert_eq!(
            client.get_with("/", &[("x-trap", "1")]).status,
            503,
            "{policy}"
        );
        let next = client.get("/");
        // FAIL_RELOAD starts a new VM a second after the last start at the earliest.
        assert_eq!(next.status, status, "{policy}");
        assert!(!next.text().contains("x-marked"));
        if policy == "FAIL_RELOAD" {
            eventually("a new VM", || (client.get("/").status == 200).then_some(()));
        } else {
            assert_eq!(client.get("/").status, status);
        }
    }
}
