//! Pauses at the request's headers, and what ends them.

use weir_abi::Direction;

use super::rig::Chain;

/// Continues the request of the last stream at every tick.
const TICK: &str = "tick http ; tick continue 0";

fn paused_until_tick(more: &str) -> String {
    format!("rqh ret 1 ; {TICK} ; {more}")
}

#[test]
fn a_request_paused_at_its_headers_goes_on_when_it_is_continued() {
    let chain = Chain::of([&*paused_until_tick(""), ""]);
    let run = chain.get();
    assert_eq!(run.upstream(), [""; 0]);
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick", "b ctx", "b rqh eos"]);
    assert_eq!(run.upstream(), ["headers eos"]);
    run.finish();
}

#[test]
fn body_that_arrives_during_the_pause_is_shown_in_one_piece_after_it() {
    let chain = Chain::of([&*paused_until_tick("rqb buf 0")]);
    let run = chain.post();
    for chunk in ["abc", "def", ""] {
        run.body(chunk);
    }
    assert_eq!(run.told(), ["a ctx", "a rqh"]);
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick", "a rqb 6 eos", "a body=abcdef"]);
    assert_eq!(run.upstream(), ["headers", "'abcdef' eos"]);
    run.finish();
}

#[test]
fn body_after_the_pause_comes_piece_by_piece() {
    let chain = Chain::of([&*paused_until_tick("")]);
    let run = chain.post();
    run.body("abc");
    chain.tick(0);
    run.pump();
    run.body("def");
    run.body("");
    assert_eq!(
        run.told(),
        [
            "a ctx",
            "a rqh",
            "a tick",
            "a rqb 3",
            "a rqb 3",
            "a rqb 0 eos"
        ]
    );
    assert_eq!(run.upstream(), ["headers", "'abc'", "'def'", "'' eos"]);
    run.finish();
}

#[test]
fn an_empty_end_of_the_body_is_a_body_too() {
    let chain = Chain::of([&*paused_until_tick("")]);
    let run = chain.post();
    run.body("");
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a ctx", "a rqh", "a tick", "a rqb 0 eos"]);
    assert_eq!(run.upstream(), ["headers", "'' eos"]);
    run.finish();
}

#[test]
fn a_pause_that_is_continued_in_its_own_callback_is_none() {
    let chain = Chain::of(["rqh continue 0 ; rqh ret 1"]);
    let get = chain.get();
    assert_eq!(get.upstream(), ["headers eos"]);
    get.finish();
    let post = chain.post();
    post.body("abc");
    post.body("");
    assert_eq!(post.upstream(), ["headers", "'abc'", "'' eos"]);
    post.finish();
}

#[test]
fn a_continue_without_a_pause_does_not_end_a_later_one() {
    // The second filter's headers and body come to it in one go.
    let chain = Chain::of([&*paused_until_tick(""), "rqh continue 0 ; rqb ret 1"]);
    let run = chain.post();
    run.body("abc");
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["headers"]);
    run.finish();
}

#[test]
fn a_continue_from_the_creation_of_the_context_ends_no_pause() {
    let chain = Chain::of(["ctx continue 0 ; rqh ret 1"]);
    let run = chain.get();
    assert_eq!(run.upstream(), [""; 0]);
    run.finish();
}

#[test]
fn a_continue_from_outside_does_not_end_a_pause_that_is_yet_to_begin() {
    let chain = Chain::of([&*format!("rqb ret 1 ; {TICK}")]);
    let run = chain.post();
    chain.tick(0);
    // Nobody has handled the event when the body comes.
    run.body("abc");
    assert_eq!(run.upstream(), ["headers"]);
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["'abc'"]);
    run.finish();
}

#[test]
fn a_request_that_is_continued_twice_goes_on_once() {
    let chain = Chain::of([&*paused_until_tick("tick http ; tick continue 0")]);
    let run = chain.get();
    chain.tick(0);
    run.pump();
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["headers eos"]);
    run.finish();
}

#[test]
fn a_continue_of_the_root_context_concerns_no_stream() {
    let chain = Chain::of(["rqh ret 1 ; tick continue 0"]);
    let run = chain.get();
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), [""; 0]);
    run.finish();
}

#[test]
fn of_two_filters_that_pause_each_must_continue() {
    let chain = Chain::of([&*paused_until_tick(""), &*paused_until_tick("")]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), [""; 0]);
    chain.tick(1);
    run.pump();
    assert_eq!(
        run.told(),
        [
            "a ctx",
            "a rqh",
            "a tick",
            "b ctx",
            "b rqh",
            "a rqb 3 eos",
            "b tick",
            "b rqb 3 eos"
        ]
    );
    assert_eq!(run.upstream(), ["headers", "'abc' eos"]);
    run.finish();
}

#[test]
fn what_a_guest_returns_decides_between_going_on_and_stopping() {
    for (result, passes) in [(0, true), (1, false), (2, true), (3, false), (99, false)] {
        let chain = Chain::of([&*format!("rqh ret {result}")]);
        let run = chain.get();
        assert_eq!(!run.upstream().is_empty(), passes, "{result}");
        run.finish();
    }
}

#[test]
fn headers_stay_changeable_during_the_pause() {
    let chain = Chain::of(["rqh ret 1 ; tick http ; tick set 0 x-late 1 ; tick continue 0"]);
    let run = chain.get();
    chain.tick(0);
    run.pump();
    assert_eq!(run.request_headers(), ":method=GET :path=/ x-late=1");
    run.finish();
}

#[test]
fn a_held_request_pushes_back_until_it_is_continued() {
    let chain = Chain::of([&*paused_until_tick("")]);
    let run = chain.post();
    run.body("0123");
    assert!(!run.stream.is_over_watermark(Direction::Request));
    run.body("456789");
    assert!(run.stream.is_over_watermark(Direction::Request));
    run.body("more, that was on its way");
    assert_eq!(run.client(), [""; 0]);
    chain.tick(0);
    run.pump();
    assert!(!run.stream.is_over_watermark(Direction::Request));
    assert_eq!(
        run.upstream(),
        ["headers", "'0123456789more, that was on its way'"]
    );
    run.finish();
}
