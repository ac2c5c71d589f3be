//! One hostcall: a guest calls the host as often as the size of the body at hand
//! says. Subtract the empty loop.

use std::time::Instant;

use criterion::Criterion;
use weir_abi::Direction;

use crate::guest;
use crate::rig::Rig;

/// The hostcalls that are used, and a header's name and value for them.
const ITEMS: &str = r#"
    (import "env" "proxy_get_header_map_value"
      (func $get (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_get_header_map_pairs"
      (func $pairs (param i32 i32 i32) (result i32)))
    (import "env" "proxy_add_header_map_value"
      (func $add (param i32 i32 i32 i32 i32) (result i32)))
    (import "env" "proxy_remove_header_map_value"
      (func $remove (param i32 i32 i32) (result i32)))
    (import "env" "proxy_get_current_time_nanoseconds"
      (func $time (param i32) (result i32)))
    (data (i32.const 16) "user-agent")
    (data (i32.const 32) "x-bench")"#;

const EMPTY: &str = "";
const GET: &str = "(call $checked (call $get (i32.const 0)
    (i32.const 16) (i32.const 10) (i32.const 0) (i32.const 4)))";
const PAIRS: &str = "(call $checked (call $pairs (i32.const 0) (i32.const 0) (i32.const 4)))";
const ADD_REMOVE: &str = "(call $checked (call $add (i32.const 0)
    (i32.const 32) (i32.const 7) (i32.const 16) (i32.const 10)))
  (call $checked (call $remove (i32.const 0) (i32.const 32) (i32.const 7)))";
const TIME: &str = "(call $checked (call $time (i32.const 8)))";

/// Rounds of one call of the guest, which counts in 32 bit; so many that the
/// call itself does not show.
const LOOP_MAX: u64 = 1_000_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hostcall");
    for (name, body) in [
        ("empty_loop", EMPTY),
        ("get_current_time_nanoseconds", TIME),
        ("get_header_map_value", GET),
        ("get_header_map_pairs", PAIRS),
        ("add_and_remove_header_map_value", ADD_REMOVE),
    ] {
        let rig = Rig::start(&guest::module(&looping(body)), "");
        let stream = rig.create_stream();
        // The guest holds the headers, so they stay visible.
        rig.vm.on_request_headers(stream, false).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let mut left = times;
                let started = Instant::now();
                while left > 0 {
                    let now = left.min(LOOP_MAX);
                    left -= now;
                    let size = now as usize;
                    let status = rig.vm.on_body(stream, Direction::Request, size, false);
                    status.unwrap();
                }
                started.elapsed()
            });
        });
    }
}

/// A guest that does `body` in a loop; a status other than 0 is a trap.
fn looping(body: &str) -> String {
    format!(
        r#"{ITEMS}
        (func $checked (param i32) (if (local.get 0) (then unreachable)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.const 1))
        (func (export "proxy_on_request_body") (param i32) (param $times i32) (param i32)
          (result i32)
          (loop $again
            {body}
            (local.set $times (i32.sub (local.get $times) (i32.const 1)))
            (br_if $again (local.get $times)))
          (i32.const 0))"#
    )
}
