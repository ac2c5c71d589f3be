//! Modules that are damaged: refused, or contained when they load all the same.

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use weir_abi::{LoadError, Module, PluginConfig, TimeLimits, Vm, VmConfig, VmLimits};
use weir_stress::Random;

use crate::script::Script;
use crate::wire::damage;
use crate::world::FuzzHost;

/// A filter of all that a module can hold. What a flipped bit makes endless is
/// ended.
const TEXT: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (type $callback (func (param i32) (result i32)))
  (memory (export "memory") 1 16)
  (table 4 8 funcref)
  (elem (i32.const 0) $log)
  (global $heap (mut i32) (i32.const 4096))
  (global f64 (f64.const 1.5))
  (data (i32.const 16) "a line\00request\00path")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32)
    (global.set $heap (i32.add (global.get $heap) (local.get 0)))
    (i32.sub (global.get $heap) (local.get 0)))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $log (i32.const 2) (i32.const 16) (i32.const 6)))
    (i32.eqz (select (i32.const 0) (i32.const 1) (local.get 0))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (local i64 f32)
    (loop $count
      (local.set 3 (i64.add (local.get 3) (i64.const 1)))
      (br_if $count (i64.lt_u (local.get 3) (i64.const 10))))
    (memory.fill (i32.const 8192) (i32.const 0) (i32.const 8192))
    (if (i32.gt_u (local.get 1) (i32.const 2))
      (then (drop (call $pairs (i32.const 0) (i32.const 8) (i32.const 12)))))
    (i32.const 0)))"#;

/// That a call may take.
const TIME: Duration = Duration::from_millis(5);

static MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| wat::parse_str(TEXT).unwrap_or_default());

pub(crate) fn play(random: &mut Random) -> Result<(), String> {
    let mut bytes = MODULE.clone();
    damage(random, &mut bytes);
    let module = match Module::compile(&bytes) {
        Ok(module) => module,
        // Not a matter of what is in the module.
        Err(LoadError::Compile(reason)) if reason.contains("panicked") => return Err(reason),
        Err(_) => return Ok(()),
    };
    let host = Rc::new(FuzzHost::new(Script::silent()));
    let config = VmConfig {
        limits: VmLimits {
            start: TIME,
            ..VmLimits::default()
        },
        ..VmConfig::default()
    };
    let Ok(vm) = Vm::new(&module, config, host) else {
        return Ok(());
    };
    // Whether it starts is its own business.
    let plugin = PluginConfig {
        time: TimeLimits {
            callback: TIME,
            root_callback: TIME,
            stream: None,
        },
        ..PluginConfig::default()
    };
    let _ = vm.start_plugin(plugin);
    Ok(())
}
