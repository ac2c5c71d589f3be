//! What a guest does with its stream: continue, close, answer.

use weir_abi::{BodyStatus, Direction, HeadersStatus, TrailersStatus};

use crate::guest::Guest;
use crate::headers::pairs;
use crate::world::{Rig, in_request_headers};

const DENIED: &str = "send_local_response 403 'd' 'denied' '' -1";
const ANSWER: &str = r#"0 answers 403 b"d" b"denied" [] None"#;

#[test]
fn an_answer_is_given_after_the_callback_and_its_result_does_not_count() {
    let script = format!("{DENIED}\nlog 2 'after'\nreturn 0");
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", &script));
    assert_eq!(rig.request_headers(), HeadersStatus::StopAllAndWatermark);
    assert_eq!(rig.told(), ["0", "Info: after", "0", ANSWER]);
}

#[test]
fn an_answer_stops_body_and_trailers_too() {
    let rig = Rig::new(
        &Guest::new()
            .on("proxy_on_request_body", DENIED)
            .on("proxy_on_response_trailers", DENIED),
    );
    let body = rig.vm.on_body(rig.context, Direction::Request, 1, false);
    assert_eq!(body, Ok(BodyStatus::StopNoBuffer));
    let trailers = rig.vm.on_trailers(rig.context, Direction::Response);
    assert_eq!(trailers, Ok(TrailersStatus::Stop));
    assert_eq!(rig.told(), ["0", ANSWER, "0", ANSWER]);
}

#[test]
fn an_answer_does_not_stop_later_callbacks() {
    let guest = Guest::new().on("proxy_on_request_headers", DENIED);
    let rig = Rig::new(&guest);
    rig.request_headers();
    assert_eq!(rig.response_headers(), HeadersStatus::Continue);
}

#[test]
fn an_answer_from_a_root_callback_does_not_stop_the_callbacks_of_its_response() {
    let script = format!("set_effective_context 2\n{DENIED}");
    let guest = Guest::new()
        .on("proxy_on_request_headers", "return 1")
        .on("proxy_on_tick", &script);
    let rig = Rig::new(&guest);
    rig.request_headers();
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["0", "0", ANSWER]);
    assert_eq!(rig.response_headers(), HeadersStatus::Continue);
}

#[test]
fn an_answer_carries_its_headers_in_order_and_a_valid_grpc_status() {
    let headers = pairs(&[("x-a", "1"), ("X-B", "2"), ("x-a", "3")]);
    for (code, status, expected) in [
        ("200", "7", (200, "Some(7)")),
        ("70000", "16", (4464, "Some(16)")),
        ("0", "17", (0, "None")),
        ("999", "-1", (999, "None")),
    ] {
        let script = format!("send_local_response {code} '' '' '{headers}' {status}");
        let told = in_request_headers(&script);
        let (code, status) = expected;
        assert_eq!(
            told[1],
            format!(
                r#"0 answers {code} b"" b"" [(b"x-a", b"1"), (b"X-B", b"2"), (b"x-a", b"3")] {status}"#
            )
        );
    }
}

#[test]
fn an_answer_with_malformed_headers_has_none() {
    let told = in_request_headers("send_local_response 403 'd' 'denied' 'junk' -1");
    assert_eq!(told, ["0", ANSWER]);
}

#[test]
fn every_answer_of_a_callback_reaches_the_stream_in_order() {
    let script = format!("{DENIED}\nsend_local_response 500 '' '' '' -1");
    let told = in_request_headers(&script);
    assert_eq!(told[2], ANSWER);
    assert!(told[3].starts_with("0 answers 500 "));
}

#[test]
fn without_a_stream_an_answer_is_ok_and_goes_nowhere() {
    let script = format!("{DENIED}\ncontinue_stream 0\nclose_stream 1");
    let rig = Rig::new(&Guest::new().on("proxy_on_tick", &script));
    rig.vm.on_tick(rig.root).unwrap();
    assert_eq!(rig.told(), ["0", "0", "0"]);
}

#[test]
fn continue_and_close_come_after_the_callback_in_order() {
    let script = "continue_stream 0
                  continue_stream 1
                  close_stream 0
                  close_stream 1
                  log 2 'after'";
    assert_eq!(
        in_request_headers(script),
        [
            "0",
            "0",
            "0",
            "0",
            "Info: after",
            "0",
            "0 continues Request",
            "0 continues Response",
            "0 closes",
        ]
    );
}

#[test]
fn stream_types_of_connections_do_nothing_and_others_are_refused() {
    let script = "continue_stream 2
                  continue_stream 3
                  continue_stream 4
                  continue_stream 4294967295
                  close_stream 2
                  close_stream 3
                  close_stream 4";
    let expected = ["0", "12", "2", "2", "0", "0", "2"];
    assert_eq!(in_request_headers(script), expected);
}

#[test]
fn the_two_calls_of_0_1_0_continue_either_direction() {
    let told = in_request_headers("continue_request\ncontinue_response");
    let expected = ["0", "0", "0 continues Request", "0 continues Response"];
    assert_eq!(told, expected);
}

#[test]
fn continuing_hides_the_map_at_once() {
    let script = "continue_stream 0
                  get_header_map_value 0 ':path'
                  add_header_map_value 0 'a' 'b'";
    let expected = ["0", "2", "2", "0 continues Request"];
    assert_eq!(in_request_headers(script), expected);
}

#[test]
fn what_was_asked_for_before_a_trap_is_not_done() {
    let script = format!("continue_stream 0\n{DENIED}\ntrap");
    let rig = Rig::new(&Guest::new().on("proxy_on_request_headers", &script));
    assert!(rig.vm.on_request_headers(rig.context, false).is_err());
    let expected = ["0", "0", "failed: proxy_on_request_headers of test"];
    assert_eq!(rig.told(), expected);
}

#[test]
fn a_stream_that_is_over_cannot_be_continued_closed_or_answered() {
    let script = format!("continue_stream 0\ncontinue_stream 1\nclose_stream 0\n{DENIED}");
    let guest = Guest::new()
        .on("proxy_on_log", &script)
        .on("proxy_on_done", &script)
        .on("proxy_on_delete", &script);
    let rig = Rig::new(&guest);
    rig.vm.on_log(rig.context).unwrap();
    rig.vm.delete_stream(rig.context).unwrap();
    assert_eq!(rig.told(), ["0"; 12]);
}

#[test]
fn calls_of_the_context_creation_reach_the_stream() {
    let guest = Guest::new().on("proxy_on_context_create", "close_stream 0");
    let rig = Rig::new(&guest);
    rig.another_stream();
    assert_eq!(rig.told(), ["0", "1 closes"]);
}
