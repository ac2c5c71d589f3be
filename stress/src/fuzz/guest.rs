//! The guest: it asks the host what to do, number by number, through the clock,
//! and does it.

use std::cell::Cell;
use std::fmt::Write;
use std::rc::Rc;

use weir_abi::{HostcallType, Module, hostcalls};

use crate::script::blobs;

/// First byte of what the guest needs for itself.
pub(crate) const SCRATCH: u32 = 64;
/// Pages of the guest's memory: at first, and at most.
pub(crate) const PAGES: (u32, u32) = (40, 640);

/// What the allocator does; its number is what the host says.
pub(crate) const ALLOCATOR_MODES: u64 = 6;
/// The mode that traps.
pub(crate) const ALLOCATOR_TRAPS: u64 = 3;

/// Largest status and errno.
const KNOWN: u32 = 77;

/// The guest in every version of the ABI, and what it may call.
pub(crate) struct Guests {
    pub(crate) modules: Vec<Module>,
    pub(crate) hostcalls: Rc<[HostcallType]>,
    calls: Rc<Cell<u64>>,
}

impl Guests {
    pub(crate) fn build() -> Result<Self, String> {
        let hostcalls: Rc<[HostcallType]> = hostcalls().into();
        let compile = |(version, starts)| {
            let binary = wat::parse_str(text(&hostcalls, version, starts));
            Module::compile(&binary.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
        };
        let kinds = [
            ("0_1_0", false),
            ("0_2_0", false),
            ("0_2_1", false),
            ("0_2_1", true),
        ];
        let modules = kinds.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self {
            modules,
            hostcalls,
            calls: Rc::default(),
        })
    }

    /// Hostcalls made so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.get()
    }

    pub(crate) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.calls)
    }
}

/// Callbacks with parameters and whether they return something.
const CALLBACKS: &[(&str, usize, bool)] = &[
    ("proxy_on_context_create", 2, false),
    ("proxy_on_vm_start", 2, true),
    ("proxy_on_configure", 2, true),
    ("proxy_on_tick", 1, false),
    ("proxy_on_queue_ready", 2, false),
    ("proxy_on_new_connection", 1, true),
    ("proxy_on_downstream_data", 3, true),
    ("proxy_on_upstream_data", 3, true),
    ("proxy_on_downstream_connection_close", 2, false),
    ("proxy_on_upstream_connection_close", 2, false),
    ("proxy_on_request_headers", 3, true),
    ("proxy_on_request_body", 3, true),
    ("proxy_on_request_trailers", 2, true),
    ("proxy_on_response_headers", 3, true),
    ("proxy_on_response_body", 3, true),
    ("proxy_on_response_trailers", 2, true),
    ("proxy_on_http_call_response", 5, false),
    ("proxy_on_grpc_receive_initial_metadata", 3, false),
    ("proxy_on_grpc_receive", 3, false),
    ("proxy_on_grpc_receive_trailing_metadata", 3, false),
    ("proxy_on_grpc_close", 3, false),
    ("proxy_on_foreign_function", 3, false),
    ("envoy_on_resolve_dns", 3, false),
    ("proxy_on_done", 1, true),
    ("proxy_on_log", 1, false),
    ("proxy_on_delete", 1, false),
];

fn text(hostcalls: &[HostcallType], version: &str, starts: bool) -> String {
    let mut text = "(module\n".to_owned();
    for (n, hostcall) in hostcalls.iter().enumerate() {
        let HostcallType {
            namespace,
            name,
            parameters,
            answers,
        } = hostcall;
        let parameters: String = parameters.iter().map(|w| format!(" i{w}")).collect();
        let result = if *answers { "(result i32)" } else { "" };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "(import \"{namespace}\" \"{name}\" (func $h{n} (param{parameters}) {result}))"
        );
    }
    let clock = hostcalls.iter().position(|h| h.name == "clock_time_get");
    let clock = clock.unwrap_or_default();
    let _ = write!(
        text,
        r#"(memory (export "memory") {min} {max})
        (func (export "proxy_abi_version_{version}"))
        (global $heap (mut i32) (i32.const {heap}))
        ;; The next number, of the script (0) or of the allocator's (1).
        (func $next (param $of i32) (result i64)
          (drop (call $h{clock} (local.get $of) (i64.const 0) (i32.const {SCRATCH})))
          (i64.load (i32.const {SCRATCH})))
        (func $known (param i32)
          (if (i32.gt_u (local.get 0) (i32.const {KNOWN})) (then unreachable)))
        ;; One hostcall; 0 when there are no more.
        (func $one (param $of i32) (result i32) (local $n i32)
          (local.set $n (i32.wrap_i64 (call $next (local.get $of))))
        "#,
        min = PAGES.0,
        max = PAGES.1,
        heap = 20 * 65_536,
    );
    let count = hostcalls.len();
    for n in (0..=count).rev() {
        let _ = write!(text, "(block $b{n} ");
    }
    text += "(br_table";
    for n in 0..=count {
        let _ = write!(text, " $b{n}");
    }
    text += " (local.get $n)))";
    for (n, hostcall) in hostcalls.iter().enumerate() {
        let argument = |width: &u32| match width {
            64 => " (call $next (local.get $of))",
            _ => " (i32.wrap_i64 (call $next (local.get $of)))",
        };
        let arguments: String = hostcall.parameters.iter().map(argument).collect();
        let call = format!("(call $h{n}{arguments})");
        let call = match (hostcall.answers, hostcall.name) {
            (false, _) => call,
            (true, "pthread_equal") => format!("(drop {call})"),
            (true, _) => format!("(call $known {call})"),
        };
        let _ = writeln!(text, "{call} (return (i32.const 1)))");
    }
    let _ = write!(
        text,
        r#"(i32.const 0))
        (func $all (result i32)
          (loop $again (br_if $again (call $one (i32.const 0))))
          (i32.wrap_i64 (call $next (i32.const 0))))
        (func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
          (local $mode i32) (local $p i32)
          (local.set $mode (i32.wrap_i64 (call $next (i32.const 1))))
          (if (i32.eq (local.get $mode) (i32.const 1)) (then (return (i32.const 0))))
          (if (i32.eq (local.get $mode) (i32.const 2))
            (then (return (i32.wrap_i64 (call $next (i32.const 1))))))
          (if (i32.eq (local.get $mode) (i32.const {ALLOCATOR_TRAPS})) (then unreachable))
          (if (i32.eq (local.get $mode) (i32.const 4))
            (then (drop (memory.grow (i32.const 1)))))
          (if (i32.eq (local.get $mode) (i32.const 5))
            (then (loop $again (br_if $again (call $one (i32.const 1))))))
          (local.set $p (global.get $heap))
          (if (i32.gt_u (i32.add (local.get $p) (local.get $n))
                (i32.mul (memory.size) (i32.const 65536)))
            (then (local.set $p (i32.const {heap}))))
          (global.set $heap (i32.add (local.get $p) (local.get $n)))
          (local.get $p))
        "#,
        heap = 20 * 65_536,
    );
    if starts {
        text += r#"(func (export "_initialize") (drop (call $all)))"#;
    }
    for (name, parameters, returns) in CALLBACKS {
        let short = version == "0_1_0" && name.ends_with("_headers");
        let parameters = " i32".repeat(parameters - usize::from(short));
        let (result, body) = if *returns {
            ("(result i32)", "(call $all)")
        } else {
            ("", "(drop (call $all))")
        };
        let _ = writeln!(
            text,
            "(func (export \"{name}\") (param{parameters}) {result} {body})"
        );
    }
    for (address, bytes) in blobs() {
        let bytes: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        let _ = writeln!(text, "(data (i32.const {address}) \"{bytes}\")");
    }
    text + ")"
}
