(module
  (import "env" "proxy_set_effective_context" (func $act_for (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $local (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $buf (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes"
    (func $setbuf (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "x-rzzzz")
  (global $seed (mut i32) (i32.const 0))
  (global $may (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))

  ;; A number below $n.
  (func $next (param $n i32) (result i32)
    (global.set $seed (i32.add (i32.const 1013904223)
      (i32.mul (global.get $seed) (i32.const 1664525))))
    (i32.rem_u (i32.shr_u (global.get $seed) (i32.const 16)) (local.get $n)))
  (func $one_in (param $n i32) (result i32) (i32.eqz (call $next (local.get $n))))
  (func $may_one_in (param $what i32) (param $n i32) (result i32)
    (i32.and (i32.ne (i32.and (global.get $may) (local.get $what)) (i32.const 0))
      (call $one_in (local.get $n))))

  (func $act (param $eos i32)
    (if (call $one_in (i32.const 6)) (then
      (drop (call $act_for (call $next (i32.const 20))))))
    (if (call $one_in (i32.const 4)) (then
      (drop (call $continue (call $next (i32.const 2))))))
    (if (call $one_in (i32.const 6)) (then
      (drop (call $add (call $next (i32.const 4))
        (i32.const 64) (i32.const 3) (i32.const 67) (i32.const 4)))))
    (if (i32.and (local.get $eos) (call $one_in (i32.const 3))) (then
      (drop (call $add (i32.const 1)
        (i32.const 64) (i32.const 3) (i32.const 67) (i32.const 4)))
      (drop (call $add (i32.const 3)
        (i32.const 64) (i32.const 3) (i32.const 67) (i32.const 4)))))
    (if (call $may_one_in (i32.const 1) (i32.const 4)) (then
      (drop (call $setbuf (call $next (i32.const 2)) (call $next (i32.const 9))
        (call $next (i32.const 9)) (i32.const 67) (call $next (i32.const 5))))))
    (if (call $may_one_in (i32.const 2) (i32.const 12)) (then
      (drop (call $local (i32.const 403) (i32.const 67) (i32.const 4) (i32.const 67)
        (call $next (i32.const 5)) (i32.const 0) (i32.const 0) (i32.const -1)))))
    (if (call $may_one_in (i32.const 4) (i32.const 40)) (then
      (drop (call $close (call $next (i32.const 2))))))
    (if (call $may_one_in (i32.const 8) (i32.const 40)) (then (unreachable)))
    (drop (call $act_for (i32.const 0))))

  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $buf (i32.const 7) (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 20)))
    (global.set $seed (i32.load (i32.load (i32.const 16))))
    (global.set $may (i32.load offset=4 (i32.load (i32.const 16))))
    (i32.const 1))
  (func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
    (if (local.get $parent) (then (call $act (i32.const 0)))))
  (func (export "proxy_on_tick") (param i32)
    (drop (call $act_for (call $next (i32.const 20))))
    (call $act (i32.const 0)))
  (func (export "proxy_on_log") (param i32) (call $act (i32.const 0)))
  (func (export "proxy_on_done") (param i32) (result i32)
    (call $act (i32.const 0)) (call $next (i32.const 2)))
  (func (export "proxy_on_delete") (param i32) (call $act (i32.const 0)))

  ;; Mostly 0, else 1, 3 or 4.
  (func $headers (export "proxy_on_request_headers")
    (param i32 i32) (param $eos i32) (result i32) (local $r i32)
    (call $act (local.get $eos))
    (local.set $r (call $next (i32.const 7)))
    (if (i32.lt_u (local.get $r) (i32.const 4)) (then (return (i32.const 0))))
    (if (i32.eq (local.get $r) (i32.const 4)) (then (return (i32.const 1))))
    (i32.sub (local.get $r) (i32.const 2)))
  (export "proxy_on_response_headers" (func $headers))
  (func $body (export "proxy_on_request_body")
    (param i32 i32) (param $eos i32) (result i32)
    (call $act (local.get $eos))
    (if (call $may_one_in (i32.const 1) (i32.const 9)) (then (return (i32.const 3))))
    (if (call $one_in (i32.const 2)) (then (return (i32.const 0))))
    (call $next (i32.const 3)))
  (export "proxy_on_response_body" (func $body))
  (func $trailers (export "proxy_on_request_trailers") (param i32 i32) (result i32)
    (call $act (i32.const 0))
    (call $one_in (i32.const 3)))
  (export "proxy_on_response_trailers" (func $trailers)))
