//! Callouts: tokens, ends, and what may be read when.

use std::time::Duration;

use bytes::Bytes;
use weir_abi::{CalloutError, CalloutToken, DnsAddress, DnsToken, HeaderMap, HttpCallResponse};

use crate::guest::Guest;
use crate::headers::pairs;
use crate::world::Rig;

fn http_call(timeout: &str) -> String {
    let headers = pairs(&[(":method", "GET"), (":path", "/"), ("host", "a")]);
    format!("http_call 'up' '{headers}' 0 0 0 0 {timeout}")
}

fn response() -> HttpCallResponse {
    let mut response = HttpCallResponse {
        headers: [(":status", "200"), ("x-a", "1")].into_iter().collect(),
        ..HttpCallResponse::default()
    };
    response.body.push(Bytes::from_static(b"body"));
    response
}

fn rig_that(script: &str) -> Rig {
    Rig::new(&Guest::new().on("proxy_on_request_headers", script))
}

fn told(script: &str) -> Vec<String> {
    let rig = rig_that(script);
    rig.request_headers();
    let told = rig.told();
    // What is under way when the VM goes is told by other tests.
    rig.vm.discard();
    told
}

#[test]
fn tokens_count_up_by_kind_which_stands_in_the_low_bits() {
    let script = format!(
        "{}\n{}\ngrpc_call 'up' 's' 'm' 0 0 'x' 0\ngrpc_stream 'up' 's' 'm' 0 0\ngrpc_call 'up' 's' 'm' 0 0 'x' 0",
        http_call("0"),
        http_call("250")
    );
    assert_eq!(
        told(&script),
        [
            "call up GET None: 4",
            "0 4",
            "call up GET Some(250ms): 8",
            "0 8",
            "gRPC call m x: 5",
            "0 5",
            "gRPC stream m: 6",
            "0 6",
            "gRPC call m x: 9",
            "0 9",
        ]
    );
}

#[test]
fn a_call_without_mandatory_headers_or_with_a_negative_timeout_is_not_made() {
    assert_eq!(told("http_call 'up' 0 0 0 0 0 0 0"), ["2"]);
    assert_eq!(told(&http_call("-1")), ["2"]);
}

#[test]
fn a_host_that_makes_no_call_is_told_by_the_status() {
    for (error, http, grpc) in [
        (CalloutError::UnknownCluster, "2", "4"),
        (CalloutError::BadArgument, "2", "2"),
        (CalloutError::NotSent, "10", "10"),
        (CalloutError::Unsupported, "12", "12"),
    ] {
        let script = format!(
            "{}\ngrpc_call 'up' 's' 'm' 0 0 'x' 0\ngrpc_stream 'up' 's' 'm' 0 0",
            http_call("0")
        );
        let rig = rig_that(&script);
        rig.host.callouts.set(Some(error));
        rig.request_headers();
        assert_eq!(rig.told(), [http, grpc, grpc], "{error:?}");
        assert_eq!(rig.vm.active_callouts(), 0);
    }
}

#[test]
fn an_answer_is_readable_in_its_callback_only() {
    let read = "get_header_map_value 6 'x-a'\nget_header_map_pairs 7\nget_header_map_value 7 'x'\nget_buffer_bytes 4 1 2";
    let guest = Guest::new()
        .on("proxy_on_request_headers", &http_call("0"))
        .on(
            "proxy_on_http_call_response",
            &format!("args\n{read}\nset_buffer_bytes 4 0 9 'x'\nadd_header_map_value 6 'a' 'b'"),
        )
        .on("proxy_on_response_headers", read);
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    let token = CalloutToken(4);
    rig.vm
        .on_http_call_response(token, Some(response()))
        .unwrap();
    let root = rig.root.0;
    assert_eq!(
        rig.told(),
        [
            &format!("proxy_on_http_call_response({root}, 4, 2, 4, 0)")[..],
            "0 1",
            "0 null 0",
            "2",
            "0 od",
            "2",
            "2",
            "let go of 4",
        ]
    );
    rig.response_headers();
    assert_eq!(rig.told(), ["2", "0 null 0", "2", "1"]);
}

#[test]
fn a_call_ends_once() {
    let guest = Guest::new()
        .on("proxy_on_request_headers", &http_call("0"))
        .on("proxy_on_http_call_response", "args");
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    let token = CalloutToken(4);
    assert_eq!(rig.vm.active_callouts(), 1);
    rig.vm.on_http_call_response(token, None).unwrap();
    rig.vm
        .on_http_call_response(token, Some(response()))
        .unwrap();
    let root = rig.root.0;
    let end = format!("proxy_on_http_call_response({root}, 4, 0, 0, 0)");
    assert_eq!(rig.told(), [&end[..], "let go of 4"]);
    assert_eq!(rig.vm.active_callouts(), 0);
}

#[test]
fn a_call_survives_its_stream_and_dies_with_its_root() {
    let guest = Guest::new().on("proxy_on_request_headers", &http_call("0"));
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    rig.vm.delete_stream(rig.context).unwrap();
    assert_eq!(rig.vm.active_callouts(), 1);
    rig.vm.stop_plugin(rig.root).unwrap();
    assert_eq!(rig.told(), ["let go of 4", "tick of 1: None"]);
}

#[test]
fn a_failed_vm_lets_go_of_its_calls() {
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            &format!("{}\n{}", http_call("0"), http_call("0")),
        )
        .on("proxy_on_http_call_response", "trap");
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    let token = CalloutToken(4);
    assert!(rig.vm.on_http_call_response(token, None).is_err());
    let told = rig.told();
    assert!(told.contains(&"let go of 8".to_owned()), "{told:?}");
    assert!(told.contains(&"let go of 4".to_owned()), "{told:?}");
    assert!(rig.vm.on_http_call_response(CalloutToken(8), None).is_err());
}

#[test]
fn a_grpc_call_ends_with_its_message_or_its_status() {
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            "grpc_call 'up' 's' 'm' 0 0 'x' 0\ngrpc_call 'up' 's' 'm' 0 0 'x' 0",
        )
        .on("proxy_on_grpc_receive", "args\nget_buffer_bytes 5 0 10")
        .on("proxy_on_grpc_close", "args\nget_buffer_bytes 5 0 10");
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    let (first, second) = (CalloutToken(5), CalloutToken(9));
    let vm = &rig.vm;
    vm.on_grpc_message(first, Bytes::from_static(b"hi"))
        .unwrap();
    vm.on_grpc_close(first, 0, Bytes::new()).unwrap();
    vm.on_grpc_close(second, 7, Bytes::from_static(b"no"))
        .unwrap();
    vm.on_grpc_message(second, Bytes::from_static(b"hi"))
        .unwrap();
    let root = rig.root.0;
    assert_eq!(
        rig.told(),
        [
            &format!("proxy_on_grpc_receive({root}, 5, 2)")[..],
            "0 hi",
            "let go of 5",
            &format!("proxy_on_grpc_close({root}, 9, 7)"),
            "0 null 0",
            "let go of 9",
        ]
    );
}

#[test]
fn a_grpc_message_can_be_changed_by_its_guest() {
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            "grpc_call 'up' 's' 'm' 0 0 'x' 0",
        )
        .on(
            "proxy_on_grpc_receive",
            "set_buffer_bytes 5 0 1 'H'
             get_buffer_bytes 5 0 10
             set_buffer_bytes 5 9 0 '!'
             set_buffer_bytes 5 1 1 'x'
             get_buffer_bytes 5 1 10",
        );
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.told();
    rig.vm
        .on_grpc_message(CalloutToken(5), Bytes::from_static(b"hi"))
        .unwrap();
    assert_eq!(rig.told(), ["0", "0 Hi", "0", "2", "0 i!", "let go of 5"]);
}

#[test]
fn a_grpc_stream_lives_until_both_sides_have_closed() {
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            "grpc_stream 'up' 's' 'm' 0 0\ngrpc_send 6 'one' 0",
        )
        .on(
            "proxy_on_response_headers",
            "grpc_send 6 'two' 0\ngrpc_close 6\ngrpc_close 6",
        )
        .on(
            "proxy_on_grpc_receive_initial_metadata",
            "args\nget_header_map_value 4 'x-a'\nget_header_map_value 5 'x-a'",
        );
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(
        rig.told(),
        ["gRPC stream m: 6", "0 6", "send one false", "0"]
    );
    let token = CalloutToken(6);
    let metadata: HeaderMap = [("x-a", "1")].into_iter().collect();
    rig.vm.on_grpc_initial_metadata(token, metadata).unwrap();
    let root = rig.root.0;
    let initial = format!("proxy_on_grpc_receive_initial_metadata({root}, 6, 1)");
    assert_eq!(rig.told(), [&initial[..], "0 1", "2"]);
    rig.vm.on_grpc_close(token, 0, Bytes::new()).unwrap();
    assert_eq!(rig.vm.active_callouts(), 1);
    rig.response_headers();
    assert_eq!(rig.told(), ["0", "let go of 6", "0", "1"]);
}

#[test]
fn a_grpc_stream_that_the_guest_closed_ends_with_the_other_side() {
    let rig = rig_that("grpc_stream 'up' 's' 'm' 0 0\ngrpc_close 6\ngrpc_send 6 'x' 1");
    rig.request_headers();
    let sent = "send x true";
    assert_eq!(
        rig.told(),
        ["gRPC stream m: 6", "0 6", "half close", "0", sent, "0"]
    );
    let token = CalloutToken(6);
    rig.vm.on_grpc_close(token, 0, Bytes::new()).unwrap();
    assert_eq!(rig.told(), ["let go of 6"]);
}

#[test]
fn what_is_no_grpc_token_is_told_apart_from_what_is_gone() {
    let script = format!(
        "{}\ngrpc_send 4 'x' 0\ngrpc_cancel 4\ngrpc_close 4\ngrpc_send 5 'x' 0\ngrpc_cancel 5\ngrpc_close 6\ngrpc_send 6 'x' 0\ngrpc_close 7",
        http_call("0")
    );
    assert_eq!(told(&script)[2..], ["2", "2", "2", "2", "1", "1", "1", "2"]);
}

#[test]
fn a_name_that_is_looked_up_is_answered_once() {
    let guest = Guest::new()
        .on("proxy_on_request_headers", "envoy_resolve_dns 'host'")
        .on("envoy_on_resolve_dns", "args\nget_buffer_bytes 8 0 99");
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.told(), ["look host up: 2", "0 2"]);
    let token = DnsToken(2);
    let addresses = [DnsAddress {
        address: ([127, 0, 0, 1], 0).into(),
        ttl: Duration::from_secs(5),
    }];
    rig.vm.on_resolve_dns(token, &addresses).unwrap();
    rig.vm.on_resolve_dns(token, &addresses).unwrap();
    let root = rig.root.0;
    let callback = format!("envoy_on_resolve_dns({root}, 2, 20)");
    let answer = r"0 \x01\x00\x00\x00\x05\x00\x00\x00127.0.0.1:0\x00";
    assert_eq!(rig.told(), [&callback[..], answer]);
}
