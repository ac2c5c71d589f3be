;; Does what `x-chaos` says, by its first letter: `loop`, `recurse`, `bomb` (takes all
;; memory and gives up), `trap`, `wild` (writes where it has no memory), `hostcalls`
;; (without end), `fill` (the same), `keep` (a KiB, for good), `log` (a hundred
;; lines). A request that it leaves alive gets `x-streams`: the number of requests
;; that this instance has seen, as a digit.
(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "x-chaos")
  (data (i32.const 32) "x-streams")
  (data (i32.const 48) "a line of the filter")
  ;; What is handed out by the allocator, and taken back after each request.
  (global $heap (mut i32) (i32.const 4096))
  (global $streams (mut i32) (i32.const 0))
  (global $kept (mut i32) (i32.const 131072))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $n i32) (result i32) (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (local.get $at)
      (i32.and (i32.add (local.get $n) (i32.const 7)) (i32.const -8))))
    (local.get $at))
  (func $recurse (call $recurse))
  ;; The next KiB, written to.
  (func $keep
    (if (i32.gt_u (i32.add (global.get $kept) (i32.const 1024))
                  (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))
    (memory.fill (global.get $kept) (i32.const 1) (i32.const 1024))
    (global.set $kept (i32.add (global.get $kept) (i32.const 1024))))
  (func $do (param $what i32) (local $i i32)
    (if (i32.eq (local.get $what) (i32.const 0x6c))
      (then
        ;; loop, or log.
        (if (i32.eq (i32.load8_u offset=2 (i32.load (i32.const 0))) (i32.const 0x6f))
          (then (loop $for_ever (br $for_ever))))
        (loop $again
          (drop (call $log (i32.const 2) (i32.const 48) (i32.const 20)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))))
    (if (i32.eq (local.get $what) (i32.const 0x72)) (then (call $recurse)))
    (if (i32.eq (local.get $what) (i32.const 0x62))
      (then
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then unreachable))
    (if (i32.eq (local.get $what) (i32.const 0x77))
      (then
        (drop (call $get (i32.const 0) (i32.const -8) (i32.const 64) (i32.const -4) (i32.const -4)))
        (i32.store (i32.const -16) (i32.const 1))))
    (if (i32.eq (local.get $what) (i32.const 0x68))
      (then (loop $calls (drop (call $time (i32.const 8))) (br $calls))))
    (if (i32.eq (local.get $what) (i32.const 0x66))
      (then
        (loop $fills
          (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536))
          (br $fills))))
    (if (i32.eq (local.get $what) (i32.const 0x6b)) (then (call $keep))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $heap (i32.const 4096))
    (global.set $streams (i32.add (global.get $streams) (i32.const 1)))
    (if (i32.eqz (call $get (i32.const 0) (i32.const 16) (i32.const 7)
                            (i32.const 0) (i32.const 4)))
      (then (call $do (i32.load8_u (i32.load (i32.const 0))))))
    (i32.store8 (i32.const 12)
      (i32.add (i32.const 48) (i32.rem_u (global.get $streams) (i32.const 10))))
    (drop (call $add (i32.const 0) (i32.const 32) (i32.const 9)
                     (i32.const 12) (i32.const 1)))
    (i32.const 0)))
