//! The guest's allocator, which hostcalls call to hand something back.

use weir_abi::{Direction, Reason};

use crate::guest::Guest;
use crate::world::Rig;

/// A guest with this allocator that does this with its request headers.
fn with(allocator: &str, script: &str) -> Guest {
    let allocator =
        format!(r#"(func $allocate (export "malloc") (param $n i32) (result i32) {allocator})"#);
    Guest::new()
        .allocator(&allocator)
        .on("proxy_on_request_headers", script)
}

fn told(guest: &Guest) -> Vec<String> {
    let rig = Rig::new(guest);
    rig.request_headers();
    rig.told()
}

const GET: &str = "get_header_map_value 0 ':path'";
const LOG: &str = "(drop (call $proxy_log (i32.const 2) (i32.const 1024) (i32.const 5)))";

#[test]
fn a_block_that_is_not_in_the_memory_is_an_invalid_access() {
    // The path has 13 bytes, the memory 4 pages.
    for block in ["0", "-1", "262144", "262132"] {
        let guest = with(
            &format!("(i32.const {block})"),
            &format!("{GET}\nlog 2 'on'"),
        );
        assert_eq!(told(&guest), ["6", "Info: on", "0"], "{block}");
    }
    let guest = with("(i32.const 262130)", GET);
    assert_eq!(told(&guest), ["0 /shop?q=1#top"]);
}

#[test]
fn an_allocation_that_is_refused_hands_nothing_back() {
    let script = format!(
        "(i32.store (i32.const 16) (i32.const 77))
         {GET}
         (call $report (i32.const 0) (i32.const 2))"
    );
    assert_eq!(told(&with("(i32.const 0)", &script)), ["6", "0 77"]);
}

#[test]
fn nothing_is_allocated_for_no_bytes() {
    let script = "get_header_map_value 0 'x-empty'
                  get_header_map_pairs 2
                  get_buffer_bytes 0 0 10
                  get_property 'plugin_vm_id'";
    assert_eq!(told(&with("unreachable", script)), ["0 null 0"; 4]);
}

#[test]
fn nothing_is_allocated_when_it_could_not_be_handed_back() {
    let script = "(call $report (call $proxy_get_header_map_value (i32.const 0) (i32.const 512)
                    (i32.const 5) (i32.const 16) (i32.const -1)) (i32.const 0))
                  (call $report (call $proxy_get_header_map_value (i32.const 0) (i32.const 512)
                    (i32.const 5) (i32.const -1) (i32.const 20)) (i32.const 0))";
    let guest = with("unreachable", script)
        .importing("proxy_get_header_map_value")
        .text(r#"(data (i32.const 512) ":path")"#);
    assert_eq!(told(&guest), ["6", "6"]);
}

#[test]
fn a_block_in_memory_that_the_allocator_has_just_grown_is_filled() {
    let grow = "(i32.mul (memory.grow (i32.const 1)) (i32.const 65536))";
    assert_eq!(told(&with(grow, GET)), ["0 /shop?q=1#top"]);
}

#[test]
fn the_allocator_is_told_the_exact_size() {
    let allocator = "(global.set $asked (local.get $n)) (i32.const 4096)";
    let script = format!(
        "{GET}
         (i32.store (i32.const 16) (global.get $asked))
         (call $report (i32.const 0) (i32.const 2))"
    );
    let guest = with(allocator, &script).text("(global $asked (mut i32) (i32.const 0))");
    assert_eq!(told(&guest), ["0 /shop?q=1#top", "0 13"]);
}

#[test]
fn the_allocator_may_log_and_what_is_handed_back_is_not_borrowed_meanwhile() {
    let rig = Rig::new(
        &with(
            &format!("{LOG} (i32.const 131072)"),
            &format!(
                "{GET}
                 get_header_map_pairs 0
                 get_property 'request\0headers'
                 get_property 'request\0headers\0x-two'"
            ),
        )
        .on("proxy_on_request_body", "get_buffer_bytes 0 1 3")
        .text(r#"(data (i32.const 1024) "alloc")"#),
    );
    rig.stream.set_body(Direction::Request, "abcdef");
    *rig.host.looks_at.borrow_mut() = Some(rig.stream.clone());
    rig.request_headers();
    let body = rig.vm.on_body(rig.context, Direction::Request, 6, true);
    assert!(body.is_ok());
    let told = rig.told();
    let lines = told.iter().filter(|line| line.starts_with("Info: "));
    assert_eq!(lines.count(), 5);
    assert_eq!(told.last().unwrap(), "0 bcd");
    assert!(told[3].ends_with(r"x-two\x00b\x00"), "{}", told[3]);
    assert!(rig.vm.failure().is_none());
}

#[test]
fn the_allocator_may_ask_wasi_for_the_time() {
    let allocator = "(drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 32)))
                     (drop (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 0)
                       (i32.const 40)))
                     (i32.const 4096)";
    let guest = with(allocator, GET)
        .importing("clock_time_get")
        .importing("poll_oneoff");
    assert_eq!(told(&guest), ["0 /shop?q=1#top"]);
}

#[test]
fn a_hostcall_other_than_logging_ends_an_allocator_that_makes_it() {
    let zero = "(i32.const 0)";
    for (name, count) in [
        ("proxy_get_header_map_value", 5),
        ("proxy_get_current_time_nanoseconds", 1),
        ("proxy_set_effective_context", 1),
        ("proxy_continue_stream", 1),
        ("proxy_set_buffer_bytes", 5),
        ("proxy_get_log_level", 1),
    ] {
        let arguments = vec![zero; count].join(" ");
        let allocator = format!("(drop (call ${name} {arguments})) (i32.const 4096)");
        let rig = Rig::new(&with(&allocator, GET).importing(name));
        assert!(rig.vm.on_request_headers(rig.context, false).is_err());
        let failure = rig.vm.failure().unwrap();
        assert_eq!(failure.reason, Reason::Host);
        assert_eq!(
            failure.message,
            format!("host function `{name}` may not be called from here")
        );
    }
}

#[test]
fn hostcalls_are_allowed_again_after_an_allocation() {
    for allocator in ["(i32.const 4096)", "(i32.const 0)"] {
        let script = format!("{GET}\nadd_header_map_value 0 'a' 'b'");
        let told = told(&with(allocator, &script));
        assert_eq!(told[1..], ["route cleared", "0"], "{allocator}");
    }
}

#[test]
fn an_allocator_that_traps_ends_the_vm_in_the_name_of_the_callback() {
    let rig = Rig::new(&with("unreachable", &format!("{GET}\nlog 2 'on'")));
    assert!(rig.vm.on_request_headers(rig.context, false).is_err());
    let failure = rig.vm.failure().unwrap();
    assert_eq!(failure.reason, Reason::Trap);
    assert_eq!(failure.callback, "proxy_on_request_headers");
    assert_eq!(failure.message, "unreachable");
    assert_eq!(rig.told(), ["failed: proxy_on_request_headers of test"]);
}

#[test]
fn an_allocator_that_recurses_for_ever_has_no_stack() {
    let rig = Rig::new(&with(
        "(call $allocate (i32.add (local.get $n) (i32.const 1)))",
        GET,
    ));
    assert!(rig.vm.on_request_headers(rig.context, false).is_err());
    assert_eq!(rig.vm.failure().unwrap().reason, Reason::Stack);
}
