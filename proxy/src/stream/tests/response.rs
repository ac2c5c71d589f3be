//! The response on its way through the filters: as the request, backwards.

use super::rig::{Chain, Filter};
use crate::stream::ResponseState;

fn paused_until_tick(more: &str) -> String {
    format!("rsh ret 1 ; tick http ; tick continue 1 ; {more}")
}

#[test]
fn a_response_paused_at_its_headers_is_shown_in_one_piece_afterwards() {
    let chain = Chain::of(["", &*paused_until_tick("rsb buf 1")]);
    let run = chain.get();
    run.told();
    run.respond_all();
    assert_eq!(run.told(), ["b rsh"]);
    assert_eq!(run.client(), [""; 0]);
    chain.tick(1);
    run.pump();
    assert_eq!(
        run.told(),
        ["b tick", "a rsh", "b rsb 2 eos", "b body=ok", "a rsb 2 eos"]
    );
    assert_eq!(run.client(), ["headers", "'ok' eos"]);
    assert_eq!(run.state(), ResponseState::Complete);
    run.finish();
}

#[test]
fn a_paused_response_without_body_keeps_its_end() {
    let chain = Chain::of([&*paused_until_tick("")]);
    let run = chain.get();
    run.respond_with(&[(":status", "304")], true);
    assert_eq!(run.state(), ResponseState::Started);
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), ["headers eos"]);
    run.finish();
}

#[test]
fn response_headers_stay_changeable_during_the_pause() {
    let chain = Chain::of(["rsh ret 1 ; tick http ; tick set 2 x-late 1 ; tick continue 1"]);
    let run = chain.get();
    run.respond();
    chain.tick(0);
    run.pump();
    assert_eq!(run.response_headers(), ":status=200 x-late=1");
    run.finish();
}

#[test]
fn a_response_pause_that_is_continued_in_its_own_callback_is_none() {
    let chain = Chain::of(["rsh continue 1 ; rsh ret 1 ; rsb continue 1 ; rsb ret 1"]);
    let run = chain.get();
    run.respond_all();
    assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
    run.finish();
}

#[test]
fn a_response_that_is_continued_without_a_pause_is_sent_once() {
    let chain = Chain::of(["rsh continue 1 ; rsb continue 1"]);
    let run = chain.get();
    run.respond_all();
    assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
    run.finish();
}

#[test]
fn continuing_the_response_before_there_is_one_is_harmless() {
    let chain = Chain::of(["rqh continue 1 ; rqb continue 1 ; rsh ret 1"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "'' eos"]);
    run.respond_all();
    assert_eq!(run.client(), [""; 0]);
    run.finish();
}

#[test]
fn continuing_the_response_before_a_local_one_does_not_end_its_pause() {
    let chain = Chain::of(["rqh continue 1 ; rqh local 403 d no - -1 ; rsh ret 1"]);
    let run = chain.get();
    assert_eq!(run.client(), [""; 0]);
    run.finish();
}

#[test]
fn a_buffered_response_is_seen_whole_and_can_be_replaced() {
    let chain = Chain::of(["rsb buf 1", "rsb@neos ret 1 ; rsb@eos setbuf 1 0 max NEW"]);
    let run = chain.get();
    run.told();
    run.respond();
    for chunk in ["12", "34", ""] {
        run.response_body(chunk);
    }
    assert_eq!(
        run.told(),
        [
            "b rsh",
            "a rsh",
            "b rsb 2",
            "b rsb 4",
            "b rsb 4 eos",
            "a rsb 3 eos",
            "a body=NEW"
        ]
    );
    assert_eq!(run.client(), ["headers", "'NEW' eos"]);
    run.finish();
}

#[test]
fn a_response_body_paused_at_its_end_goes_on_without_another_callback() {
    let chain = Chain::of(["rsb ret 1 ; tick http ; tick continue 1"]);
    let run = chain.get();
    run.respond_all();
    assert_eq!(run.client(), ["headers"]);
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick"]);
    assert_eq!(run.client(), ["'ok' eos"]);
    run.finish();
}

#[test]
fn a_response_may_overtake_the_end_of_its_request() {
    let chain = Chain::of([""]);
    let run = chain.post();
    run.body("abc");
    run.respond_all();
    assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
    assert_eq!(run.state(), ResponseState::Complete);
    run.body("late");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "'late'", "'' eos"]);
    run.finish();
}

#[test]
fn a_second_response_is_ignored() {
    let chain = Chain::of([""]);
    let run = chain.get();
    run.respond_all();
    run.client();
    run.told();
    run.respond_all();
    assert_eq!(run.client(), [""; 0]);
    assert_eq!(run.told(), [""; 0]);
    run.finish();
}

#[test]
fn an_upstream_that_closes_before_its_response_is_answered_for() {
    let chain = Chain::of([""]);
    let run = chain.get();
    run.told();
    run.upstream_closes();
    assert_eq!(run.response_header(":status").unwrap(), "503");
    assert_eq!(run.told(), ["a rsh", "a rsb 95 eos"]);
    run.finish();
}

#[test]
fn an_upstream_that_closes_after_its_headers_cuts_the_response() {
    let chain = Chain::of([""]);
    let run = chain.get();
    run.respond();
    run.response_body("ok");
    run.upstream_closes();
    assert_eq!(run.client(), ["headers", "'ok'"]);
    assert_eq!(run.state(), ResponseState::Reset);
    run.finish();
}

#[test]
fn an_upstream_that_closes_while_its_headers_are_held_is_answered_for() {
    let chain = Chain::new([Filter::new("rsh ret 1")]);
    let run = chain.get();
    run.respond();
    run.told();
    run.upstream_closes();
    assert_eq!(run.response_header(":status").unwrap(), "503");
    assert_eq!(run.told(), [""; 0]);
    assert_eq!(run.state(), ResponseState::Complete);
    run.finish();
}

#[test]
fn a_response_that_cannot_be_written_is_replaced_by_502() {
    let chain = Chain::of(["rsh set 2 :status abc"]);
    let run = chain.get();
    run.stream
        .response_headers([(":status", "200")].into_iter().collect(), true);
    // The driver takes the headers and finds that it cannot send them.
    assert!(run.stream.next_for_downstream().is_some());
    run.stream.fail_response("invalid", "invalid :status");
    run.pump();
    assert_eq!(run.client(), ["headers", "'invalid :status' eos"]);
    assert_eq!(run.response_header(":status").unwrap(), "502");
    run.finish();
}
