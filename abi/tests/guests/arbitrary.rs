//! Hostcalls with any arguments: a known status, and nothing else.

use std::fmt::Write;
use std::rc::Rc;

use weir_abi::{Direction, Failure, Host, LogLevel, Module, Origin, Vm, VmConfig};

use crate::guest::{Guest, PAGES_MAX};
use crate::signatures::{HOSTCALLS, WASI, params};
use crate::world::{Journal, TestStream, plugin};

/// Hostcalls of one callback.
const CALLS: u32 = 100;
/// Callbacks of one stream, its creation and deletion included.
const CALLBACKS: u32 = 11;
/// For 20,000 hostcalls and some.
const STREAMS: u32 = 20;
const SEEDS: [u32; 2] = [0x9e37_79b9, 0x2545_f491];

/// Every errno and status is below.
const KNOWN: u32 = 77;

/// A host that listens to nobody.
struct Deaf;

impl Host for Deaf {
    fn log(&self, _: Origin<'_>, _: LogLevel, _: &[u8]) {}
    fn log_level(&self) -> Option<LogLevel> {
        None
    }
    fn failed(&self, _: Origin<'_>, _: &Failure, _: Option<&dyn weir_abi::Stream>) {}
}

/// A generator of numbers that likes those at which things break: small ones,
/// and those around the end of the memory and of the address space.
fn random(seed: u32) -> String {
    format!(
        "(global $state (mut i32) (i32.const {seed}))
         (func $next (result i32) (local $s i32)
           (local.set $s (global.get $state))
           (local.set $s (i32.xor (local.get $s) (i32.shl (local.get $s) (i32.const 13))))
           (local.set $s (i32.xor (local.get $s) (i32.shr_u (local.get $s) (i32.const 17))))
           (local.set $s (i32.xor (local.get $s) (i32.shl (local.get $s) (i32.const 5))))
           (global.set $state (local.get $s))
           (local.get $s))
         (func $number (result i32) (local $n i32)
           (local.set $n (call $next))
           (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
             (br_table $0 $1 $2 $3 $4 $5 $6 $7
               (i32.and (call $next) (i32.const 7))))
             (return (i32.const 0)))
             (return (i32.and (local.get $n) (i32.const 15))))
             (return (i32.and (local.get $n) (i32.const 255))))
             (return (i32.and (local.get $n) (i32.const 65535))))
             (return (i32.and (local.get $n) (i32.const 0x3fffff))))
             (return (i32.sub (i32.const -1) (i32.and (local.get $n) (i32.const 15)))))
             (return (i32.sub (i32.mul (memory.size) (i32.const 65536))
               (i32.and (local.get $n) (i32.const 15)))))
           (local.get $n))"
    )
}

/// A guest whose callbacks each make [`CALLS`] hostcalls with such numbers, and
/// which traps at a status that is not known.
fn guest(seed: u32) -> Guest {
    let functions: Vec<_> = HOSTCALLS
        .iter()
        .map(|(name, letters, _)| ("env", *name, *letters))
        .chain(
            WASI.iter()
                .map(|(name, letters, _)| ("wasi_snapshot_preview1", *name, *letters)),
        )
        .collect();
    let mut guest = Guest::new();
    let mut table = String::new();
    let mut text = random(seed);
    for (module, name, letters) in &functions {
        let ty = format!("${name} (param{}) (result i32)", params(letters));
        guest = guest.raw_import(module, name, &ty);
        let arguments: String = letters
            .chars()
            .map(|c| {
                if c == 'I' {
                    " (i64.extend_i32_s (call $number))"
                } else {
                    " (call $number)"
                }
            })
            .collect();
        write!(
            text,
            "(func $try_{name} (if (i32.ge_u (call ${name}{arguments}) (i32.const {KNOWN}))
               (then unreachable)))"
        )
        .unwrap();
        write!(table, " $try_{name}").unwrap();
    }
    write!(
        text,
        "(table $all funcref (elem{table}))
         (func $all (local $i i32)
           (loop $again
             (call_indirect $all (i32.rem_u (call $next) (i32.const {})))
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (br_if $again (i32.lt_u (local.get $i) (i32.const {CALLS})))))",
        functions.len()
    )
    .unwrap();
    let callbacks = crate::signatures::CALLBACKS
        .iter()
        .map(|(name, ..)| *name)
        .filter(|name| name.starts_with("proxy_on_"));
    callbacks.fold(guest.text(&text), |guest, name| {
        guest.on(name, "(call $all)")
    })
}

#[test]
fn a_hostcall_with_any_arguments_answers_a_known_status() {
    const { assert!(CALLS * CALLBACKS * STREAMS >= 20_000) };
    for seed in SEEDS {
        let module = Module::compile(&guest(seed).build()).unwrap();
        let vm = Vm::new(&module, VmConfig::default(), Rc::new(Deaf)).unwrap();
        let root = vm.start_plugin(plugin("p")).unwrap();
        for _ in 0..STREAMS {
            let stream = Rc::new(TestStream::new(Journal::default()));
            stream.set_body(Direction::Request, "the request");
            stream.set_body(Direction::Response, "the response");
            let id = vm.create_stream(root, stream, 0).unwrap();
            vm.on_request_headers(id, false).unwrap();
            vm.on_body(id, Direction::Request, 11, true).unwrap();
            vm.on_trailers(id, Direction::Request).unwrap();
            vm.on_tick(root).unwrap();
            vm.on_response_headers(id, false).unwrap();
            vm.on_body(id, Direction::Response, 12, true).unwrap();
            vm.on_trailers(id, Direction::Response).unwrap();
            vm.on_log(id).unwrap();
            vm.delete_stream(id).unwrap();
            assert!(vm.memory_size() <= PAGES_MAX * 65_536);
        }
        assert!(vm.failure().is_none());
    }
}
