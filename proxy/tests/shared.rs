//! What filters share between requests, VMs and workers, on real traffic.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::thread;

use weir_conformance::{Upstream, Weir, eventually, filter};

/// A listener `edge` with filters of (name, lines of the `wasm` block).
fn config(upstream: &Upstream, workers: usize, filters: &[(&str, &str)]) -> String {
    let mut chain = String::new();
    for (name, wasm) in filters {
        let _ = write!(chain, "\n  - name: {name}\n    wasm: {wasm}");
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

fn module(name: &str) -> String {
    format!(
        "code: {{ local: {{ filename: {} }} }}",
        filter(name).display()
    )
}

/// Sends so many requests on each of so many connections, all at once; gives
/// their statuses.
fn storm(weir: &Weir, connections: usize, each: usize) -> Vec<u16> {
    let clients: Vec<_> = (0..connections)
        .map(|client| {
            let mut connection = weir.connect();
            thread::spawn(move || {
                let get = |n| connection.get(&format!("/{client}/{n}")).status;
                (0..each).map(get).collect::<Vec<_>>()
            })
        })
        .collect();
    clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect()
}

#[test]
fn exactly_the_limit_passes_over_two_workers() {
    const LIMIT: usize = 300;
    let upstream = Upstream::echo();
    // A window of decades: none ends during the test.
    let wasm = format!(
        "{{ vm_config: {{ vm_id: limit, {} }}, \
         configuration: {{ limit: {LIMIT}, window_ms: 1000000000000 }} }}",
        module("rate-limit")
    );
    let weir = Weir::start(&config(&upstream, 2, &[("rate-limit", &wasm)]));
    let statuses = storm(&weir, 32, 40);
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!(count(200), LIMIT);
    assert_eq!(count(429), 32 * 40 - LIMIT);
    assert_eq!(upstream.requests().len(), LIMIT);
    let refused = weir.connect().get("/");
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(weir.metric("weir_wasm_shared_data_entries"), 1);
    assert!(weir.metric("weir_wasm_shared_data_bytes") > 12);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn clients_that_a_header_tells_apart_have_a_limit_each() {
    let upstream = Upstream::echo();
    let wasm = format!(
        "{{ vm_config: {{ vm_id: limit, {} }}, \
         configuration: {{ limit: 2, window_ms: 1000000000000, by: {{ header: x-key }} }} }}",
        module("rate-limit")
    );
    let weir = Weir::start(&config(&upstream, 2, &[("rate-limit", &wasm)]));
    for key in ["a", "b"] {
        let statuses = [(); 4].map(|()| weir.connect().get_with("/", &[("x-key", key)]).status);
        assert_eq!(statuses, [200, 200, 429, 429], "{key}");
    }
}

#[test]
fn records_of_all_workers_come_to_one_receiver_once_each() {
    const CONNECTIONS: usize = 16;
    const EACH: usize = 20;
    let upstream = Upstream::echo();
    let wasm = |vm_id: &str, role: &str| {
        let module = module("audit");
        format!(
            "{{ vm_config: {{ vm_id: {vm_id}, {module} }}, configuration: {{ role: {role} }} }}"
        )
    };
    let receiver = ("receiver", &*wasm("audit", "receive"));
    let sender = ("sender", &*wasm("sender", "send"));
    let weir = Weir::start(&config(&upstream, 2, &[receiver, sender]));
    let statuses = storm(&weir, CONNECTIONS, EACH);
    assert!(statuses.iter().all(|status| *status == 200));
    let total = CONNECTIONS * EACH;
    eventually("all records", || {
        (weir.metric("audit_records") == total as u64).then_some(())
    });
    let log = weir.log();
    let records = log.lines().filter_map(|line| {
        let (_, record) = line.split_once("audit ")?;
        let (number, record) = record.split_once(' ')?;
        let number: usize = number.parse().ok()?;
        let (_, path) = record.split_once(r#""path":""#)?;
        Some((number, path.split_once('"')?.0.to_owned()))
    });
    let (numbers, paths): (BTreeSet<_>, BTreeSet<_>) = records.unzip();
    assert!(numbers.into_iter().eq(1..=total));
    assert_eq!(paths.len(), total);
    assert_eq!(weir.metric("weir_wasm_shared_queue_items"), 0);
}

/// A guest that does what the first letter of the path says, and answers with
/// the letter `A` plus the status of the hostcall. It registers the queue `q`;
/// when it is told of an item it takes one, counts the call in `ready`, and
/// traps if the item is `/t`.
const SCRIPTED: &str = r#"(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_shared_data"
    (func $get_data (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data"
    (func $set_data (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
  (import "env" "proxy_enqueue_shared_queue" (func $push (param i32 i32 i32) (result i32)))
  (import "env" "proxy_dequeue_shared_queue" (func $pop (param i32 i32 i32) (result i32)))
  (import "env" "proxy_define_metric" (func $metric (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 4096))
  (data (i32.const 64) ":path")
  (data (i32.const 80) "ready")
  (data (i32.const 96) "q")
  (func (export "proxy_abi_version_0_2_1"))
  ;; Blocks are used up at once: there are always the same 4 KiB for them.
  (func (export "malloc") (param i32) (result i32)
    (if (i32.gt_u (i32.add (global.get $heap) (local.get 0)) (i32.const 8192))
      (then (global.set $heap (i32.const 4096))))
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get 0))))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $metric (i32.const 0) (i32.const 80) (i32.const 5) (i32.const 32)))
    (i32.eqz (call $register (i32.const 96) (i32.const 1) (i32.const 36))))
  (func (export "proxy_on_queue_ready") (param i32 i32)
    (if (i32.ne (local.get 1) (i32.load (i32.const 36))) (then unreachable))
    (if (call $pop (local.get 1) (i32.const 0) (i32.const 4)) (then unreachable))
    (drop (call $increment (i32.load (i32.const 32)) (i64.const 1)))
    (if (i32.eq (i32.load8_u offset=1 (i32.load (i32.const 0))) (i32.const 116))
      (then unreachable)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local $path i32) (local $length i32) (local $what i32) (local $status i32)
    (drop (call $get (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 0) (i32.const 4)))
    (local.set $path (i32.load (i32.const 0)))
    (local.set $length (i32.load (i32.const 4)))
    (local.set $what (i32.load8_u offset=1 (local.get $path)))
    ;; x: trap
    (if (i32.eq (local.get $what) (i32.const 120)) (then unreachable))
    ;; g: get the key of the path from its third byte on
    (if (i32.eq (local.get $what) (i32.const 103))
      (then (local.set $status (call $get_data
        (i32.add (local.get $path) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2))
        (i32.const 0) (i32.const 4) (i32.const 8)))))
    ;; s: set it
    (if (i32.eq (local.get $what) (i32.const 115))
      (then (local.set $status (call $set_data
        (i32.add (local.get $path) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2))
        (i32.const 96) (i32.const 1) (i32.const 0)))))
    ;; p, t: push the path
    (if (i32.or (i32.eq (local.get $what) (i32.const 112))
                (i32.eq (local.get $what) (i32.const 116)))
      (then (local.set $status (call $push
        (i32.load (i32.const 36)) (local.get $path) (local.get $length)))))
    (i32.store8 (i32.const 40) (i32.add (local.get $status) (i32.const 65)))
    (drop (call $reply (i32.const 200) (i32.const 0) (i32.const 0)
      (i32.const 40) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))"#;

/// Statuses as the guest tells them.
const OK: &str = "A";
const NOT_FOUND: &str = "B";
const INTERNAL_FAILURE: &str = "K";

fn scripted(workers: usize, more: &str) -> (Upstream, Weir) {
    let upstream = Upstream::echo();
    let wasm =
        format!("{{ vm_config: {{ vm_id: v, code: {{ local: {{ filename: s.wasm }} }} }}{more} }}");
    let config = config(&upstream, workers, &[("scripted", &wasm)]);
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("s.wasm"), wat::parse_str(SCRIPTED).unwrap()).unwrap();
    });
    (upstream, weir)
}

fn ready(weir: &Weir, calls: u64) {
    eventually("the calls", || {
        (weir.metric("ready") == calls).then_some(())
    });
}

#[test]
fn data_outlives_the_vm_that_set_it() {
    let (_upstream, weir) = scripted(1, "");
    let mut client = weir.connect();
    assert_eq!(client.get("/gk").text(), NOT_FOUND);
    assert_eq!(client.get("/sk").text(), OK);
    assert_eq!(client.get("/x").status, 503);
    assert_eq!(client.get("/gk").text(), OK);
    assert_eq!(weir.metric("weir_wasm_vm_restarts_total"), 1);
}

#[test]
fn what_one_worker_sets_the_other_reads() {
    let (_upstream, weir) = scripted(2, "");
    assert_eq!(weir.connect().get("/sk").text(), OK);
    for _ in 0..16 {
        assert_eq!(weir.connect().get("/gk").text(), OK);
    }
}

#[test]
fn a_call_comes_for_each_item_from_whichever_worker() {
    const EACH: usize = 50;
    let (_upstream, weir) = scripted(2, "");
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut connection = weir.connect();
            thread::spawn(move || {
                for _ in 0..EACH {
                    assert_eq!(connection.get("/p").text(), OK);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|c| c.join().unwrap());
    ready(&weir, 16 * EACH as u64);
    assert_eq!(weir.metric("weir_wasm_shared_queue_items"), 0);
    assert_eq!(weir.metric("weir_wasm_shared_queues"), 1);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}

#[test]
fn a_vm_that_starts_again_consumes_again() {
    let (_upstream, weir) = scripted(1, "");
    let mut client = weir.connect();
    for round in 1..=3 {
        assert_eq!(client.get("/t").text(), OK);
        let failed = || (weir.metric("weir_wasm_vm_failures_total") == round).then_some(());
        eventually("the trap", failed);
        assert_eq!(client.get("/p").text(), OK);
        ready(&weir, 2 * round);
    }
}

#[test]
fn what_is_put_in_a_queue_at_the_start_is_told_of() {
    let upstream = Upstream::echo();
    let script = "configure: queue_register q ; queue_push last item\\n\
                  queue_ready: queue_resolve - q ; queue_pop last";
    let wasm = format!(
        "{{ vm_config: {{ vm_id: v, {} }}, configuration: \"{script}\" }}",
        module("probe")
    );
    let weir = Weir::start(&config(&upstream, 1, &[("probe", &wasm)]));
    // One is of the VM that was tried out, one of that which serves.
    eventually("both items are taken", || {
        let taken = weir.log().matches("queue_pop last = ok").count();
        (taken >= 2).then_some(())
    });
    weir.eventually_metric("weir_wasm_shared_queue_items", 0);
}

#[test]
fn when_a_consumer_fails_another_worker_takes_over() {
    let (_upstream, weir) = scripted(2, "");
    assert_eq!(weir.connect().get("/t").text(), OK);
    eventually("the trap", || {
        (weir.metric("weir_wasm_vm_failures_total") == 1).then_some(())
    });
    // Whether or not the failed one has started again by one of these.
    for _ in 0..8 {
        assert_eq!(weir.connect().get("/p").text(), OK);
    }
    ready(&weir, 9);
}

#[test]
fn what_does_not_fit_is_refused_counted_and_told() {
    let limits = ", limits: { shared_data: { entries: 2 }, shared_queues: { bytes: 10 } }";
    let (_upstream, weir) = scripted(1, limits);
    let mut client = weir.connect();
    assert_eq!(client.get("/sa").text(), OK);
    assert_eq!(client.get("/sb").text(), OK);
    assert_eq!(client.get("/sc").text(), INTERNAL_FAILURE);
    assert_eq!(client.get("/sd").text(), INTERNAL_FAILURE);
    assert_eq!(client.get("/sa").text(), OK);
    assert_eq!(client.get("/p1234567890").text(), INTERNAL_FAILURE);
    assert_eq!(weir.metric("weir_wasm_shared_data_entries"), 2);
    assert_eq!(weir.metric("weir_wasm_shared_data_refused_total"), 2);
    assert_eq!(weir.metric("weir_wasm_shared_queue_refused_total"), 1);
    let log = weir.log();
    let warning = "has reached its limit `shared_data`";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    assert!(log.contains(r#"vm_id="v""#));
}

#[test]
fn what_was_not_used_for_the_longest_time_makes_room() {
    let limits = ", limits: { shared_data: { entries: 2, eviction: lru } }";
    let (_upstream, weir) = scripted(1, limits);
    let mut client = weir.connect();
    for path in ["/sa", "/sb", "/ga", "/sc", "/ga", "/gc"] {
        assert_eq!(client.get(path).text(), OK, "{path}");
    }
    assert_eq!(client.get("/gb").text(), NOT_FOUND);
    assert_eq!(weir.metric("weir_wasm_shared_data_evicted_total"), 1);
}

#[test]
fn a_filter_gets_only_what_it_is_allowed() {
    let names = "proxy_on_configure: {}, proxy_on_request_headers: {}, \
                 proxy_get_header_map_value: {}, proxy_send_local_response: {}, \
                 proxy_register_shared_queue: {}, proxy_enqueue_shared_queue: {}";
    let restriction =
        format!(", capability_restriction_config: {{ allowed_capabilities: {{ {names} }} }}");
    let (_upstream, weir) = scripted(1, &restriction);
    let mut client = weir.connect();
    assert_eq!(client.get("/sk").text(), INTERNAL_FAILURE);
    assert_eq!(client.get("/p").text(), OK);
    let log = weir.log();
    let denied = "the filter called `proxy_set_shared_data`, which its \
                  `capability_restriction_config` does not allow";
    let line = log.lines().find(|line| line.contains(denied)).unwrap();
    assert!(
        line.contains("ERROR") && line.contains("scripted"),
        "{line}"
    );
    // Nobody is told of the item.
    assert_eq!(weir.metric("weir_wasm_shared_queue_items"), 1);
}
