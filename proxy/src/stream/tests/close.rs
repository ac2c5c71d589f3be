//! `proxy_close_stream`, and clients that go away.

use super::rig::Chain;
use super::run::Run;
use crate::stream::{ResponseFlags, ResponseState};

fn is_reset(run: &Run) {
    assert_eq!(run.state(), ResponseState::Reset);
    assert!(run.stream.request_over());
}

#[test]
fn a_filter_resets_the_stream_at_the_request_headers() {
    for (stream, result) in [(0, 0), (1, 1)] {
        let chain = Chain::of([&*format!("rqh close {stream} ; rqh ret {result}"), ""]);
        let run = chain.get();
        is_reset(&run);
        assert_eq!(run.told(), ["a ctx", "a rqh eos"]);
        assert_eq!(run.upstream(), [""; 0]);
        assert_eq!(run.client(), [""; 0]);
        run.finish();
    }
}

#[test]
fn a_filter_resets_the_stream_wherever_it_is() {
    for script in [
        "ctx close 0",
        "rqb close 0",
        "rqb@eos add 1 x-t 1 ; rqb@eos close 0",
        "rsh close 1",
        "rsb close 1",
        "rsb@eos close 1",
    ] {
        let chain = Chain::of([script]);
        let run = chain.post();
        run.body("abc");
        run.body("");
        run.respond_all();
        is_reset(&run);
        run.finish();
    }
}

#[test]
fn a_paused_stream_is_reset_from_another_callback() {
    let chain = Chain::of(["rqh ret 1 ; tick http ; tick close 0"]);
    let run = chain.get();
    chain.tick(0);
    run.pump();
    is_reset(&run);
    run.finish();
}

#[test]
fn a_stream_of_another_protocol_is_not_closed() {
    let chain = Chain::of(["rqh close 2 ; rqh close 3 ; rqh close 99"]);
    let run = chain.get();
    assert_eq!(run.upstream(), ["headers eos"]);
    run.finish();
}

#[test]
fn a_filter_that_answers_and_closes_has_closed() {
    let chain = Chain::of(["rqh local 403 d denied - -1 ; rqh close 0"]);
    let run = chain.get();
    is_reset(&run);
    assert_eq!(run.client(), [""; 0]);
    run.finish();
}

#[test]
fn closing_a_stream_that_is_complete_has_no_effect() {
    let chain = Chain::of(["tick http ; tick close 0"]);
    let run = chain.get();
    run.respond_all();
    chain.tick(0);
    run.pump();
    assert_eq!(run.state(), ResponseState::Complete);
    run.finish();
}

#[test]
fn a_complete_response_that_is_not_written_yet_is_dropped() {
    let chain = Chain::of(["tick http ; tick close 0"]);
    let run = chain.get();
    let headers = [(":status", "200")].into_iter().collect();
    run.stream.response_headers(headers, true);
    assert_eq!(run.state(), ResponseState::Complete);
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), [""; 0]);
    is_reset(&run);
    run.finish();
}

#[test]
fn nothing_comes_after_a_reset() {
    let chain = Chain::of(["rqh close 0"]);
    let run = chain.post();
    run.told();
    run.body("abc");
    run.respond_all();
    assert_eq!(run.told(), [""; 0]);
    assert_eq!(run.client(), [""; 0]);
    assert_eq!(run.told_at_the_end(), ["a log", "a done", "a delete"]);
}

#[test]
fn a_client_that_goes_away_ends_a_paused_stream() {
    let chain = Chain::of(["rqh ret 1"]);
    let run = chain.post();
    run.body("abc");
    let flag = ResponseFlags::DOWNSTREAM_TERMINATION;
    run.stream.fail_downstream(flag, "gone");
    is_reset(&run);
    assert_eq!(run.stream.info.flags(), flag);
    run.finish();
}

#[test]
fn a_client_that_goes_away_ends_a_stream_whose_response_is_not_written() {
    for body in ["denied", "-"] {
        let chain = Chain::of([&*format!("rqh local 403 d {body} - -1")]);
        let run = chain.stream(&[(":method", "GET")]);
        run.stream.request_headers(true);
        assert_eq!(run.state(), ResponseState::Complete);
        // The driver cannot write the headers: what is left is of no use.
        assert!(run.stream.next_for_downstream().is_some());
        let flag = ResponseFlags::DOWNSTREAM_TERMINATION;
        run.stream.fail_downstream(flag, "gone");
        assert!(run.stream.next_for_downstream().is_none());
        is_reset(&run);
        run.finish();
    }
}
