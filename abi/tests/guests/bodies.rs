//! Bodies and configurations.

use weir_abi::{Direction, VmConfig};

use crate::guest::Guest;
use crate::world::{Rig, in_request_headers, plugin, start};

/// What a guest reports that does this with the request body `abcdef`, and the
/// body after it.
fn with_body(script: &str) -> (Vec<String>, String) {
    let rig = Rig::new(&Guest::new().on("proxy_on_request_body", script));
    rig.stream.set_body(Direction::Request, "abcdef");
    let body = rig.vm.on_body(rig.context, Direction::Request, 6, false);
    assert!(body.is_ok());
    (rig.told(), rig.stream.body_text(Direction::Request))
}

#[test]
fn a_body_is_read_in_part_and_clipped_at_its_end() {
    let script = "get_buffer_bytes 0 0 100
                  get_buffer_bytes 0 2 3
                  get_buffer_bytes 0 5 10
                  get_buffer_bytes 0 1 4294967295";
    let (told, _) = with_body(script);
    assert_eq!(told, ["0 abcdef", "0 cde", "0 f", "0 bcdef"]);
}

#[test]
fn nothing_to_read_is_a_null_pointer() {
    for range in ["0 0", "6 10", "7 1", "4294967295 4294967295"] {
        let (told, _) = with_body(&format!("get_buffer_bytes 0 {range}"));
        assert_eq!(told, ["0 null 0"], "{range}");
    }
}

#[test]
fn a_body_tells_its_length_and_no_flags() {
    let (told, _) = with_body("get_buffer_status 0");
    assert_eq!(told, ["0 6 0"]);
}

#[test]
fn a_body_is_changed_at_its_ends_only() {
    for (change, status, after) in [
        ("0 0 'PRE-'", "0", "PRE-abcdef"),
        ("0 2 'xx'", "0", "xxcdef"),
        ("0 5 ''", "0", "f"),
        ("0 6 'ALL'", "0", "ALL"),
        ("0 1000 'ALL'", "0", "ALL"),
        ("0 4294967295 ''", "0", ""),
        ("6 0 '-APP'", "0", "abcdef-APP"),
        ("100 5 'FAR'", "0", "abcdefFAR"),
        ("4294967295 4294967295 'FAR'", "0", "abcdefFAR"),
        ("2 3 'MID'", "2", "abcdef"),
        ("3 4294967295 'CUT'", "2", "abcdef"),
    ] {
        let (told, text) = with_body(&format!("set_buffer_bytes 0 {change}"));
        assert_eq!(
            (told, text.as_str()),
            (vec![status.into()], after),
            "{change}"
        );
    }
}

#[test]
fn a_change_is_seen_by_the_next_read() {
    let script = "set_buffer_bytes 0 0 4294967295 ''
                  set_buffer_bytes 0 0 0 'new'
                  get_buffer_bytes 0 0 10";
    assert_eq!(with_body(script).0, ["0", "0", "0 new"]);
}

#[test]
fn outside_its_callback_a_body_is_empty_and_cannot_be_set() {
    for (buffer, status) in [(0, "0 0 0"), (1, "0 0 0")] {
        let script = format!(
            "get_buffer_bytes {buffer} 0 10
             get_buffer_status {buffer}
             set_buffer_bytes {buffer} 0 0 'BODY'"
        );
        let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", &script));
        rig.stream.set_body(Direction::Request, "abcdef");
        rig.stream.set_body(Direction::Response, "abcdef");
        rig.request_headers();
        assert_eq!(rig.told(), ["0 null 0", status, "2"], "{buffer}");
    }
}

#[test]
fn a_root_callback_sees_empty_bodies() {
    let script = "get_buffer_bytes 0 0 10
                  get_buffer_status 1
                  set_buffer_bytes 0 0 3 'XYZ'";
    let rig = Rig::new(&Guest::new().on("proxy_on_tick", script));
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["0 null 0", "0 0 0", "2"]);
}

#[test]
fn a_held_body_stays_in_reach_until_the_pause_ends() {
    let guest = Guest::new().on("proxy_on_request_body", "return 1").on(
        "proxy_on_tick",
        "set_effective_context 2
         get_buffer_bytes 0 0 10
         set_buffer_bytes 0 0 3 'XYZ'
         continue_stream 0
         get_buffer_bytes 0 0 10
         set_buffer_bytes 0 0 3 'abc'",
    );
    let rig = Rig::new(&guest);
    rig.stream.set_body(Direction::Request, "abcdef");
    let body = rig.vm.on_body(rig.context, Direction::Request, 6, true);
    assert!(body.is_ok());
    rig.vm.on_tick(rig.root).unwrap();
    let expected = [
        "0",
        "0 abcdef",
        "0",
        "0",
        "0 null 0",
        "2",
        "0 continues Request",
    ];
    assert_eq!(rig.told(), expected);
    assert_eq!(rig.stream.body_text(Direction::Request), "XYZdef");
}

#[test]
fn a_body_that_went_on_is_out_of_reach_afterwards() {
    let rig = Rig::new(&Guest::new().on("proxy_on_response_headers", "get_buffer_bytes 0 0 10"));
    rig.stream.set_body(Direction::Request, "abcdef");
    let body = rig.vm.on_body(rig.context, Direction::Request, 6, true);
    assert!(body.is_ok());
    rig.response_headers();
    assert_eq!(rig.told(), ["0 null 0"]);
}

#[test]
fn buffers_of_callouts_and_connections_answer_as_in_envoy() {
    for (buffer, get, size, set) in [
        (2, "0 null 0", "0 0 0", "2"),
        (3, "0 null 0", "0 0 0", "2"),
        (4, "1", "1", "1"),
        (5, "0 null 0", "0 0 0", "2"),
        (6, "0 null 0", "0 0 0", "2"),
        (7, "1", "1", "1"),
        (8, "0 null 0", "0 0 0", "2"),
        (9, "2", "2", "2"),
        (99, "2", "2", "2"),
    ] {
        let told = in_request_headers(&format!(
            "get_buffer_bytes {buffer} 0 10
             get_buffer_status {buffer}
             set_buffer_bytes {buffer} 0 0 'x'"
        ));
        assert_eq!(told, [get, size, set], "{buffer}");
    }
}

#[test]
fn the_plugin_configuration_is_readable_while_its_root_is_created_or_configured() {
    let read = "get_buffer_bytes 7 0 100";
    let guest = Guest::new()
        .on("proxy_on_context_create", read)
        .on("proxy_on_vm_start", read)
        .on(
            "proxy_on_configure",
            "get_buffer_bytes 7 7 100
             get_buffer_status 7
             set_buffer_bytes 7 0 0 'x'",
        )
        .on("proxy_on_tick", read);
    let (host, vm) = start(&guest, VmConfig::default());
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    vm.on_tick(root).unwrap();
    assert_eq!(
        host.journal.take(),
        [
            "0 plugin configuration",
            "1",
            "0 configuration",
            "0 20 0",
            "2",
            "1"
        ]
    );
}

#[test]
fn the_vm_configuration_is_readable_at_any_time() {
    let config = VmConfig {
        configuration: "of the vm".into(),
        ..VmConfig::default()
    };
    let read = "get_buffer_bytes 6 0 100";
    let guest = Guest::new()
        .on("proxy_on_vm_start", read)
        .on("proxy_on_configure", read)
        .on("proxy_on_tick", "get_buffer_status 6");
    let (host, vm) = start(&guest, config);
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    vm.on_tick(root).unwrap();
    assert_eq!(host.journal.take(), ["0 of the vm", "0 of the vm", "0 9 0"]);
}

#[test]
fn get_configuration_of_0_1_0_gives_that_of_the_plugin_then_that_of_the_vm() {
    let config = VmConfig {
        configuration: "of the vm".into(),
        ..VmConfig::default()
    };
    let guest = Guest::new()
        .markers(&["proxy_abi_version_0_1_0"])
        .on("proxy_on_context_create", "get_configuration")
        .on("proxy_on_vm_start", "get_configuration")
        .on("proxy_on_configure", "get_configuration")
        .on("proxy_on_tick", "get_configuration");
    let (host, vm) = start(&guest, config);
    let vm = vm.unwrap();
    let root = vm.start_plugin(plugin("p")).unwrap();
    vm.on_tick(root).unwrap();
    assert_eq!(
        host.journal.take(),
        [
            "0 plugin configuration",
            "0 of the vm",
            "0 plugin configuration",
            "0 of the vm"
        ]
    );
}
