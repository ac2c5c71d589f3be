//! Trailers, which filters add at the end of a body.

use super::rig::Chain;

const ADDS: &str = "rqb@eos add 1 x-t 1 ; rsb@eos add 3 x-t 2";

#[test]
fn added_trailers_end_the_body_for_later_filters_only() {
    let chain = Chain::of(["", ADDS, "rqt get 1 x-t"]);
    let run = chain.post();
    run.body("abc");
    run.told();
    run.body("");
    assert_eq!(
        run.told(),
        ["a rqb 0 eos", "b rqb 0 eos", "c rqb 0", "c rqt", "c x-t=1"]
    );
    assert_eq!(
        run.upstream(),
        ["headers", "'abc'", "''", "trailers x-t=1 eos"]
    );
    run.finish();
}

#[test]
fn added_response_trailers_are_seen_by_the_filters_before() {
    let chain = Chain::of(["rst set 3 x-t changed", ADDS]);
    let run = chain.get();
    run.respond();
    run.response_body("ok");
    run.told();
    run.response_body("");
    assert_eq!(run.told(), ["b rsb 0 eos", "a rsb 0", "a rst"]);
    assert_eq!(
        run.client(),
        ["headers", "'ok'", "''", "trailers x-t=changed eos"]
    );
    run.finish();
}

#[test]
fn trailers_added_to_a_paused_body_go_with_it() {
    let chain = Chain::of([
        "rqb ret 1 ; rqb@eos add 1 x-t 1 ; tick http ; tick continue 0",
        "",
    ]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick", "b rqb 3", "b rqt"]);
    assert_eq!(run.upstream(), ["headers", "'abc'", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn paused_trailers_wait_for_a_continue() {
    let chain = Chain::of([ADDS, "rqt ret 1 ; tick http ; tick continue 0", ""]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "''"]);
    run.told();
    chain.tick(1);
    run.pump();
    assert_eq!(run.told(), ["b tick", "c rqt"]);
    assert_eq!(run.upstream(), ["trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn a_trailers_pause_that_is_continued_in_its_own_callback_is_none() {
    let chain = Chain::of([ADDS, "rqt continue 0 ; rqt ret 1"]);
    let run = chain.post();
    run.body("");
    assert_eq!(run.upstream(), ["headers", "''", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn a_continue_from_the_body_does_not_end_a_pause_at_the_trailers() {
    let chain = Chain::of([ADDS, "rqb continue 0 ; rqt ret 1"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "''"]);
    run.finish();
}

#[test]
fn trailers_release_the_body_that_was_buffered() {
    let chain = Chain::of([ADDS, "rqb ret 1 ; rqt setbuf 0 0 max new"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'new'", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn paused_trailers_hold_the_body_that_was_buffered() {
    let chain = Chain::of([ADDS, "rqb ret 1 ; rqt ret 1 ; tick http ; tick continue 0"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers"]);
    chain.tick(1);
    run.pump();
    assert_eq!(run.upstream(), ["'abc'", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn a_filter_that_held_everything_sees_body_and_trailers_after_it() {
    let chain = Chain::of([ADDS, "rqh ret 1 ; tick http ; tick continue 0"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    run.told();
    chain.tick(1);
    run.pump();
    assert_eq!(run.told(), ["b tick", "b rqb 3", "b rqt"]);
    assert_eq!(run.upstream(), ["headers", "'abc'", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn trailers_cannot_be_added_before_the_end_of_the_body() {
    let chain = Chain::of(["rqb@neos add 1 x-t 1"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "'' eos"]);
    run.finish();
}

#[test]
fn two_filters_add_to_the_same_trailers() {
    let chain = Chain::of([ADDS, "rqt add 1 x-u 2"]);
    let run = chain.post();
    run.body("");
    assert_eq!(
        run.upstream(),
        ["headers", "''", "trailers x-t=1 x-u=2 eos"]
    );
    run.finish();
}
