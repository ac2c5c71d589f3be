;; What every guest has. Strings stand from 1024 on, roots of contexts from 16384
;; on, lines are put together at 32768, the host allocates from 65536 on.
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_effective_context" (func $act_for (param i32) (result i32)))
(import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
(import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
(import "env" "proxy_send_local_response"
  (func $local (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value"
  (func $get (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value"
  (func $set (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_add_header_map_value"
  (func $add (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_bytes"
  (func $buf (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes"
  (func $setbuf (param i32 i32 i32 i32 i32) (result i32)))
(memory (export "memory") 96)
(func (export "proxy_abi_version_0_2_1"))
(global $heap (mut i32) (i32.const 65536))
(global $end (mut i32) (i32.const 32768))
(global $last (mut i32) (i32.const 0))
(func (export "malloc") (param $n i32) (result i32)
  (global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get $n))))
(func $text (param $at i32) (param $n i32)
  (memory.copy (global.get $end) (local.get $at) (local.get $n))
  (global.set $end (i32.add (global.get $end) (local.get $n))))
(func $number (param $n i32)
  (if (i32.ge_u (local.get $n) (i32.const 10))
    (then (call $number (i32.div_u (local.get $n) (i32.const 10)))))
  (i32.store8 (global.get $end)
    (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
  (global.set $end (i32.add (global.get $end) (i32.const 1))))
(func $line
  (drop (call $log (i32.const 2) (i32.const 32768)
    (i32.sub (global.get $end) (i32.const 32768))))
  (global.set $end (i32.const 32768)))
(func $result (param $status i32)
  (if (local.get $status)
    (then
      (call $text (i32.const 1024) (i32.const 7))
      (call $number (local.get $status)))
    (else (call $text (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
  (call $line))
(func $root (param $id i32) (result i32)
  (i32.load (i32.add (i32.const 16384) (i32.mul (local.get $id) (i32.const 4)))))
