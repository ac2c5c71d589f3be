//! Foreign functions: what hostile arguments come to.

use crate::guest::Guest;
use crate::world::{Rig, in_request_headers};

fn called(name: &str, argument: &str) -> Vec<String> {
    in_request_headers(&format!("call_foreign_function '{name}' '{argument}'"))
}

#[test]
fn a_name_that_there_is_not_is_not_found() {
    for name in ["", "none", "Compress", "compress\0", &"x".repeat(1000)] {
        assert_eq!(called(name, "x"), ["1"], "{name}");
    }
}

#[test]
fn junk_gets_a_status() {
    for (name, status) in [
        ("uncompress", "3"),
        ("declare_property", "2"),
        ("set_envoy_filter_state", "2"),
        ("expr_create", "2"),
        ("expr_evaluate", "2"),
        ("expr_delete", "2"),
    ] {
        assert_eq!(called(name, "junk )"), [status], "{name}");
    }
}

#[test]
fn the_route_that_is_cleared_is_that_of_the_effective_context() {
    let script = "call_foreign_function 'clear_route_cache' ''
                  set_effective_context 2
                  call_foreign_function 'clear_route_cache' ''";
    let rig = Rig::new(&Guest::new().on("proxy_on_tick", script));
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["0 null 0", "0", "route cleared", "0 null 0"]);
}

#[test]
fn an_expression_is_evaluated() {
    let script = "call_foreign_function 'expr_create' 'request.path.startsWith(\"/shop\")'
                  call_foreign_function 'expr_evaluate' '\0\0\0\0'";
    assert_eq!(
        in_request_headers(script),
        ["0 \\x00\\x00\\x00\\x00", "0 \\x01"]
    );
}

#[test]
fn nested_brackets_overflow_nothing() {
    for bracket in ["(", "[", "{", "!", "-"] {
        assert_eq!(
            called("expr_create", &bracket.repeat(4000)),
            ["2"],
            "{bracket}"
        );
    }
}
