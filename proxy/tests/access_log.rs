//! Access logs in formats of their own.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::{Upstream, Weir, check, eventually};

fn weir(upstream: &Upstream, access_log: &str) -> Weir {
    Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n{access_log}\n  \
         routes: [{{ name: all, match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: ['{}'] }}]\n",
        upstream.address
    ))
}

fn first_line(weir: &Weir) -> String {
    eventually("the request is logged", || {
        let log = weir.stdout();
        log.split_once('\n').map(|(line, _)| line.to_owned())
    })
}

#[test]
fn a_text_has_its_operators_replaced() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  access_log:\n    path: stdout\n    format: \"%REQ(:METHOD)% %REQ(x-none?:path)% \
         %REQ_WITHOUT_QUERY(:path)% %REQ(user-agent)% %REQ(host):2% %PROTOCOL% %RESPONSE_CODE% \
         %RESPONSE_FLAGS% %BYTES_RECEIVED% %RESP(content-length)% %TRAILER(x)% %UPSTREAM_HOST% \
         %UPSTREAM_CLUSTER% %ROUTE_NAME% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %%\\n\"",
    );
    weir.connect().request("POST", "/a?b", &[], b"12345");
    let upstream = upstream.address;
    let line = first_line(&weir);
    let (start, end) = line.split_once(" - 5 ").unwrap();
    assert_eq!(start, "POST /a?b /a - te HTTP/1.1 200");
    let (length, end) = end.split_once(' ').unwrap();
    assert!(length.parse::<u32>().unwrap() > 50, "{line}");
    assert_eq!(end, format!("- {upstream} web all 127.0.0.1 %"));
}

#[test]
fn json_keeps_order_and_types() {
    let upstream = Upstream::echo();
    let weir = weir(
        &upstream,
        "  access_log:\n  - path: stdout\n    format:\n      z: '%RESPONSE_CODE%'\n      \
         a: { none: '%REQ(x-none)%', both: '%REQ(:method)% %RESPONSE_CODE%' }\n      \
         q: '%REQ(x-q)%'\n  - path: stderr\n    format: \"second %RESPONSE_CODE%\\n\"",
    );
    weir.connect().get_with("/", &[("x-q", "\"\\")]);
    assert_eq!(
        first_line(&weir),
        r#"{"z":200,"a":{"none":null,"both":"GET 200"},"q":"\"\\"}"#
    );
    eventually("both logs are written", || {
        weir.log().contains("second 200\n").then_some(())
    });
}

#[test]
fn an_operator_that_is_not_supported_is_named_with_its_place() {
    let (passed, told) = check(
        "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  \
         access_log: { path: stdout, format: \"%RESPONSE_COD%\" }\n",
        |_| {},
    );
    assert!(!passed);
    assert_eq!(
        told,
        "error: weir.yaml:4:39: the operator `%RESPONSE_COD%` is not supported\n  \
         4 |   access_log: { path: stdout, format: \"%RESPONSE_COD%\" }\n    \
         |                                       ^^^^^^^^^^^^^^^^\n\
         help: did you mean `%RESPONSE_CODE%`?\n"
    );
}

/// Logs the path of every stream, by the number of the context it is called
/// for, and every other callback that a stream could bring.
const LOGGER: &str = r#"(module
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_value"
        (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) ":path")
    (data (i32.const 16) "context   ")
    (data (i32.const 32) "unexpected")
    (global $free (mut i32) (i32.const 1024))
    (func (export "proxy_abi_version_0_2_1"))
    (func (export "malloc") (param i32) (result i32)
        (global.get $free)
        (global.set $free (i32.add (global.get $free) (local.get 0))))
    (func (export "proxy_on_context_create") (param i32 i32)
        (if (local.get 1)
            (then (drop (call $log (i32.const 2) (i32.const 32) (i32.const 10))))))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $log (i32.const 2) (i32.const 32) (i32.const 10)))
        (i32.const 0))
    (func (export "proxy_on_log") (param i32)
        (i32.store8 (i32.const 24) (i32.add (i32.const 48) (local.get 0)))
        (drop (call $log (i32.const 2) (i32.const 16) (i32.const 10)))
        (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 48) (i32.const 52)))
        (drop (call $log (i32.const 2) (i32.load (i32.const 48)) (i32.load (i32.const 52))))))"#;

#[test]
fn a_filter_can_log_streams_without_seeing_them() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    let module = folder.path().join("logger.wasm");
    std::fs::write(&module, wat::parse_str(LOGGER).unwrap()).unwrap();
    let weir = weir(
        &upstream,
        &format!(
            "  access_loggers:\n  - name: logger\n    \
             wasm: {{ vm_config: {{ code: {{ local: {{ filename: '{}' }} }} }} }}",
            module.display()
        ),
    );
    assert_eq!(weir.connect().get("/to-be-logged?q").status, 200);
    let log = eventually("the stream is logged", || {
        let log = weir.log();
        log.contains("/to-be-logged?q").then_some(log)
    });
    assert!(log.contains("context 1"), "{log}");
    assert!(!log.contains("unexpected"), "{log}");
}

#[test]
fn its_own_log_can_be_lines_of_json() {
    let config = "admin: { address: 127.0.0.1:0 }\nlisteners:\n\
        - { name: edge, address: 127.0.0.1:0 }\n";
    let weir = Weir::start_args(config, &["--log-format", "json"], |_| {});
    let log = weir.log();
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.map(Result::unwrap).collect();
    let listening = lines.iter().find(|l| l["message"] == "listening").unwrap();
    assert_eq!(listening["listener"], "edge");
    assert_eq!(listening["level"], "INFO");
    assert!(listening["workers"].is_u64(), "{listening}");
    assert!(listening["timestamp"].as_str().unwrap().ends_with('Z'));
}
