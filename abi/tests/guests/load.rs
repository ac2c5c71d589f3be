//! What makes a module loadable.

use weir_abi::{AbiVersion, LoadError, Module};

use crate::guest::Guest;

fn compile(guest: &Guest) -> Result<Module, LoadError> {
    Module::compile(&guest.build())
}

fn error(guest: &Guest) -> String {
    compile(guest).err().unwrap().to_string()
}

const ALLOCATE: &str = "(param i32) (result i32) (i32.const 1024))";

#[test]
fn each_marker_tells_its_version() {
    for (marker, version) in [
        ("proxy_abi_version_0_1_0", AbiVersion::V0_1_0),
        ("proxy_abi_version_0_2_0", AbiVersion::V0_2_0),
        ("proxy_abi_version_0_2_1", AbiVersion::V0_2_1),
    ] {
        let module = compile(&Guest::new().markers(&[marker])).unwrap();
        assert_eq!(module.abi(), version);
    }
}

#[test]
fn the_first_known_marker_of_several_decides() {
    let markers = [
        "proxy_abi_version_0_3_0",
        "proxy_abi_version_0_2_0",
        "proxy_abi_version_0_2_1",
    ];
    let module = compile(&Guest::new().markers(&markers)).unwrap();
    assert_eq!(module.abi(), AbiVersion::V0_2_0);
}

#[test]
fn a_module_without_a_marker_is_refused() {
    assert!(matches!(
        compile(&Guest::new().markers(&[])),
        Err(LoadError::NoAbiVersion(None))
    ));
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let guest = Guest::new().markers(&["proxy_abi_version_0_3_0"]);
    assert!(error(&guest).contains("exports `proxy_abi_version_0_3_0`"));
}

#[test]
fn a_marker_that_is_no_function_does_not_count() {
    let guest = Guest::new()
        .markers(&[])
        .text(r#"(global (export "proxy_abi_version_0_2_1") i32 (i32.const 0))"#);
    assert!(matches!(
        compile(&guest),
        Err(LoadError::NoAbiVersion(None))
    ));
}

#[test]
fn what_is_not_webassembly_is_refused() {
    for bytes in [&b""[..], b"junk", b"(module)"] {
        let refused = Module::compile(bytes);
        assert!(matches!(refused, Err(LoadError::NotWasm(_))), "{refused:?}");
    }
}

#[test]
fn a_truncated_binary_is_refused_by_the_compiler() {
    let refused = Module::compile(b"\0asm\x01\0\0\0\x01");
    assert!(matches!(refused, Err(LoadError::Compile(_))), "{refused:?}");
}

#[test]
fn a_memory_that_is_not_exported_is_missing() {
    let guest = Guest::new().memory("(memory 4)");
    assert!(matches!(compile(&guest), Err(LoadError::NoMemory)));
}

#[test]
fn either_allocator_alone_will_do_and_none_will_not() {
    for name in ["malloc", "proxy_on_memory_allocate"] {
        let guest = Guest::new().allocator(&format!(r#"(func (export "{name}") {ALLOCATE}"#));
        assert!(compile(&guest).is_ok(), "{name}");
    }
    let none = Guest::new().allocator("");
    assert!(matches!(compile(&none), Err(LoadError::NoAllocator)));
    let wrong_type = Guest::new().allocator(r#"(func (export "malloc") (param i32))"#);
    assert!(matches!(compile(&wrong_type), Err(LoadError::NoAllocator)));
}

#[test]
fn malloc_is_preferred_to_the_other_allocator() {
    let guest = Guest::new()
        .allocator(&format!(
            r#"(func (export "proxy_on_memory_allocate") (param i32) (result i32) unreachable)
               (func (export "malloc") {ALLOCATE}"#
        ))
        .on("proxy_on_request_headers", "get_header_map_value 0 ':path'");
    let rig = crate::world::Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), ["0 /shop?q=1#top"]);
}

#[test]
fn an_unknown_import_is_named() {
    let guest = Guest::new().raw_import("env", "proxy_dance", "(param i32 i64)");
    assert_eq!(
        error(&guest),
        "the module imports `env.proxy_dance` (function (i32, i64) -> ()), which no proxy-wasm \
         host offers (at offset 0x2d)"
    );
}

#[test]
fn a_known_import_of_another_namespace_is_unknown() {
    let guest = Guest::new().raw_import("wasi_unstable", "proxy_done", "(result i32)");
    assert!(error(&guest).contains("`wasi_unstable.proxy_done`"));
}

#[test]
fn an_imported_memory_is_an_unknown_import() {
    let guest =
        Guest::new().memory(r#"(import "env" "memory" (memory 4)) (export "memory" (memory 0))"#);
    assert!(error(&guest).contains("`env.memory` (memory)"));
}

#[test]
fn an_import_of_the_wrong_type_is_named_with_both_types() {
    let guest = Guest::new().raw_import("env", "proxy_get_log_level", "(param f64) (result i32)");
    assert_eq!(
        error(&guest),
        "the module imports `env.proxy_get_log_level` as function (f64) -> (i32); it is \
         function (i32) -> (i32) (at offset 0x2d)"
    );
}

#[test]
fn a_callback_of_the_wrong_type_is_named_with_both_types() {
    let guest = Guest::new().text(r#"(func (export "proxy_on_tick") (param i32 i32))"#);
    assert_eq!(
        error(&guest),
        "the module exports `proxy_on_tick` as function (i32, i32) -> (); in ABI 0.2.1 it is \
         function (i32) -> () (at offset 0x7f)"
    );
}

#[test]
fn a_callback_that_is_no_function_is_refused() {
    let guest = Guest::new().text(r#"(global (export "proxy_on_done") i32 (i32.const 0))"#);
    assert!(error(&guest).contains("`proxy_on_done` as global"));
}

#[test]
fn headers_callbacks_have_two_parameters_in_0_1_0_and_three_later() {
    for (marker, count, loads) in [
        ("proxy_abi_version_0_1_0", 2, true),
        ("proxy_abi_version_0_1_0", 3, false),
        ("proxy_abi_version_0_2_0", 2, false),
        ("proxy_abi_version_0_2_0", 3, true),
        ("proxy_abi_version_0_2_1", 2, false),
    ] {
        for name in ["proxy_on_request_headers", "proxy_on_response_headers"] {
            let guest = Guest::new()
                .markers(&[marker])
                .on_with(name, count, Some(0), "");
            assert_eq!(compile(&guest).is_ok(), loads, "{marker} {name} {count}");
        }
    }
}

#[test]
fn a_start_function_of_the_wrong_type_is_refused_where_it_would_be_called() {
    let wrong = r#"(func (export "_start") (param i32))"#;
    assert!(error(&Guest::new().text(wrong)).contains("`_start`"));
    let main = r#"(func (export "main") (result i32) (i32.const 0))"#;
    assert!(compile(&Guest::new().text(main)).is_ok());

    let initialize = || Guest::new().on("_initialize", "");
    assert!(compile(&initialize().text(wrong)).is_ok());
    assert!(error(&initialize().text(main)).contains("`main`"));
}

#[test]
fn the_digest_is_that_of_the_binary() {
    let (a, b) = (Guest::new(), Guest::new().on("proxy_on_tick", ""));
    let digest = |guest: &Guest| *compile(guest).unwrap().digest();
    assert_eq!(digest(&a), digest(&Guest::new()));
    assert_ne!(digest(&a), digest(&b));
}
