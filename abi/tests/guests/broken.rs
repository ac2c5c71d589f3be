//! Modules that are no filters, one way or another: each is refused in words that
//! tell what is wrong, or kept from doing harm.

use std::rc::Rc;
use std::time::Duration;

use weir_abi::{LoadError, Module, PluginConfig, TimeLimits, Vm, VmConfig, VmLimits};

use crate::guest::Guest;
use crate::world::TestHost;

/// Long enough for whatever comes to an end, on a machine that is busy too.
const AMPLE: Duration = Duration::from_millis(500);

/// Short enough to play many guests that never end.
const SHORT: Duration = Duration::from_millis(5);

/// Loads and starts a module, as a host does that gives each call this time.
fn start(wasm: &[u8], time: Duration) -> Result<(), String> {
    let module = Module::compile(wasm).map_err(|e| e.to_string())?;
    let config = VmConfig {
        limits: VmLimits {
            start: time,
            memory: 16 << 20,
            ..VmLimits::default()
        },
        ..VmConfig::default()
    };
    let host = Rc::new(TestHost::default());
    let vm = Vm::new(&module, config, host).map_err(|e| e.to_string())?;
    let plugin = PluginConfig {
        time: TimeLimits {
            callback: time,
            root_callback: time,
            stream: None,
        },
        ..PluginConfig::default()
    };
    vm.start_plugin(plugin)
        .map(drop)
        .map_err(|error| match vm.failure() {
            Some(failure) => failure.to_string(),
            None => error.to_string(),
        })
}

fn guest(text: &str) -> Guest {
    Guest::new().text(text)
}

#[test]
fn each_wrong_module_is_refused_in_words_that_tell_why() {
    let wrong: Vec<(Guest, &[&str])> = vec![
        (
            Guest::new().raw_import("env", "abort_all", "(param i32)"),
            &[
                "`env.abort_all`",
                "no proxy-wasm host offers",
                "at offset 0x",
            ],
        ),
        (
            Guest::new().raw_import("wasi_snapshot_preview2", "fd_write", ""),
            &["`wasi_snapshot_preview2.fd_write`", "at offset 0x"],
        ),
        (
            Guest::new().raw_import("env", "proxy_get_log_level", "(param i64)"),
            &[
                "`env.proxy_get_log_level`",
                "it is function (i32) -> (i32)",
                "at offset 0x",
            ],
        ),
        (
            guest(r#"(func (export "proxy_on_log") (param i32) (result i32) (i32.const 0))"#),
            &[
                "`proxy_on_log`",
                "in ABI 0.2.1 it is function (i32) -> ()",
                "at offset 0x",
            ],
        ),
        (
            guest(r#"(func (export "_initialize") (param i32))"#),
            &["`_initialize`", "it is function () -> ()", "at offset 0x"],
        ),
        (
            guest(r#"(global (export "proxy_on_done") i32 (i32.const 0))"#),
            &["`proxy_on_done`", "as global"],
        ),
        (Guest::new().markers(&[]), &["no ABI version marker"]),
        (
            Guest::new().markers(&["proxy_abi_version_0_9_9"]),
            &["`proxy_abi_version_0_9_9`"],
        ),
        (
            Guest::new().memory("(memory 4)"),
            &["does not export its memory"],
        ),
        (Guest::new().allocator(""), &["no allocator"]),
        (
            Guest::new().memory(r#"(memory (export "memory") 300)"#),
            &["19660800 bytes of memory", "16777216"],
        ),
        (
            Guest::new().memory(r#"(memory (export "memory") 4 8 shared)"#),
            &["threads", "at offset 0x"],
        ),
        (guest("(table 2000000 funcref)"), &["2000000 elements"]),
        (
            guest("(func $s unreachable) (start $s)"),
            &["instantiation failed (trap)"],
        ),
        (
            guest("(func $s (call $s)) (start $s)"),
            &["instantiation failed (stack)"],
        ),
        (
            guest("(func $s (loop $l (br $l))) (start $s)"),
            &["instantiation failed (deadline)", "longer than 500ms"],
        ),
        (
            guest(r#"(func (export "_initialize") unreachable)"#),
            &["_initialize failed (trap)"],
        ),
        (
            guest(r#"(data (i32.const 10000000) "x")"#),
            &["does not start", "out of bounds"],
        ),
        (
            guest(r#"(table 1 funcref) (elem (i32.const 5) $report)"#),
            &["does not start", "out of bounds"],
        ),
        (
            Guest::new().on("proxy_on_vm_start", "return 0"),
            &["proxy_on_vm_start refused to start"],
        ),
        (
            Guest::new().on("proxy_on_configure", "return 0"),
            &["proxy_on_configure refused the configuration"],
        ),
        (
            Guest::new().on("proxy_on_configure", "trap"),
            &["proxy_on_configure failed (trap)", "0x"],
        ),
        (
            Guest::new().on("proxy_on_configure", "(loop $l (br $l))"),
            &["proxy_on_configure failed (deadline)", "longer than 500ms"],
        ),
        (
            Guest::new().on(
                "proxy_on_context_create",
                "(i32.store (i32.const -9) (i32.const 1))",
            ),
            &["proxy_on_context_create failed (trap)"],
        ),
    ];
    for (number, (guest, parts)) in wrong.iter().enumerate() {
        let refused = start(&guest.build(), AMPLE).expect_err("it starts");
        for part in *parts {
            assert!(refused.contains(part), "{number}: {part} in {refused}");
        }
    }
}

#[test]
fn what_the_compiler_refuses_has_its_place() {
    let valid = Guest::new().build();
    let wrong_body = guest("(func $wrong (result i32) (i64.const 1))").build();
    for wasm in [&valid[..valid.len() / 2], &valid[..20], &wrong_body] {
        let refused = start(wasm, AMPLE).expect_err("it starts");
        assert!(refused.contains("cannot be compiled"), "{refused}");
        assert!(refused.contains("offset"), "{refused}");
    }
}

#[test]
fn a_module_that_is_too_large_is_refused_with_both_figures() {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    wasm.resize(65 << 20, 0);
    let refused = Module::compile(&wasm).map(drop).map_err(|e| e.to_string());
    let expected = "the module has 68157440 bytes; 67108864 are allowed";
    assert_eq!(refused, Err(expected.to_owned()));
}

/// A generator of numbers that look like chance (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

#[test]
fn damaged_modules_are_refused_or_contained() {
    let whole = Guest::new()
        .text("(table 8 16 funcref) (elem (i32.const 1) $report)")
        .on("proxy_on_vm_start", "get_property 'plugin_name'\nreturn 1")
        .on("proxy_on_configure", "get_buffer_bytes 7 0 100\nreturn 1")
        .on("proxy_on_request_headers", "get_header_map_pairs 0")
        .build();
    assert_eq!(start(&whole, AMPLE), Ok(()));
    let (mut refused, mut started) = (0, 0);
    for seed in 0..400 {
        let mut numbers = Numbers(seed);
        let mut wasm = whole.clone();
        if seed % 4 == 0 {
            wasm.truncate(numbers.below(whole.len()));
        } else {
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(wasm.len());
                wasm[at] ^= 1 << numbers.below(8);
            }
        }
        match start(&wasm, SHORT) {
            Ok(()) => started += 1,
            Err(words) => {
                assert!(
                    !words.is_empty() && !words.contains("panicked"),
                    "{seed}: {words}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused >= 100, "{refused} refused, {started} started");
}

#[test]
fn a_refusal_says_what_kind_it_is() {
    let guest = Guest::new().raw_import("env", "nothing", "");
    match Module::compile(&guest.build()) {
        Err(LoadError::UnknownImport { offset, .. }) => assert!(offset.is_some()),
        other => panic!("{other:?}"),
    }
}
