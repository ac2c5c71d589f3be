//! Filters that loop, leak, trap and lie, and requests that must not notice.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::time::{Duration, Instant};

use weir_conformance::guests::CHAOS;
use weir_conformance::{Upstream, Weir, eventually};

/// A gateway with the chaotic filter, which `wasm` says more of.
fn start(upstream: &Upstream, wasm: &str) -> Weir {
    Weir::start_guest(upstream, wasm, CHAOS)
}

fn failures(weir: &Weir, reason: &str) -> u64 {
    weir.metric_of(
        "weir_wasm_vm_failures_total",
        &format!("reason=\"{reason}\""),
    )
}

#[test]
fn what_never_ends_is_ended_and_the_next_request_is_served() {
    let upstream = Upstream::echo();
    for deadline in ["watchdog", "counter"] {
        let limits = format!("limits: {{ callback: 20ms, deadline: {deadline} }}");
        let weir = start(&upstream, &limits);
        let mut client = weir.connect();
        for (round, what) in (1..).zip(["loop", "hostcalls", "fill", "loop"]) {
            let began = Instant::now();
            let answer = client.get_with("/", &[("x-chaos", what)]);
            let took = began.elapsed();
            assert_eq!(answer.status, 503, "{what}");
            assert!(took >= Duration::from_millis(20), "{what}: {took:?}");
            assert!(took < Duration::from_secs(2), "{what}: {took:?}");
            assert_eq!(failures(&weir, "deadline"), round, "{what}");
            assert!(client.get("/").text().contains("x-streams: 1\n"), "{what}");
        }
        let log = weir.log();
        assert!(log.contains("ran for longer than 20ms"), "{log}");
    }
}

#[test]
fn each_way_to_fail_is_told_apart() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "limits: { memory: 4MiB, callback: 1s }");
    let mut client = weir.connect();
    for (what, reason) in [
        ("trap", "trap"),
        ("wild", "trap"),
        ("recurse", "stack"),
        ("bomb", "memory"),
    ] {
        let before = failures(&weir, reason);
        assert_eq!(client.get_with("/", &[("x-chaos", what)]).status, 503);
        assert_eq!(failures(&weir, reason), before + 1, "{what}");
        assert!(client.get("/").text().contains("x-streams: 1\n"), "{what}");
    }
}

#[test]
fn a_policy_can_be_for_one_cause() {
    let upstream = Upstream::echo();
    let policies = "failure_policy: FAIL_CLOSED, \
                    failure_policies: { on_deadline: FAIL_OPEN, on_trap: FAIL_RELOAD }, \
                    reload_config: { backoff: { base_interval: 0.001s } }, \
                    limits: { callback: 10ms, memory: 4MiB }";
    let weir = start(&upstream, policies);
    let mut client = weir.connect();
    assert_eq!(client.get_with("/", &[("x-chaos", "trap")]).status, 503);
    eventually("a filter that was started again", || {
        (client.get("/").status == 200).then_some(())
    });
    assert_eq!(client.get_with("/", &[("x-chaos", "loop")]).status, 503);
    let without = client.get("/");
    assert_eq!(without.status, 200);
    assert!(!without.text().contains("x-streams"));

    let weir = start(&upstream, policies);
    let mut client = weir.connect();
    assert_eq!(client.get_with("/", &[("x-chaos", "bomb")]).status, 503);
    assert_eq!(client.get("/").status, 503);
}

#[test]
fn a_filter_that_does_not_start_can_be_gone_without() {
    let refuses = r#"(module
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0)))"#;
    let upstream = Upstream::echo();
    let weir = Weir::start_guest(
        &upstream,
        "failure_policies: { on_configure: FAIL_OPEN }",
        refuses,
    );
    assert_eq!(weir.connect().get("/").status, 200);
    assert!(
        weir.log()
            .contains("the filter does not start, which its policy allows")
    );
    let weir = Weir::start_guest(
        &upstream,
        "failure_policies: { on_configure: FAIL_CLOSED }",
        refuses,
    );
    assert_eq!(weir.connect().get("/").status, 503);
}

#[test]
fn with_isolation_of_streams_no_instance_sees_two() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "isolation: stream, limits: { callback: 20ms }");
    let mut clients: Vec<_> = (0..5).map(|_| weir.connect()).collect();
    for round in 0..40 {
        for client in &mut clients {
            let text = client.get("/").text();
            assert!(text.contains("x-streams: 1\n"), "{round}: {text}");
        }
        // One that fails costs its own stream and no other.
        if round % 10 == 0 {
            let what = [("x-chaos", "loop")];
            assert_eq!(clients[0].get_with("/", &what).status, 503);
        }
    }
    let starts = weir.metric("weir_wasm_vm_starts_total");
    assert!(starts < 40, "instances are used again: {starts}");
    assert_eq!(weir.metric("weir_wasm_vm_crash_loop"), 0);
}

#[test]
fn with_isolation_of_streams_what_was_kept_is_forgotten() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "isolation: stream, limits: { memory: 256KiB }");
    let mut client = weir.connect();
    for _ in 0..1000 {
        assert_eq!(client.get_with("/", &[("x-chaos", "keep")]).status, 200);
    }
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn a_filter_that_always_fails_alone_is_a_crash_loop_too() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "isolation: stream");
    let mut client = weir.connect();
    for _ in 0..50 {
        assert_eq!(client.get_with("/", &[("x-chaos", "trap")]).status, 503);
    }
    let failures = weir.metric("weir_wasm_vm_failures_total");
    assert!((5..15).contains(&failures), "{failures}");
    assert_eq!(weir.metric("weir_wasm_vm_crash_loop"), 1);
    eventually("a VM that serves", || {
        (client.get("/").status == 200).then_some(())
    });
    eventually("the end of the crash loop", || {
        client.get("/");
        (weir.metric("weir_wasm_vm_crash_loop") == 0).then_some(())
    });
}

#[test]
fn lines_beyond_a_limit_are_counted_and_not_written() {
    let upstream = Upstream::echo();
    let limits = "limits: { log_lines: 30, log_line_bytes: 10B }";
    let weir = start(&upstream, limits);
    let mut client = weir.connect();
    for _ in 0..3 {
        assert_eq!(client.get_with("/", &[("x-chaos", "log")]).status, 200);
    }
    let log = eventually("the warning", || {
        let log = weir.log();
        log.contains("reached its limit `log_lines`").then_some(log)
    });
    let lines = log.matches("a line of ").count();
    // The second may have ended meanwhile.
    assert!((30..=90).contains(&lines), "{lines}");
    assert!(!log.contains("a line of the"));
    let reached = |limit: &str| {
        weir.metric_of(
            "weir_wasm_limit_reached_total",
            &format!("limit=\"{limit}\""),
        )
    };
    assert_eq!(reached("log_lines") + lines as u64, 300);
    assert_eq!(reached("log_line_bytes"), 300);
}

#[test]
fn a_module_that_wants_too_much_memory_is_refused_with_both_figures() {
    let upstream = Upstream::echo();
    let config = format!(
        "listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:\n  \
           - name: chaos\n    \
             wasm: {{ limits: {{ memory: 64KiB }}, vm_config: {{ code: {{ local: {{ filename: chaos.wasm }} }} }} }}\n  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    );
    let module = wat::parse_str(CHAOS).unwrap();
    let (ok, output) = weir_conformance::check(&config, |folder| {
        std::fs::write(folder.join("chaos.wasm"), &module).unwrap();
    });
    assert!(!ok);
    assert!(
        output.contains("131072 bytes of memory; it may have 65536"),
        "{output}"
    );
}
