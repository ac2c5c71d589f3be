//! The whole surface links.

use weir_abi::{HeadersStatus, Module, Reason, VmFailed, unimplemented_hostcalls};

use crate::guest::Guest;
use crate::signatures::{HOSTCALLS, WASI, params};
use crate::world::Rig;

fn zeros(letters: &str) -> String {
    letters
        .chars()
        .map(|c| {
            if c == 'I' {
                " (i64.const 0)"
            } else {
                " (i32.const 0)"
            }
        })
        .collect()
}

#[test]
fn a_module_that_imports_everything_links_with_every_version() {
    for marker in [
        "proxy_abi_version_0_1_0",
        "proxy_abi_version_0_2_0",
        "proxy_abi_version_0_2_1",
    ] {
        let mut guest = Guest::new()
            .markers(&[marker])
            .raw_import("env", "emscripten_notify_memory_growth", "(param i32)")
            .raw_import("wasi_snapshot_preview1", "proc_exit", "(param i32)")
            .raw_import("wasi_unstable", "proc_exit", "(param i32)");
        for (name, letters, _) in HOSTCALLS {
            let prefix = if *name == "proxy_log" {
                "$proxy_log "
            } else {
                ""
            };
            let ty = format!("{prefix}(param{}) (result i32)", params(letters));
            guest = guest.raw_import("env", name, &ty);
        }
        for namespace in ["wasi_snapshot_preview1", "wasi_unstable"] {
            for (name, letters, _) in WASI {
                let ty = format!("(param{}) (result i32)", params(letters));
                guest = guest.raw_import(namespace, name, &ty);
            }
        }
        Module::compile(&guest.build()).unwrap();
    }
}

#[test]
fn what_is_not_implemented_links_and_says_so() {
    for name in unimplemented_hostcalls() {
        let (_, letters, _) = HOSTCALLS.iter().find(|(n, ..)| n == name).unwrap();
        let zeros = zeros(letters);
        let rig = Rig::new(&Guest::new().importing(name).on(
            "proxy_on_request_headers",
            &format!("(call $report (call ${name}{zeros}) (i32.const 0))"),
        ));
        rig.request_headers();
        assert_eq!(rig.told(), ["12"], "{name}");
    }
}

#[test]
fn what_is_implemented_does_not_answer_unimplemented() {
    for (name, letters, _) in HOSTCALLS {
        if unimplemented_hostcalls().contains(name) {
            continue;
        }
        let zeros = zeros(letters);
        let rig = Rig::new(&Guest::new().importing(name).on(
            "proxy_on_request_headers",
            &format!("(call $report (call ${name}{zeros}) (i32.const 0))"),
        ));
        rig.request_headers();
        assert!(!rig.told().contains(&"12".to_owned()), "{name}");
    }
}

#[test]
fn thread_identities_are_compared() {
    let told = crate::world::in_request_headers("pthread_equal 7 7\npthread_equal 7 8");
    assert_eq!(told, ["1", "0"]);
}

#[test]
fn the_readme_lists_what_is_not_implemented() {
    let readme = include_str!("../../README.md");
    let listed: Vec<_> = HOSTCALLS
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| readme.contains(&format!("`{name}`")))
        .collect();
    let mut unimplemented = unimplemented_hostcalls().to_vec();
    unimplemented.sort_unstable_by_key(|name| HOSTCALLS.iter().position(|(n, ..)| n == name));
    assert_eq!(listed, unimplemented);
}

#[test]
fn a_hostcall_may_be_a_callback_itself() {
    // The message is where the number of headers points: 8, of one byte.
    let guest = Guest::new()
        .text(r#"(export "proxy_on_request_headers" (func $proxy_log)) (data (i32.const 8) "!")"#);
    let rig = Rig::new(&guest);
    assert_eq!(
        rig.vm.on_request_headers(rig.context, true),
        Ok(HeadersStatus::Continue)
    );
    // The level is the number of the context.
    assert_eq!(rig.told(), ["Info: !"]);
}

#[test]
fn a_hostcall_may_be_called_by_a_table_if_its_type_is_right() {
    let by_table = |ty: &str| {
        let call = format!(
            "(drop (call_indirect {ty} (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 0)))"
        );
        let guest = Guest::new()
            .text(r#"(table 1 funcref) (elem (i32.const 0) func $proxy_log)"#)
            .text(r#"(data (i32.const 8) "!")"#)
            .on("proxy_on_request_headers", &call);
        Rig::new(&guest)
    };
    let rig = by_table("(param i32 i32 i32) (result i32)");
    rig.request_headers();
    assert_eq!(rig.told(), ["Info: !"]);
    let rig = by_table("(param i32 i32 i32) (result i64)");
    assert_eq!(rig.vm.on_request_headers(rig.context, true), Err(VmFailed));
    assert_eq!(rig.vm.failure().unwrap().reason, Reason::Trap);
}
