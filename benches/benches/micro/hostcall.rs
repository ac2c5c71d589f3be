//! Each hostcall that needs no proxy: a guest calls the host as often as the size of the
//! body at hand says. Subtract the empty loop.

use std::time::Instant;

use bytes::Bytes;
use criterion::Criterion;
use weir_abi::Direction;
use weir_benches::guest;
use weir_benches::rig::Rig;

/// What a guest does once, and again and again. A status other than 0 is a trap.
struct Call {
    name: &'static str,
    once: &'static str,
    body: &'static str,
}

const fn call(name: &'static str, body: &'static str) -> Call {
    Call {
        name,
        once: "",
        body,
    }
}

/// The hostcalls that are used, and strings for them. What comes back goes to 4 and 8.
const ITEMS: &str = r#"
    (import "env" "proxy_get_header_map_value"
      (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value"
      (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_replace_header_map_value"
      (func $replace (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
    (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_log_level" (func $log_level (param i32) (result i32)))
    (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_bytes"
      (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_buffer_status" (func $buffer_status (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_buffer_bytes"
      (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_define_metric" (func $metric (param i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
    (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
    (import "env" "proxy_get_metric" (func $get_metric (param i32 i32) (result i32)))
    (import "env" "proxy_get_shared_data"
      (func $shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_set_shared_data"
      (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_register_shared_queue" (func $queue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
    (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
    (import "env" "proxy_clear_route_cache" (func $clear_route (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
      (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (data (i32.const 16) "user-agent")
    (data (i32.const 32) "x-bench")
    (data (i32.const 48) "plugin_name")"#;

const SHARED: &str = "(call $checked (call $set_shared (i32.const 32) (i32.const 7)
    (i32.const 16) (i32.const 10) (i32.const 0)))";
const METRIC: &str = "(call $checked (call $metric (i32.const 0)
    (i32.const 32) (i32.const 7) (i32.const 12)))";

const CALLS: [Call; 24] = [
    call("empty_loop", ""),
    call(
        "get_current_time_nanoseconds",
        "(call $checked (call $time (i32.const 8)))",
    ),
    call(
        "clock_time_get",
        "(call $checked (call $clock (i32.const 0) (i64.const 0) (i32.const 8)))",
    ),
    call(
        "random_get",
        "(call $checked (call $random (i32.const 128) (i32.const 16)))",
    ),
    call(
        "log_below_level",
        "(call $checked (call $log (i32.const 0) (i32.const 16) (i32.const 10)))",
    ),
    call(
        "log",
        "(call $checked (call $log (i32.const 2) (i32.const 16) (i32.const 10)))",
    ),
    call(
        "get_log_level",
        "(call $checked (call $log_level (i32.const 8)))",
    ),
    call(
        "get_status",
        "(call $checked (call $status (i32.const 4) (i32.const 8) (i32.const 12)))",
    ),
    call(
        "get_header_map_value",
        "(call $checked (call $get (i32.const 2)
        (i32.const 64) (i32.const 6) (i32.const 4) (i32.const 8)))",
    ),
    call(
        "get_header_map_size",
        "(call $checked (call $map_size (i32.const 2) (i32.const 8)))",
    ),
    call(
        "get_header_map_pairs",
        "(call $checked (call $pairs (i32.const 2) (i32.const 4) (i32.const 8)))",
    ),
    Call {
        name: "set_header_map_pairs",
        once: "(call $checked (call $pairs (i32.const 2) (i32.const 4) (i32.const 8)))",
        body: "(call $checked (call $set_pairs (i32.const 2)
            (i32.load (i32.const 4)) (i32.load (i32.const 8))))",
    },
    call(
        "add_and_remove_header_map_value",
        "(call $checked (call $add (i32.const 2)
        (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10)))
        (call $checked (call $remove (i32.const 2) (i32.const 32) (i32.const 7)))",
    ),
    call(
        "replace_header_map_value",
        "(call $checked (call $replace (i32.const 2)
        (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10)))",
    ),
    call(
        "get_buffer_status",
        "(call $checked (call $buffer_status (i32.const 1)
        (i32.const 4) (i32.const 8)))",
    ),
    call(
        "get_buffer_bytes",
        "(call $checked (call $buffer (i32.const 1)
        (i32.const 0) (i32.const 4096) (i32.const 4) (i32.const 8)))",
    ),
    call(
        "set_buffer_bytes",
        "(call $checked (call $set_buffer (i32.const 1)
        (i32.const 0) (i32.const 4096) (i32.const 65536) (i32.const 4096)))",
    ),
    call(
        "get_property",
        "(call $checked (call $property
        (i32.const 48) (i32.const 11) (i32.const 4) (i32.const 8)))",
    ),
    call(
        "set_property",
        "(call $checked (call $set_property
        (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10)))",
    ),
    Call {
        name: "increment_metric",
        once: METRIC,
        body: "(call $checked (call $increment (i32.load (i32.const 12)) (i64.const 1)))",
    },
    Call {
        name: "get_metric",
        once: METRIC,
        body: "(call $checked (call $get_metric (i32.load (i32.const 12)) (i32.const 128)))",
    },
    Call {
        name: "get_shared_data",
        once: SHARED,
        body: "(call $checked (call $shared (i32.const 32) (i32.const 7)
            (i32.const 4) (i32.const 8) (i32.const 12)))",
    },
    call("set_shared_data", SHARED),
    Call {
        name: "enqueue_and_dequeue_shared_queue",
        once: "(call $checked (call $queue (i32.const 32) (i32.const 7) (i32.const 12)))",
        body: "(call $checked (call $enqueue (i32.load (i32.const 12))
            (i32.const 16) (i32.const 10)))
            (call $checked (call $dequeue (i32.load (i32.const 12))
            (i32.const 4) (i32.const 8)))",
    },
];

/// Rounds of one call of the guest, which counts in 32 bit; so many that the
/// call itself does not show, and so few that it ends in time.
const LOOP_MAX: u64 = 50_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostcall");
    for Call { name, once, body } in CALLS {
        let rig = Rig::start(&guest::module(&looping(once, body)).unwrap(), "").unwrap();
        rig.stream.set_response_body(Bytes::from(vec![b'a'; 4096]));
        let stream = rig.create_stream().unwrap();
        // The guest holds the headers, so they stay visible.
        rig.vm.on_request_headers(stream, true).unwrap();
        rig.vm.on_response_headers(stream, false).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let mut left = times;
                let started = Instant::now();
                while left > 0 {
                    let now = left.min(LOOP_MAX);
                    left -= now;
                    let size = now as usize;
                    let status = rig.vm.on_body(stream, Direction::Response, size, false);
                    status.unwrap();
                }
                started.elapsed()
            });
        });
    }
}

/// A guest that does `once` at the response's headers, and `body` in a loop at its body.
fn looping(once: &str, body: &str) -> String {
    format!(
        r#"{ITEMS}
        (data (i32.const 64) "server")
        (func $checked (param i32) (if (local.get 0) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.const 0))
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          {once}
          (i32.const 1))
        (func (export "proxy_on_response_body") (param i32) (param $times i32) (param i32)
          (result i32)
          (loop $again
            {body}
            (local.set $times (i32.sub (local.get $times) (i32.const 1)))
            (br_if $again (local.get $times)))
          (i32.const 0))"#
    )
}
