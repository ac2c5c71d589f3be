//! Weir's own filters on real traffic.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::json;
use weir_conformance::{Answer, Request, Upstream, Weir, eventually, filter, run};

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

#[test]
fn the_example_of_every_filter_starts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters");
    let mut started = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("schema.json").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let example = std::fs::read_to_string(folder.join("example.yaml")).unwrap();
        let example = example
            .replace(
                &format!("target/filters/{name}.wasm"),
                filter(name).to_str().unwrap(),
            )
            .replace("127.0.0.1:8080", "127.0.0.1:0");
        let weir = Weir::start(&format!(
            "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\n{example}"
        ));
        assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0, "{name}");
        started += 1;
    }
    assert!(started > 0);
}

#[test]
fn the_suite_of_every_filter_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters");
    let mut passed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("tests.yaml").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        let module = filter(name);
        let module = module.to_str().unwrap();
        let output = run(
            &folder,
            &["filter", "test", "tests.yaml", "--plugin", module],
        );
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}:\n{printed}");
        passed += 1;
    }
    assert!(passed > 0);
}

/// An issuer of tokens, whose key can be changed.
struct Issuer {
    key: KeyPair,
    id: &'static str,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self { key, id }
    }

    fn keys(&self) -> String {
        let x = BASE64URL.encode(self.key.der_bytes());
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x });
        json!({ "keys": [key] }).to_string()
    }

    /// A header with a token in which this key is named so.
    fn bearer(&self, id: &str) -> String {
        let part = |value: serde_json::Value| BASE64URL.encode(value.to_string());
        let signed = format!(
            "{}.{}",
            part(json!({ "alg": "EdDSA", "kid": id })),
            part(json!({ "sub": "ada" }))
        );
        let signature = BASE64URL.encode(self.key.sign(signed.as_bytes()).unwrap());
        format!("Bearer {signed}.{signature}")
    }
}

/// Weir with `jwt-auth`, whose keys are at `id`.
fn guarded(web: &Upstream, id: &Upstream, more: &str) -> Weir {
    let configuration = format!(
        "{{ providers: {{ main: {{ remote_jwks: {{ url: 'http://id/keys', cluster: id, {more} }}, \
           claim_headers: [{{ header: x-user, claim: sub }}] }} }} }}"
    );
    let config = config(web, 1, &[("jwt-auth", &configuration)]);
    let cluster = format!(
        "clusters: [{{ name: id, endpoints: [\"{}\"] }}, ",
        id.address
    );
    Weir::start(&config.replace("clusters: [", &cluster))
}

#[test]
fn new_keys_are_fetched_when_a_token_names_one() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let served = Arc::new(Mutex::new(old.keys()));
    let current = Arc::clone(&served);
    let id = Upstream::start(move |_| Answer::ok(&*current.lock().unwrap()));
    let web = Upstream::echo();
    let weir = guarded(&web, &id, "pause_s: 1");
    let mut client = weir.connect();
    let mut ask = |issuer: &Issuer| {
        let bearer = issuer.bearer(issuer.id);
        client.get_with("/", &[("authorization", &bearer)])
    };
    let response = ask(&old);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.text().contains("x-user: ada\n"));
    assert!(!response.text().contains("authorization"));
    assert_eq!(ask(&new).status, 401);

    *served.lock().unwrap() = new.keys();
    eventually("the new key", || (ask(&new).status == 200).then_some(()));
    assert_eq!(ask(&old).status, 401);
}

#[test]
fn invented_keys_cost_one_fetch_in_a_pause() {
    let issuer = Issuer::new("real");
    let keys = issuer.keys();
    let id = Upstream::start(move |_| Answer::ok(&keys));
    let web = Upstream::echo();
    let weir = guarded(&web, &id, "pause_s: 3600, prefetch: true");
    eventually("keys are there before a request", || {
        (id.requests().len() == 1).then_some(())
    });
    let mut client = weir.connect();
    for number in 0..50 {
        let bearer = issuer.bearer(&number.to_string());
        let response = client.get_with("/", &[("authorization", &bearer)]);
        assert_eq!(response.status, 401);
        let words = "Jwks doesn't have key to match kid or alg from Jwt";
        assert_eq!(response.text(), words);
    }
    let bearer = issuer.bearer("real");
    let response = client.get_with("/", &[("authorization", &bearer)]);
    assert_eq!(response.status, 200);
    assert_eq!(id.requests().len(), 1);
}

#[test]
fn requests_that_wait_for_keys_share_a_fetch_that_outlives_them() {
    let issuer = Issuer::new("key");
    let keys = issuer.keys();
    let asked = Arc::new(Barrier::new(2));
    let barrier = Arc::clone(&asked);
    let id = Upstream::start(move |_| {
        barrier.wait();
        barrier.wait();
        Answer::ok(&keys)
    });
    let web = Upstream::echo();
    let weir = guarded(&web, &id, "timeout_ms: 20000");
    let contexts = || weir.metric("weir_wasm_contexts_active");
    let before = contexts();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nauthorization: {}\r\n\r\n",
        issuer.bearer("key")
    );
    let mut clients = [(); 3].map(|()| weir.connect());
    clients[0].send(&head);
    asked.wait();
    for client in &mut clients[1..] {
        client.send(&head);
    }
    eventually("three wait", || (contexts() == before + 3).then_some(()));
    let [first, rest @ ..] = clients;
    drop(first);
    eventually("one is gone", || (contexts() == before + 2).then_some(()));
    asked.wait();
    for mut client in rest {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(id.requests().len(), 1);
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn a_bucket_of_each_worker_lets_its_burst_through() {
    let upstream = Upstream::echo();
    let limit = "{ limit: 1, window_ms: 3600000, burst: 3, scope: worker, headers: x-ratelimit }";
    let weir = Weir::start(&config(&upstream, 1, &[("rate-limit", limit)]));
    let mut client = weir.connect();
    for left in ["2", "1", "0"] {
        let response = client.get("/");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-ratelimit-limit"), Some("3"));
        assert_eq!(response.header("x-ratelimit-remaining"), Some(left));
    }
    let refused = client.get("/");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&seconds), "{seconds}");
    assert_eq!(weir.metric("rate_limit_ok"), 3);
    assert_eq!(weir.metric("rate_limit_limited"), 1);
}

/// Weir with `ai-gateway` of one provider, whose clients may spend ten tokens.
fn gateway(upstream: &Upstream) -> Weir {
    let configuration = "{ providers: [{ name: web, models: [small], aliases: { small: tiny } }], \
         budget: { tokens: 10, window_s: 4102444800, by: [{ header: x-client }] } }";
    let config = config(upstream, 2, &[("ai-gateway", configuration)]);
    let config = config
        .replace(
            "wasm:\n",
            "wasm:\n      allow_on_headers_stop_iteration: true\n",
        )
        .replace("cluster: web }", "cluster_header: x-ai-provider }");
    Weir::start(&config)
}

#[test]
fn tokens_of_answers_and_streams_are_charged_to_a_client() {
    const STREAM: &str = "data: {\"choices\": []}\n\n\
         data: {\"usage\": {\"prompt_tokens\": 4, \"completion_tokens\": 3}}\n\n\
         data: [DONE]\n\n";
    let upstream = Upstream::start(|request| match request.path.as_str() {
        "/v1/chat/completions" => {
            Answer::with_headers("content-type: text/event-stream\r\n", STREAM)
        }
        _ => json(r#"{"usage": {"input_tokens": 2, "output_tokens": 1}}"#),
    });
    let weir = gateway(&upstream);
    let ask = |client: &str, path: &str| {
        let headers = [("x-client", client), ("content-type", "application/json")];
        let body = br#"{"model": "small", "stream": true}"#;
        weir.connect().request("POST", path, &headers, body)
    };
    let answered = ask("ada", "/v1/messages");
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert_eq!(ask("ada", "/v1/chat/completions").text(), STREAM);
    // A client may have a response before its end is seen, and charged.
    weir.eventually_metric("ai_gateway_web_completion_tokens", 4);
    let refused = ask("ada", "/v1/messages");
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.text().contains("insufficient_quota"));
    assert_eq!(ask("bob", "/v1/messages").status, 200);

    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    let body = |n: usize| String::from_utf8_lossy(&requests[n].body).into_owned();
    assert_eq!(body(0), r#"{"model":"tiny","stream":true}"#);
    assert!(body(1).contains(r#""include_usage":true"#));
    for (metric, value) in [
        ("ai_gateway_web_requests", 3),
        ("ai_gateway_web_prompt_tokens", 8),
        ("ai_gateway_web_completion_tokens", 5),
        ("ai_gateway_refused", 1),
        ("ai_gateway_unknown_usage", 0),
    ] {
        weir.eventually_metric(metric, value);
    }
}

#[test]
fn nobody_is_let_in_by_an_address_of_its_own_making() {
    let upstream = Upstream::echo();
    let start = |configuration: &str| {
        let config = config(&upstream, 1, &[("ip-allow", configuration)]);
        let http = "http: { use_remote_address: true }\n  http_filters";
        Weir::start(&config.replacen("http_filters", http, 1))
    };
    let ask = |weir: &Weir, forwarded: &[u8]| {
        let mut client = weir.connect();
        let head = b"GET / HTTP/1.1\r\nhost: h\r\nx-forwarded-for: ";
        client.send([head, forwarded, b"\r\n\r\n"].concat());
        client.response().status
    };
    let strangers = start("{ deny: [127.0.0.0/8], http: {} }");
    assert_eq!(ask(&strangers, b"8.8.8.8"), 403);
    let behind = "{ deny: [203.0.113.0/24], http: { trusted_proxies: [127.0.0.0/8] } }";
    let behind = start(behind);
    assert_eq!(ask(&behind, b"198.51.100.1"), 200);
    for forwarded in [
        &b"203.0.113.9"[..],
        b"8.8.8.8, 203.0.113.9",
        b"\xff, 203.0.113.9",
        b"\xff",
    ] {
        assert_eq!(ask(&behind, forwarded), 403, "{forwarded:?}");
    }
}
