//! Start functions: which are called, in which order, and what they may do.

use weir_abi::{ContextId, LoadError, Reason, VmConfig};

use crate::guest::Guest;
use crate::world::start;

/// What is told while `guest` starts without a failure.
fn started(guest: &Guest) -> Vec<String> {
    let (host, vm) = start(guest, VmConfig::default());
    vm.unwrap();
    host.journal.take()
}

fn refused(guest: &Guest) -> weir_abi::Failure {
    match start(guest, VmConfig::default()).1 {
        Err(LoadError::Start(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

const EXIT_IMPORT: &str = "$exit (param i32)";

fn exiting() -> Guest {
    Guest::new().raw_import("wasi_snapshot_preview1", "proc_exit", EXIT_IMPORT)
}

#[test]
fn initialize_comes_first_then_main_with_two_zeros() {
    let guest = Guest::new().on("main", "args").on("_initialize", "args");
    assert_eq!(started(&guest), ["_initialize()", "main(0, 0)"]);
}

#[test]
fn without_main_the_main_of_wasi_libc_follows_initialize() {
    let guest = Guest::new()
        .on("_initialize", "args")
        .on("__main_void", "args");
    assert_eq!(started(&guest), ["_initialize()", "__main_void()"]);
}

#[test]
fn start_is_called_alone_and_main_not_with_it() {
    let guest = Guest::new().on("_start", "args").on("main", "args");
    assert_eq!(started(&guest), ["_start()"]);
}

#[test]
fn initialize_stands_before_start_and_replaces_it() {
    let guest = Guest::new().on("_start", "args").on("_initialize", "args");
    assert_eq!(started(&guest), ["_initialize()"]);
}

#[test]
fn a_module_without_start_functions_starts() {
    assert!(started(&Guest::new()).is_empty());
}

#[test]
fn an_exit_with_code_0_ends_a_start_function_well() {
    for name in ["_start", "_initialize"] {
        let guest = exiting().on(name, "args\n(call $exit (i32.const 0))\ntrap");
        assert_eq!(started(&guest), [format!("{name}()")]);
    }
}

#[test]
fn an_exit_with_another_code_fails_the_start() {
    let failure = refused(&exiting().on("_start", "(call $exit (i32.const 1))"));
    assert_eq!(failure.reason, Reason::Exit(1));
    assert_eq!(failure.callback, "_start");
    assert_eq!(failure.context, ContextId::VM);
}

#[test]
fn a_trap_in_any_start_function_fails_the_start() {
    for (name, guest) in [
        ("_start", Guest::new().on("_start", "trap")),
        ("_initialize", Guest::new().on("_initialize", "trap")),
        (
            "main",
            Guest::new().on("_initialize", "").on("main", "trap"),
        ),
        (
            "__main_void",
            Guest::new().on("_initialize", "").on("__main_void", "trap"),
        ),
    ] {
        let failure = refused(&guest);
        assert_eq!((failure.callback, failure.reason), (name, Reason::Trap));
    }
}

#[test]
fn main_is_not_called_after_initialize_has_failed() {
    let guest = Guest::new().on("_initialize", "trap").on("main", "args");
    let (host, vm) = start(&guest, VmConfig::default());
    assert!(vm.is_err());
    assert!(host.journal.take().is_empty());
}

#[test]
fn a_trap_in_the_start_section_fails_the_start() {
    let failure = refused(&Guest::new().text("(func $s unreachable) (start $s)"));
    assert_eq!(failure.callback, "instantiation");
    assert_eq!(failure.reason, Reason::Trap);
}

#[test]
fn a_hostcall_in_the_start_section_sees_no_memory() {
    let guest = Guest::new().text(
        "(global $status (mut i32) (i32.const 99))
         (func $s (global.set $status
           (call $proxy_log (i32.const 2) (i32.const 1024) (i32.const 1))))
         (start $s)
         (func (export \"_initialize\")
           (i32.store (i32.const 16) (i32.const 0))
           (call $report (global.get $status) (i32.const 0)))",
    );
    assert_eq!(started(&guest), ["6"]);
}

#[test]
fn logging_is_allowed_in_a_start_function_and_has_no_plugin_name() {
    let config = VmConfig {
        vm_id: "the-vm".into(),
        ..VmConfig::default()
    };
    let guest = Guest::new().on("_initialize", "log 2 'hello'");
    let (host, vm) = start(&guest, config);
    vm.unwrap();
    assert_eq!(host.journal.take(), ["Info: hello", "0"]);
    let origin = (String::new(), String::new(), "the-vm".to_owned(), 0);
    assert_eq!(*host.origins.borrow(), [origin]);
}

#[test]
fn hostcalls_that_need_a_context_are_refused_in_a_start_function() {
    for call in [
        "get_current_time_nanoseconds",
        "set_tick_period_milliseconds 100",
        "get_property 'plugin_name'",
        "get_header_map_value 0 ':path'",
        "get_buffer_bytes 6 0 10",
        "set_effective_context 0",
        "done",
        "define_metric 0 'm'",
    ] {
        let failure = refused(&Guest::new().on("_initialize", call));
        assert_eq!(failure.reason, Reason::Host, "{call}");
        let name = call.split(' ').next().unwrap();
        assert_eq!(
            failure.message,
            format!("host function `proxy_{name}` may not be called from here")
        );
    }
}
