//! The life of root and stream contexts, callback by callback.

use std::rc::Rc;

use weir_abi::{
    BodyStatus, Direction, HeadersStatus, PluginConfig, PluginError, TrailersStatus, Vm, VmConfig,
};

use crate::guest::Guest;
use crate::signatures::CALLBACKS;
use crate::world::{Rig, TestStream, plugin, start};

/// A guest that tells of every callback.
fn telling() -> Guest {
    let callbacks = CALLBACKS
        .iter()
        .filter(|(n, ..)| n.starts_with("proxy_on_"));
    callbacks.fold(Guest::new(), |guest, (name, ..)| guest.on(name, "args"))
}

fn vm(guest: &Guest) -> Vm {
    start(guest, VmConfig::default()).1.unwrap()
}

#[test]
fn a_root_context_is_created_started_and_configured() {
    let config = VmConfig {
        configuration: "seven b".into(),
        ..VmConfig::default()
    };
    let (host, vm) = start(&telling(), config);
    let root = vm.unwrap().start_plugin(plugin("p")).unwrap();
    assert_eq!(root.0, 1);
    assert_eq!(
        host.journal.take(),
        [
            "proxy_on_context_create(1, 0)",
            "proxy_on_vm_start(1, 7)",
            "proxy_on_configure(1, 20)",
        ]
    );
}

#[test]
fn every_plugin_of_a_vm_is_started_and_numbered_on() {
    let (host, vm) = start(&telling(), VmConfig::default());
    let vm = vm.unwrap();
    vm.start_plugin(PluginConfig::default()).unwrap();
    host.journal.take();
    vm.start_plugin(PluginConfig::default()).unwrap();
    assert_eq!(
        host.journal.take(),
        [
            "proxy_on_context_create(2, 0)",
            "proxy_on_vm_start(2, 0)",
            "proxy_on_configure(2, 0)",
        ]
    );
}

#[test]
fn a_stream_lives_through_its_callbacks_in_order() {
    let rig = Rig::new(&telling());
    let (stream, id) = rig.another_stream();
    let vm = &rig.vm;
    assert_eq!(vm.active_streams(), 2);
    vm.on_request_headers(id, false).unwrap();
    vm.on_body(id, Direction::Request, 6, false).unwrap();
    vm.on_body(id, Direction::Request, 0, true).unwrap();
    vm.on_trailers(id, Direction::Request).unwrap();
    vm.on_response_headers(id, true).unwrap();
    vm.on_body(id, Direction::Response, 9, true).unwrap();
    vm.on_trailers(id, Direction::Response).unwrap();
    vm.on_log(id).unwrap();
    vm.delete_stream(id).unwrap();
    assert_eq!(
        rig.told(),
        [
            "proxy_on_context_create(3, 1)",
            "proxy_on_request_headers(3, 8, 0)",
            "proxy_on_request_body(3, 6, 0)",
            "proxy_on_request_body(3, 0, 1)",
            "proxy_on_request_trailers(3, 1)",
            "proxy_on_response_headers(3, 2, 1)",
            "proxy_on_response_body(3, 9, 1)",
            "proxy_on_response_trailers(3, 1)",
            "proxy_on_log(3)",
            "proxy_on_done(3)",
            "proxy_on_delete(3)",
        ]
    );
    assert_eq!(vm.active_streams(), 1);
    assert_eq!(Rc::strong_count(&stream), 1);
}

#[test]
fn headers_callbacks_of_0_1_0_are_not_told_the_end_of_the_stream() {
    let guest = Guest::new()
        .markers(&["proxy_abi_version_0_1_0"])
        .on_with("proxy_on_request_headers", 2, Some(0), "args")
        .on_with("proxy_on_response_headers", 2, Some(3), "args");
    let rig = Rig::new(&guest);
    assert_eq!(rig.request_headers(), HeadersStatus::Continue);
    assert_eq!(rig.response_headers(), HeadersStatus::StopAllAndBuffer);
    assert_eq!(
        rig.told(),
        [
            "proxy_on_request_headers(2, 8)",
            "proxy_on_response_headers(2, 2)"
        ]
    );
}

#[test]
fn a_module_without_callbacks_continues_everything() {
    let rig = Rig::new(&Guest::new());
    let vm = &rig.vm;
    assert_eq!(rig.request_headers(), HeadersStatus::Continue);
    let body = vm.on_body(rig.context, Direction::Request, 1, true);
    assert_eq!(body, Ok(BodyStatus::Continue));
    let trailers = vm.on_trailers(rig.context, Direction::Response);
    assert_eq!(trailers, Ok(TrailersStatus::Continue));
    vm.on_log(rig.context).unwrap();
    vm.delete_stream(rig.context).unwrap();
    vm.on_tick(rig.root).unwrap();
    vm.stop_plugin(rig.root).unwrap();
    assert_eq!(rig.told(), ["tick of 1: None"]);
}

#[test]
fn results_have_the_meaning_that_envoy_gives_them() {
    use BodyStatus::{StopAndBuffer, StopAndWatermark, StopNoBuffer};
    use HeadersStatus::{Continue, StopAllAndBuffer, StopAllAndWatermark};
    for (result, headers, body) in [
        (0, Continue, BodyStatus::Continue),
        (1, StopAllAndWatermark, StopAndBuffer),
        (2, Continue, StopAndWatermark),
        (3, StopAllAndBuffer, StopNoBuffer),
        (4, StopAllAndWatermark, StopNoBuffer),
        (99, StopAllAndWatermark, StopNoBuffer),
    ] {
        let back = format!("return {result}");
        let rig = Rig::new(
            &Guest::new()
                .on("proxy_on_request_headers", &back)
                .on("proxy_on_response_body", &back)
                .on("proxy_on_request_trailers", &back),
        );
        assert_eq!(rig.request_headers(), headers, "{result}");
        let told = rig.vm.on_body(rig.context, Direction::Response, 1, false);
        assert_eq!(told, Ok(body), "{result}");
        let trailers = rig.vm.on_trailers(rig.context, Direction::Request);
        assert_eq!(trailers == Ok(TrailersStatus::Continue), result == 0);
    }
}

#[test]
fn a_pause_holds_the_headers_alone_where_the_plugin_allows_it() {
    let vm = vm(&Guest::new().on("proxy_on_request_headers", "return 1"));
    let config = PluginConfig {
        allow_on_headers_stop_iteration: true,
        ..PluginConfig::default()
    };
    let root = vm.start_plugin(config).unwrap();
    let stream = Rc::new(TestStream::new(crate::world::Journal::default()));
    let id = vm.create_stream(root, stream, 0).unwrap();
    let status = vm.on_request_headers(id, false);
    assert_eq!(status, Ok(HeadersStatus::StopIteration));
}

#[test]
fn a_vm_start_that_returns_0_is_a_refusal_and_nothing_follows() {
    let guest = Guest::new()
        .on("proxy_on_vm_start", "return 0")
        .on("proxy_on_configure", "args");
    let (host, vm) = start(&guest, VmConfig::default());
    let vm = vm.unwrap();
    let refusal = vm.start_plugin(PluginConfig::default());
    assert_eq!(refusal, Err(PluginError::VmStart));
    assert_eq!(host.journal.take(), ["tick of 1: None"]);
    assert!(vm.failure().is_none());
}

#[test]
fn a_configure_that_returns_0_is_a_refusal_and_its_timer_is_stopped() {
    let guest = Guest::new()
        .on("proxy_on_vm_start", "set_tick_period_milliseconds 100")
        .on("proxy_on_configure", "return 0")
        .on("proxy_on_tick", "args");
    let (host, vm) = start(&guest, VmConfig::default());
    let vm = vm.unwrap();
    let refusal = vm.start_plugin(PluginConfig::default());
    assert_eq!(refusal, Err(PluginError::Configure));
    let told = host.journal.take();
    assert_eq!(told, ["tick of 1: Some(100ms)", "0", "tick of 1: None"]);
    vm.on_tick(weir_abi::ContextId(1)).unwrap();
    assert!(host.journal.take().is_empty());
}

#[test]
fn a_trap_while_a_plugin_starts_is_the_vms_failure() {
    for name in [
        "proxy_on_context_create",
        "proxy_on_vm_start",
        "proxy_on_configure",
    ] {
        let vm = vm(&Guest::new().on(name, "trap"));
        let failed = vm.start_plugin(PluginConfig::default());
        assert_eq!(failed, Err(PluginError::Failed));
        assert_eq!(vm.failure().unwrap().callback, name);
    }
}

#[test]
fn a_root_context_that_is_done_is_deleted_at_once() {
    let rig = Rig::new(&telling());
    rig.told();
    rig.vm.stop_plugin(rig.root).unwrap();
    let expected = ["proxy_on_done(1)", "proxy_on_delete(1)", "tick of 1: None"];
    assert_eq!(rig.told(), expected);
    rig.vm.on_tick(rig.root).unwrap();
    rig.vm.stop_plugin(rig.root).unwrap();
    assert!(rig.told().is_empty());
}

#[test]
fn a_root_context_that_asks_for_time_is_deleted_when_it_calls_done() {
    let guest = Guest::new()
        .on("proxy_on_done", "return 0")
        .on("proxy_on_tick", "done\nlog 2 'still here'\ndone")
        .on("proxy_on_delete", "args");
    let rig = Rig::new(&guest);
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["1", "Info: still here", "0", "1"]);
    rig.vm.stop_plugin(rig.root).unwrap();
    assert!(rig.told().is_empty());
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(
        rig.told(),
        [
            "0",
            "Info: still here",
            "0",
            "1",
            "proxy_on_delete(1)",
            "tick of 1: None"
        ]
    );
}

#[test]
fn a_stream_is_deleted_whatever_its_done_returns() {
    let guest = Guest::new()
        .on("proxy_on_done", "done\nreturn 0")
        .on("proxy_on_delete", "args\ndone");
    let rig = Rig::new(&guest);
    rig.vm.delete_stream(rig.context).unwrap();
    assert_eq!(rig.told(), ["1", "proxy_on_delete(2)", "1"]);
}

#[test]
fn a_stream_sets_the_tick_of_its_root_and_0_stops_it() {
    let script = "set_tick_period_milliseconds 250\nset_tick_period_milliseconds 0";
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", script));
    rig.request_headers();
    let expected = ["tick of 1: Some(250ms)", "0", "tick of 1: None", "0"];
    assert_eq!(rig.told(), expected);
}

#[test]
fn a_stream_of_an_unknown_root_is_refused() {
    let rig = Rig::new(&telling());
    let stream = Rc::new(TestStream::new(rig.journal.clone()));
    assert!(
        rig.vm
            .create_stream(rig.context, stream.clone(), 0)
            .is_err()
    );
    assert!(
        rig.vm
            .create_stream(weir_abi::ContextId(9), stream, 0)
            .is_err()
    );
    assert!(rig.vm.on_log(weir_abi::ContextId(9)).is_err());
    assert!(rig.vm.failure().is_none());
}
