//! What a guest may call, and be called by.

use weir_abi::{Capabilities, Reason, VmConfig};

use crate::guest::Guest;
use crate::signatures::{HOSTCALLS, WASI, params};
use crate::world::{TestHost, plugin, start};

/// What the host saw of `guest`, whose root context ticks, with these alone
/// allowed beside the log.
fn told(guest: &Guest, allowed: &[&str]) -> Vec<String> {
    run(guest, allowed).journal.take()
}

fn run(guest: &Guest, allowed: &[&str]) -> std::rc::Rc<TestHost> {
    let names = ["proxy_log"].iter().chain(allowed);
    let config = VmConfig {
        capabilities: Capabilities::only(names.map(|&name| name.to_owned())),
        ..VmConfig::default()
    };
    let (host, vm) = start(guest, config);
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    // A guest that fails is looked at by its failure.
    let _ = vm.on_tick(root);
    host
}

/// Zeros for parameters that are written down as letters.
fn zeros(letters: &str) -> String {
    let zero = |letter| format!(" ({}.const 0)", if letter == 'I' { "i64" } else { "i32" });
    letters.chars().map(zero).collect()
}

#[test]
fn a_denied_hostcall_fails_and_the_host_is_told() {
    for (name, letters, _) in HOSTCALLS {
        if !name.starts_with("proxy_") || *name == "proxy_log" {
            continue;
        }
        let script = format!(
            "(call $report (call ${name}{}) (i32.const 0))",
            zeros(letters)
        );
        let guest = Guest::new().importing(name).on("proxy_on_tick", &script);
        let told = told(&guest, &["proxy_on_tick"]);
        assert_eq!(told, [format!("denied {name}"), "10".into()]);
    }
}

#[test]
fn a_denied_function_of_wasi_has_an_error_of_its_own() {
    for (name, letters, _) in WASI {
        let script = format!(
            "(call $report (call ${name}{}) (i32.const 0))",
            zeros(letters)
        );
        let guest = Guest::new().importing(name).on("proxy_on_tick", &script);
        let told = told(&guest, &["proxy_on_tick"]);
        assert_eq!(
            told,
            [format!("denied {name}"), "76".into()],
            "{}",
            params(letters)
        );
    }
}

#[test]
fn a_denied_exit_has_no_effect_and_an_allowed_one_has() {
    let guest = Guest::new()
        .raw_import("wasi_snapshot_preview1", "proc_exit", "$exit (param i32)")
        .on("proxy_on_tick", "(call $exit (i32.const 3))\nlog 2 'on'");
    assert_eq!(
        told(&guest, &["proxy_on_tick"]),
        ["denied proc_exit", "Info: on", "0"]
    );
    let host = run(&guest, &["proxy_on_tick", "proc_exit"]);
    assert_eq!(host.failures.borrow()[0].reason, Reason::Exit(3));
}

#[test]
fn what_cannot_be_restricted_is_there() {
    let guest = Guest::new()
        .importing("pthread_equal")
        .raw_import(
            "env",
            "emscripten_notify_memory_growth",
            "$grown (param i32)",
        )
        .on(
            "proxy_on_tick",
            "pthread_equal 7 7\n(call $grown (i32.const 0))",
        );
    assert_eq!(told(&guest, &["proxy_on_tick"]), ["1"]);
}

#[test]
fn a_denied_callback_is_not_called() {
    let names = [
        "proxy_on_context_create",
        "proxy_on_vm_start",
        "proxy_on_configure",
        "proxy_on_tick",
    ];
    let guest = names
        .iter()
        .fold(Guest::new(), |guest, name| guest.on(name, "args"));
    for name in names {
        let told = told(&guest, &[name]);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with(name), "{told:?}");
    }
    assert!(told(&guest, &[]).is_empty());
}

#[test]
fn the_allocator_and_start_functions_are_not_restricted() {
    let guest = Guest::new()
        .importing("proxy_log")
        .text(r#"(func (export "_initialize") (drop (call $proxy_log (i32.const 2) (i32.const 512) (i32.const 5))))"#)
        .text(r#"(data (i32.const 512) "start")"#)
        .on("proxy_on_configure", "get_buffer_bytes 7 0 6");
    let told = told(&guest, &["proxy_on_configure", "proxy_get_buffer_bytes"]);
    assert_eq!(told, ["Info: start", "0 plugin"]);
}
