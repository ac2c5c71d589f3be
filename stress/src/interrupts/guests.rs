//! Guests whose `proxy_on_request_headers` never returns.

use std::fs;
use std::path::Path;

/// One of them.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) module: Vec<u8>,
    pub(crate) configuration: String,
}

/// What each does, again and again.
const BODIES: [(&str, &str); 9] = [
    ("nothing", ""),
    (
        "arithmetic",
        "(f64.store (i32.const 8) (f64.sqrt (f64.add (f64.load (i32.const 8)) (f64.const 1.5))))
         (i64.store (i32.const 16) (i64.rotl
           (i64.mul (i64.load (i32.const 16)) (i64.const 0x9e3779b97f4a7c15)) (i64.const 7)))",
    ),
    ("recursion", "(drop (call $walk (i32.const 12)))"),
    ("a hostcall", "(drop (call $time (i32.const 64)))"),
    (
        // Each makes the host call the guest's allocator.
        "allocations",
        "(drop (call $pairs (i32.const 0) (i32.const 64) (i32.const 68)))",
    ),
    (
        "changes of headers",
        "(drop (call $replace (i32.const 0) (i32.const 1024) (i32.const 4)
                              (i32.const 1024) (i32.const 4)))",
    ),
    (
        "small fills",
        "(memory.fill (i32.const 196608) (i32.const 7) (i32.const 2000))",
    ),
    (
        "large copies",
        "(memory.copy (i32.const 196608) (i32.const 262144) (i32.const 300000))",
    ),
    ("growth", "(drop (memory.grow (i32.const 1)))"),
];

/// Operations of one callback of the probe, which goes on for milliseconds.
const PROBE_OPERATIONS: usize = 2_000;

/// All guests; `probe` is a module of the Rust SDK that does what its
/// configuration says.
pub(crate) fn all(probe: Option<&Path>) -> Result<Vec<Guest>, String> {
    let of_text = |(name, body): (&'static str, &str)| {
        wat::parse_str(text(body))
            .map(|module| Guest {
                name,
                module,
                configuration: String::new(),
            })
            .map_err(|e| format!("{name}: {e}"))
    };
    let mut all = BODIES
        .into_iter()
        .map(of_text)
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = probe {
        let module = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        all.push(Guest {
            name: "a filter in Rust",
            module,
            configuration: format!(
                "request_headers: {}",
                vec!["pairs request"; PROBE_OPERATIONS].join(" ; ")
            ),
        });
    }
    Ok(all)
}

fn text(body: &str) -> String {
    format!(
        r#"(module
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value"
    (func $replace (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16)
  (data (i32.const 1024) "x-me")
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $n i32) (result i32) (local $i i32)
    ;; Takes its time, to be interrupted too.
    (loop $zero
      (i32.store8 (i32.add (global.get $heap) (local.get $i)) (i32.const 0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $zero (i32.lt_u (local.get $i) (local.get $n))))
    (global.get $heap))
  (func $walk (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
      (else (i32.add (call $walk (i32.sub (local.get 0) (i32.const 1)))
                     (call $walk (i32.sub (local.get 0) (i32.const 1)))))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (loop $again {body} (br $again))
    (i32.const 0)))"#
    )
}
