//! WASI preview 1.

use weir_abi::VmConfig;

use crate::guest::Guest;
use crate::signatures::{WASI, params};
use crate::world::{NOW, Rig, UPTIME, in_request_headers, start};

#[test]
fn every_function_links_under_both_names_and_answers_its_errno() {
    for namespace in ["wasi_snapshot_preview1", "wasi_unstable"] {
        let mut guest = Guest::new();
        let mut script = String::new();
        for (name, letters, _) in WASI {
            let ty = format!("${name} (param{}) (result i32)", params(letters));
            guest = guest.raw_import(namespace, name, &ty);
            let zeros: String = letters
                .chars()
                .map(|c| format!("({}.const 0)", if c == 'I' { "i64" } else { "i32" }))
                .collect();
            script += &format!("(call $report (call ${name} {zeros}) (i32.const 0))\n");
        }
        let rig = Rig::new(&guest.on("proxy_on_request_headers", &script));
        rig.request_headers();
        let told = rig.told();
        assert_eq!(told.len(), WASI.len());
        for ((name, _, errno), told) in WASI.iter().zip(told) {
            assert_eq!(told, errno.to_string(), "{namespace}.{name}");
        }
    }
}

#[test]
fn what_can_be_done_to_the_log_streams_succeeds() {
    let script = "fd_tell 2 16
                  fd_fdstat_set_rights 1 0L 0L
                  fd_filestat_set_size 1 0L
                  fd_filestat_set_times 2 0L 0L 0
                  fd_allocate 1 0L 0L
                  fd_datasync 1
                  fd_sync 2
                  fd_renumber 1 2
                  fd_renumber 1 3";
    let expected = ["0", "0", "0", "0", "0", "0", "0", "58", "8"];
    assert_eq!(in_request_headers(script), expected);
}

#[test]
fn the_log_streams_have_the_right_to_write_and_no_other() {
    let script = "fd_fdstat_get 1 64
                  fd_fdstat_get 3 64
                  (memory.copy (i32.const 16) (i32.const 64) (i32.const 8))
                  (call $report (i32.const 0) (i32.const 4))
                  (memory.copy (i32.const 16) (i32.const 72) (i32.const 8))
                  (call $report (i32.const 0) (i32.const 4))
                  (memory.copy (i32.const 16) (i32.const 80) (i32.const 8))
                  (call $report (i32.const 0) (i32.const 4))";
    assert_eq!(in_request_headers(script), ["0", "8", "0 0", "0 64", "0 0"]);
}

/// Writes these texts, an iovec each, to `fd`; the errno and the bytes written.
fn written(fd: u32, texts: &[&str]) -> Vec<String> {
    let mut script = String::new();
    for i in 0..texts.len() {
        let at = 64 + 8 * i;
        script += &format!(
            "(call $iovec (i32.const {at}) (global.get $address{i}) (global.get $length{i}))\n"
        );
    }
    script += &format!(
        "(call $report (call $fd_write (i32.const {fd}) (i32.const 64) (i32.const {}) \
         (i32.const 16)) (i32.const 2))",
        texts.len()
    );
    let mut guest = Guest::new().importing("fd_write").text(
        "(func $iovec (param $at i32) (param $p i32) (param $n i32)
           (i32.store (local.get $at) (local.get $p))
           (i32.store offset=4 (local.get $at) (local.get $n)))",
    );
    for (i, text) in texts.iter().enumerate() {
        let bytes: String = text.bytes().map(|b| format!("\\{b:02x}")).collect();
        let (address, length) = (4096 + 256 * i, text.len());
        guest = guest.text(&format!(
            "(data (i32.const {address}) \"{bytes}\")
             (global $address{i} i32 (i32.const {address}))
             (global $length{i} i32 (i32.const {length}))"
        ));
    }
    let rig = Rig::new(&guest.on("proxy_on_request_headers", &script));
    rig.request_headers();
    rig.told()
}

#[test]
fn standard_output_is_logged_at_info_and_standard_error_at_error() {
    assert_eq!(written(1, &["hello"]), ["Info: hello", "0 5"]);
    assert_eq!(written(2, &["oh no"]), ["Error: oh no", "0 5"]);
    assert_eq!(written(3, &["nowhere"]), ["8"]);
}

#[test]
fn one_newline_at_the_end_is_cut_and_still_counts_as_written() {
    assert_eq!(written(1, &["hello\n"]), ["Info: hello", "0 6"]);
    assert_eq!(written(1, &["a\nb\n\n"]), ["Info: a\nb\n", "0 5"]);
}

#[test]
fn the_parts_of_one_write_are_one_line() {
    assert_eq!(written(1, &["a", "", "bc"]), ["Info: abc", "0 3"]);
}

#[test]
fn an_empty_write_logs_nothing() {
    assert_eq!(written(1, &[""]), ["0 0"]);
    assert_eq!(written(2, &[]), ["0 0"]);
}

#[test]
fn more_parts_than_the_limit_or_parts_outside_the_memory_are_refused() {
    let script = "fd_write 1 64 1025 16
                  fd_write 1 64 4294967295 16
                  fd_write 1 4294967292 1 16
                  fd_write 1 64 1 4294967295
                  (i32.store (i32.const 64) (i32.const 0x7fffffff))
                  (i32.store (i32.const 68) (i32.const 1))
                  fd_write 1 64 1 16";
    assert_eq!(in_request_headers(script), ["28", "28", "21", "21", "21"]);
}

#[test]
fn random_bytes_come_up_to_the_limit() {
    let script = "random_get 131072 0
                  random_get 131072 32
                  random_get 131072 65536
                  random_get 131072 65537
                  random_get 4294967295 32";
    assert_eq!(in_request_headers(script), ["0", "0", "0", "28", "21"]);
}

#[test]
fn random_bytes_are_not_always_the_same() {
    let script = "random_get 16 8
                  (call $report (i32.const 0) (i32.const 4))";
    assert_ne!(in_request_headers(script)[1], in_request_headers(script)[1]);
}

#[test]
fn the_clocks_are_those_of_the_host() {
    let script = "clock_time_get 0 1L 16
                  (call $report (i32.const 0) (i32.const 4))
                  clock_time_get 1 1L 16
                  (call $report (i32.const 0) (i32.const 4))
                  clock_time_get 2 1L 16
                  clock_res_get 1 16
                  (call $report (i32.const 0) (i32.const 4))
                  clock_res_get 2 16
                  clock_time_get 0 1L 4294967290";
    let (now, uptime) = (format!("0 {NOW}"), format!("0 {UPTIME}"));
    let expected = ["0", &now, "0", &uptime, "58", "0", "0 1", "58", "21"];
    assert_eq!(in_request_headers(script), expected);
}

#[test]
fn the_environment_is_what_the_vm_was_given_and_nothing_else() {
    let environment = [("REGION", "eu"), ("EMPTY", "")];
    let config = VmConfig {
        environment: environment.map(|(k, v)| (k.into(), v.into())).to_vec(),
        ..VmConfig::default()
    };
    let guest = Guest::new().on(
        "_initialize",
        "environ_sizes_get 16 20
         (call $report (i32.const 0) (i32.const 3))
         environ_get 64 128
         (call $report_at (i32.load (i32.const 64)) (i32.const 9))
         (call $report_at (i32.load (i32.const 68)) (i32.const 6))
         environ_get 4294967295 128
         environ_get 64 4294967295",
    );
    let guest = guest.text(
        "(func $report_at (param $p i32) (param $n i32)
           (i32.store (i32.const 16) (local.get $p))
           (i32.store (i32.const 20) (local.get $n))
           (call $report (i32.const 0) (i32.const 1)))",
    );
    let (host, vm) = start(&guest, config);
    vm.unwrap();
    assert_eq!(
        host.journal.take(),
        ["0", "0 2 17", "0", "0 REGION=eu", "0 EMPTY=", "21", "21"]
    );
}

#[test]
fn there_are_no_arguments_and_by_default_no_environment() {
    let script = "args_sizes_get 16 20
                  (call $report (i32.const 0) (i32.const 3))
                  environ_sizes_get 16 20
                  (call $report (i32.const 0) (i32.const 3))";
    assert_eq!(in_request_headers(script), ["0", "0 0 0", "0", "0 0 0"]);
}

#[test]
fn stubs_zero_what_they_would_hand_back() {
    let script = "(i32.store (i32.const 16) (i32.const -1))
                  poll_oneoff 0 0 0 16
                  (call $report (i32.const 0) (i32.const 2))
                  (i32.store (i32.const 16) (i32.const -1))
                  fd_readdir 0 0 0 0L 16
                  (call $report (i32.const 0) (i32.const 2))
                  poll_oneoff 0 0 0 4294967295
                  sock_recv 0 0 0 0 16 4294967295";
    assert_eq!(
        in_request_headers(script),
        ["0", "0 0", "20", "0 0", "21", "21"]
    );
}
