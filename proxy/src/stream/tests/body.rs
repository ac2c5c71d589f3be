//! Body callbacks: what a filter sees, holds, changes and lets go.

use super::rig::Chain;

const TICK: &str = "tick http ; tick continue 0";

#[test]
fn a_buffering_filter_sees_all_it_holds_each_time() {
    let chain = Chain::of(["rqb@neos ret 1 ; rqb@eos buf 0"]);
    let run = chain.post();
    run.told();
    for chunk in ["abc", "def", "ghi"] {
        run.body(chunk);
    }
    assert_eq!(run.upstream(), ["headers"]);
    run.body("");
    assert_eq!(
        run.told(),
        [
            "a rqb 3",
            "a rqb 6",
            "a rqb 9",
            "a rqb 9 eos",
            "a body=abcdefghi"
        ]
    );
    assert_eq!(run.upstream(), ["'abcdefghi' eos"]);
    run.finish();
}

#[test]
fn after_a_continue_pieces_come_one_by_one_again() {
    let chain = Chain::of(["rqb@1 ret 1"]);
    let run = chain.post();
    run.told();
    for chunk in ["abc", "def", "ghi", ""] {
        run.body(chunk);
    }
    assert_eq!(run.told(), ["a rqb 3", "a rqb 6", "a rqb 3", "a rqb 0 eos"]);
    assert_eq!(run.upstream(), ["headers", "'abcdef'", "'ghi'", "'' eos"]);
    run.finish();
}

#[test]
fn a_body_paused_at_its_end_goes_on_without_another_callback() {
    let chain = Chain::of([&*format!("rqb ret 1 ; {TICK}")]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers"]);
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick"]);
    assert_eq!(run.upstream(), ["'abc' eos"]);
    run.finish();
}

#[test]
fn a_body_continued_in_the_middle_goes_on_without_another_callback() {
    let chain = Chain::of([&*format!("rqb@1 ret 1 ; {TICK}")]);
    let run = chain.post();
    run.body("abc");
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["headers", "'abc'"]);
    run.body("def");
    run.body("");
    assert_eq!(run.told(), ["a tick", "a rqb 3", "a rqb 0 eos"]);
    assert_eq!(run.upstream(), ["'def'", "'' eos"]);
    run.finish();
}

#[test]
fn a_body_pause_that_is_continued_in_its_own_callback_is_none() {
    let chain = Chain::of(["rqb continue 0 ; rqb ret 1"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "'' eos"]);
    run.finish();
}

#[test]
fn with_stop_and_watermark_a_filter_sees_each_piece_alone_and_all_goes_on() {
    let chain = Chain::of(["rqb@1 ret 2 ; rqb buf 0"]);
    let run = chain.post();
    run.told();
    run.body("abc");
    run.body("def");
    assert_eq!(
        run.told(),
        ["a rqb 3", "a body=abc", "a rqb 3", "a body=def"]
    );
    assert_eq!(run.upstream(), ["headers", "'abcdef'"]);
    run.finish();
}

#[test]
fn with_stop_without_buffer_a_piece_is_forgotten_and_the_end_is_not() {
    let chain = Chain::of([&*format!("rqb ret 3 ; {TICK}")]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers"]);
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["'' eos"]);
    run.finish();
}

#[test]
fn what_was_buffered_is_not_forgotten_by_stop_without_buffer() {
    let chain = Chain::of(["rqb@1 ret 1 ; rqb@2 ret 3"]);
    let run = chain.post();
    run.told();
    for chunk in ["abc", "def", "ghi"] {
        run.body(chunk);
    }
    assert_eq!(run.told(), ["a rqb 3", "a rqb 6", "a rqb 3"]);
    assert_eq!(run.upstream(), ["headers", "'abcdefghi'"]);
    run.finish();
}

#[test]
fn a_filter_replaces_prepends_and_appends() {
    for (change, expected) in [
        ("rqb@eos setbuf 0 0 max NEW", "'NEW' eos"),
        ("rqb@eos setbuf 0 0 0 <", "'<abc' eos"),
        ("rqb@eos setbuf 0 9 0 >", "'abc>' eos"),
        ("rqb@eos setbuf 0 0 2 xx", "'xxc' eos"),
        ("rqb@eos setbuf 0 0 max -", "'' eos"),
    ] {
        let chain = Chain::of([&*format!("rqb@neos ret 1 ; {change}")]);
        let run = chain.post();
        run.body("abc");
        run.body("");
        assert_eq!(run.upstream(), ["headers", expected]);
        run.finish();
    }
}

#[test]
fn an_empty_end_can_be_filled() {
    let chain = Chain::of(["rqb@eos setbuf 0 0 0 TAIL"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'abc'", "'TAIL' eos"]);
    run.finish();
}

#[test]
fn a_paused_body_can_be_changed_from_another_callback() {
    let chain =
        Chain::of(["rqb ret 1 ; tick http ; tick buf 0 ; tick setbuf 0 0 2 XY ; tick continue 0"]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick", "a body=abc"]);
    assert_eq!(run.upstream(), ["headers", "'XYc' eos"]);
    run.finish();
}

#[test]
fn an_earlier_filter_stops_while_a_later_one_has_buffered() {
    let chain = Chain::of(["rqb@2 ret 1", "rqb@neos ret 1"]);
    let run = chain.post();
    run.told();
    run.body("abc");
    assert_eq!(run.told(), ["a rqb 3", "b rqb 3"]);
    run.body("def");
    assert_eq!(run.told(), ["a rqb 3"]);
    run.body("");
    assert_eq!(run.told(), ["a rqb 3 eos", "b rqb 6 eos"]);
    assert_eq!(run.upstream(), ["headers", "'abcdef' eos"]);
    run.finish();
}

#[test]
fn two_filters_that_buffer_each_see_the_whole_body() {
    let chain = Chain::of(["rqb@neos ret 1 ; rqb@eos setbuf 0 0 0 a", "rqb buf 0"]);
    let run = chain.post();
    run.told();
    for chunk in ["12", "34", ""] {
        run.body(chunk);
    }
    assert_eq!(
        run.told(),
        [
            "a rqb 2",
            "a rqb 4",
            "a rqb 4 eos",
            "b rqb 5 eos",
            "b body=a1234"
        ]
    );
    assert_eq!(run.upstream(), ["headers", "'a1234' eos"]);
    run.finish();
}
