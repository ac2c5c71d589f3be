//! What comes after a failure: spares, crash loops, reports.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::time::Duration;

use weir_conformance::{Upstream, Weir, eventually};

/// Traps on requests with `x-trap`, after an error in the log; marks all others,
/// and takes a MiB for good for those with `x-leak`.
const GUEST: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "x-trap")
  (data (i32.const 32) "x-marked")
  (data (i32.const 48) "these are the last words")
  (data (i32.const 80) "x-leak")
  (global $heap (mut i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $n i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.and
      (i32.add (i32.add (global.get $heap) (local.get $n)) (i32.const 7))
      (i32.const 0xfff8))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 6)
                            (i32.const 0) (i32.const 4)))
      (then
        (drop (call $log (i32.const 5) (i32.const 48) (i32.const 24)))
        unreachable))
    (drop (call $add (i32.const 0) (i32.const 32) (i32.const 8)
                     (i32.const 16) (i32.const 6)))
    (if (i32.eqz (call $get (i32.const 0) (i32.const 80) (i32.const 6)
                            (i32.const 0) (i32.const 4)))
      (then (drop (memory.grow (i32.const 16)))))
    (i32.const 0)))"#;

fn start(upstream: &Upstream, wasm: &str) -> Weir {
    Weir::start_guest(upstream, wasm, GUEST)
}

const TRAP: &[(&str, &str)] = &[("x-trap", "1"), ("x-request-id", "the-request")];

#[test]
fn a_spare_stands_by_and_takes_over() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "root_id: r");
    let mut client = weir.connect();
    // The VM that serves, and the spare.
    weir.eventually_metric("weir_wasm_vm_starts_total", 2);
    for round in 1..=3 {
        assert_eq!(client.get("/").status, 200);
        assert_eq!(client.get_with("/", TRAP).status, 503);
        let next = client.get("/");
        assert!(next.text().contains("x-marked: x-trap\n"));
        assert_eq!(weir.metric("weir_wasm_vm_restarts_total"), round);
        weir.eventually_metric("weir_wasm_vm_starts_total", 2 + round);
    }
}

#[test]
fn without_a_spare_a_vm_starts_when_it_is_needed() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "spare: false");
    let mut client = weir.connect();
    assert_eq!(client.get_with("/", TRAP).status, 503);
    assert_eq!(weir.metric("weir_wasm_vm_starts_total"), 1);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(weir.metric("weir_wasm_vm_starts_total"), 2);
}

#[test]
fn a_crash_loop_is_not_started_again_and_again() {
    let upstream = Upstream::echo();
    let backoff = "reload_config: { backoff: { base_interval: 0.2s, max_interval: 0.4s } }";
    let weir = start(&upstream, backoff);
    let mut client = weir.connect();
    for _ in 0..50 {
        assert_eq!(client.get_with("/", TRAP).status, 503);
    }
    let failures = weir.metric("weir_wasm_vm_failures_total");
    assert!((5..15).contains(&failures), "{failures}");
    assert_eq!(weir.metric("weir_wasm_vm_crash_loop"), 1);
    assert!(weir.log().contains("fails again and again"));
    // In the loop, healthy requests get what the policy has for them.
    assert_eq!(client.get("/").status, 503);
    eventually("a VM that serves", || {
        (client.get("/").status == 200).then_some(())
    });
    weir.eventually_metric("weir_wasm_vm_crash_loop", 0);
    assert_eq!(client.get_with("/", TRAP).status, 503);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn traps_among_good_requests_are_no_crash_loop() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "root_id: r");
    let mut client = weir.connect();
    for _ in 0..30 {
        assert_eq!(client.get_with("/", TRAP).status, 503);
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(weir.metric("weir_wasm_vm_crash_loop"), 0);
}

#[test]
fn a_failure_is_told_with_its_words_its_request_and_its_worker() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "root_id: r");
    let mut client = weir.connect();
    assert_eq!(client.get_with("/", TRAP).status, 503);
    let log = eventually("the report", || {
        let log = weir.log();
        log.contains("filter failed").then_some(log)
    });
    let report: String = log
        .lines()
        .skip_while(|line| !line.contains("filter failed"))
        .take(3)
        .collect();
    for part in [
        "proxy_on_request_headers failed (trap): unreachable",
        "these are the last words",
        "worker=0",
        r#"request_id="the-request""#,
        r#"plugin="guest""#,
    ] {
        assert!(report.contains(part), "{part} in {log}");
    }
}

#[test]
fn a_flood_of_failures_is_counted_and_not_logged_one_by_one() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "root_id: r");
    let mut client = weir.connect();
    for _ in 0..40 {
        client.get_with("/", TRAP);
        client.get("/");
    }
    std::thread::sleep(Duration::from_millis(1100));
    client.get_with("/", TRAP);
    let log = eventually("what was not logged", || {
        let log = weir.log();
        log.contains("more failures of this VM").then_some(log)
    });
    let failures = weir.metric("weir_wasm_vm_failures_total");
    assert_eq!(failures, 41);
    assert!(log.matches("filter failed").count() < 41);
}

#[test]
fn a_vm_that_has_grown_too_large_is_replaced_and_its_memory_freed() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "limits: { recycle_above: 8MiB }");
    let mut client = weir.connect();
    for round in 1..=3 {
        for _ in 0..10 {
            let leaky = client.get_with("/", &[("x-leak", "1")]);
            assert!(leaky.text().contains("x-marked: x-trap\n"));
        }
        weir.eventually_metric("weir_wasm_vm_recycles_total", round);
        eventually("the memory of new VMs alone", || {
            (weir.metric("weir_wasm_vm_memory_bytes") < 1 << 20).then_some(())
        });
    }
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn a_vm_is_replaced_after_so_many_streams_and_nobody_notices() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "limits: { recycle_after: 20 }, spare: false");
    let mut clients: Vec<_> = (0..4).map(|_| weir.connect()).collect();
    eventually("three replacements", || {
        for client in &mut clients {
            let answer = client.get("/");
            assert_eq!(answer.status, 200);
            assert!(answer.text().contains("x-marked: x-trap\n"));
        }
        (weir.metric("weir_wasm_vm_recycles_total") >= 3).then_some(())
    });
}

#[test]
fn a_stream_ends_in_the_vm_in_which_it_began() {
    let (upstream, held) = Upstream::slow();
    let weir = start(&upstream, "limits: { recycle_after: 1 }");
    let mut slow = weir.connect();
    slow.send(b"GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    weir.eventually_metric("weir_wasm_vm_recycles_total", 1);
    held.release();
    assert_eq!(slow.response().status, 200);
}
