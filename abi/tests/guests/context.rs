//! The effective context: which stream hostcalls act on.

use weir_abi::{HeadersStatus, VmConfig};

use crate::guest::Guest;
use crate::world::{Rig, plugin, start};

#[test]
fn a_root_callback_acts_on_the_stream_it_chooses() {
    let guest = Guest::new().on("proxy_on_request_headers", "return 1").on(
        "proxy_on_tick",
        "get_header_map_value 0 ':path'
         set_effective_context 2
         get_header_map_value 0 ':path'",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["2", "0", "0 /shop?q=1#top"]);
}

#[test]
fn one_stream_can_act_on_another() {
    let guest = Guest::new().on("proxy_on_request_headers", "return 1").on(
        "proxy_on_response_headers",
        "set_effective_context 3
             add_header_map_value 0 'x-from' 'two'
             continue_stream 0",
    );
    let rig = Rig::new(&guest);
    let (other, id) = rig.another_stream();
    rig.vm.on_request_headers(id, false).unwrap();
    rig.response_headers();
    let expected = ["0", "route cleared", "0", "0", "1 continues Request"];
    assert_eq!(rig.told(), expected);
    let text = |stream: &crate::world::TestStream| stream.text(weir_abi::HttpMap::RequestHeaders);
    assert!(text(&other).ends_with("x-from=two"));
    assert!(!text(&rig.stream).contains("x-from"));
}

#[test]
fn an_unknown_or_ended_context_is_a_bad_argument_and_changes_nothing() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "set_effective_context 9
         get_header_map_value 0 'x-one'
         set_effective_context 3
         get_header_map_value 0 'x-one'",
    );
    let rig = Rig::new(&guest);
    let (_, id) = rig.another_stream();
    rig.vm.delete_stream(id).unwrap();
    rig.request_headers();
    assert_eq!(rig.told(), ["2", "0 1", "2", "0 1"]);
}

#[test]
fn context_0_is_the_one_the_guest_was_called_for() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "set_effective_context 1
         get_header_map_value 0 'x-one'
         set_effective_context 0
         get_header_map_value 0 'x-one'",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), ["0", "2", "0", "0 1"]);
}

#[test]
fn the_choice_ends_with_the_callback() {
    let guest = Guest::new().on("proxy_on_request_headers", "return 1").on(
        "proxy_on_tick",
        "get_header_map_value 0 ':path'
             set_effective_context 2",
    );
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.vm.on_tick(rig.root).unwrap();
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["2", "0", "2", "0"]);
}

#[test]
fn the_context_of_another_plugin_of_the_vm_can_be_chosen() {
    let guest = Guest::new().on(
        "proxy_on_tick",
        "set_effective_context 1
         get_property 'plugin_name'
         log 2 'mine'
         set_tick_period_milliseconds 5",
    );
    let (host, vm) = start(&guest, VmConfig::default());
    let vm = vm.unwrap();
    vm.start_plugin(plugin("a")).unwrap();
    let b = vm.start_plugin(plugin("b")).unwrap();
    vm.on_tick(b).unwrap();
    assert_eq!(
        host.journal.take(),
        ["0", "0 a", "Info: mine", "0", "tick of 1: Some(5ms)", "0"]
    );
    let origin = ("a".to_owned(), "a-root".to_owned(), String::new(), 1);
    assert_eq!(*host.origins.borrow(), [origin]);
}

#[test]
fn a_line_of_a_stream_carries_its_plugin_and_its_number() {
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", "log 3 'x'\nlog 6 'y'"));
    rig.request_headers();
    assert_eq!(rig.told(), ["Warn: x", "0", "2"]);
    let origin = ("test".to_owned(), "test-root".to_owned(), String::new(), 2);
    assert_eq!(*rig.host.origins.borrow(), [origin]);
}

#[test]
fn an_answer_to_another_stream_does_not_stop_the_one_at_hand() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "set_effective_context 3
         send_local_response 403 '' '' '' -1",
    );
    let rig = Rig::new(&guest);
    rig.another_stream();
    assert_eq!(rig.request_headers(), HeadersStatus::Continue);
    assert!(rig.told()[2].starts_with("1 answers 403 "));
}

#[test]
fn clock_level_and_status_are_those_of_the_host() {
    let script = "get_current_time_nanoseconds
                  get_log_level
                  get_status 16 20 24
                  (call $report (i32.const 0) (i32.const 3))";
    let told = crate::world::in_request_headers(script);
    let now = format!("0 {}", crate::world::NOW);
    assert_eq!(told, [&now, "0 2", "0", "0 0 0"]);
}
