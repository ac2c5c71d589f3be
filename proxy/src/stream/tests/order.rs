//! Which filter is called when, from a stream's first callback to its last.

use super::rig::{Chain, ended};

#[test]
fn filters_see_the_request_in_chain_order_and_the_response_in_reverse() {
    let chain = Chain::of(["", "", ""]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(
        run.told(),
        [
            "a ctx",
            "a rqh",
            "b ctx",
            "b rqh",
            "c ctx",
            "c rqh",
            "a rqb 3",
            "b rqb 3",
            "c rqb 3",
            "a rqb 0 eos",
            "b rqb 0 eos",
            "c rqb 0 eos"
        ]
    );
    run.respond();
    assert_eq!(run.told(), ["c rsh", "b rsh", "a rsh"]);
    run.response_body("ok");
    assert_eq!(run.told(), ["c rsb 2", "b rsb 2", "a rsb 2"]);
    run.response_body("");
    assert_eq!(run.told(), ["c rsb 0 eos", "b rsb 0 eos", "a rsb 0 eos"]);
    assert_eq!(run.upstream(), ["headers", "'abc'", "'' eos"]);
    assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
    run.finish();
}

#[test]
fn all_filters_log_before_the_first_is_done() {
    let chain = Chain::of(["", ""]);
    let run = chain.get();
    run.respond_all();
    assert_eq!(
        run.told_at_the_end(),
        ["a log", "b log", "a done", "a delete", "b done", "b delete"]
    );
}

#[test]
fn a_single_filter_sees_a_message_without_body_in_one_callback() {
    let chain = Chain::of([""]);
    let run = chain.get();
    run.respond_with(&[(":status", "204")], true);
    assert_eq!(run.told(), ["a ctx", "a rqh eos", "a rsh eos"]);
    assert_eq!(run.upstream(), ["headers eos"]);
    assert_eq!(run.client(), ["headers eos"]);
    run.finish();
}

#[test]
fn without_filters_everything_passes() {
    let chain = Chain::of([]);
    let run = chain.post();
    run.body("abc");
    run.body("");
    run.respond_all();
    assert_eq!(run.upstream(), ["headers", "'abc'", "'' eos"]);
    assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
    run.finish();
}

#[test]
fn a_filter_sees_what_the_filters_before_it_have_changed() {
    let chain = Chain::of([
        "rqh set 0 x-rq a ; rsh get 2 x-rs",
        "rqh get 0 x-rq ; rsh set 2 x-rs b",
    ]);
    let run = chain.get();
    run.respond();
    let told = run.told();
    assert!(told.contains(&"b x-rq=a".to_owned()), "{told:?}");
    assert!(told.contains(&"a x-rs=b".to_owned()), "{told:?}");
    assert_eq!(run.request_headers(), ":method=GET :path=/ x-rq=a");
    run.finish();
}

#[test]
fn a_filter_that_the_request_never_reached_is_created_for_the_log() {
    let chain = Chain::of(["rqh ret 1", ""]);
    let run = chain.get();
    assert_eq!(run.told(), ["a ctx", "a rqh eos"]);
    assert_eq!(
        run.told_at_the_end(),
        [
            "a log", "b ctx", "b log", "a done", "a delete", "b done", "b delete"
        ]
    );
}

#[test]
fn filters_log_and_end_in_chain_order_however_far_the_request_came() {
    let chain = Chain::of(["", "", "rqh ret 1", "", ""]);
    let run = chain.get();
    run.told();
    let told = run.told_at_the_end();
    let (log, end) = told.split_at(7);
    let logged = [
        "a log", "b log", "c log", "d ctx", "d log", "e ctx", "e log",
    ];
    assert_eq!(log, logged);
    assert_eq!(end, ended(&["a", "b", "c", "d", "e"]));
}

#[test]
fn a_rejected_request_is_logged_by_every_filter_and_seen_by_none() {
    let chain = Chain::of(["log get 2 :status"]);
    let run = chain.stream(&[]);
    run.stream.reject(400, "malformed", Vec::new(), "malformed");
    assert_eq!(
        run.told_at_the_end(),
        ["a ctx", "a log", "a :status=400", "a done", "a delete"]
    );
    assert_eq!(run.client(), [""; 0]);
}

#[test]
fn the_log_can_read_what_the_filters_left() {
    let chain = Chain::of(["rqh set 0 x-rq 1 ; log get 0 x-rq ; log get 2 x-rs"]);
    let run = chain.get();
    run.respond_with(&[(":status", "200"), ("x-rs", "2")], true);
    let told = run.told_at_the_end();
    assert_eq!(told[..3], ["a log", "a x-rq=1", "a x-rs=2"]);
}

#[test]
fn ending_a_stream_twice_is_ending_it_once() {
    let chain = Chain::of([""]);
    let run = chain.get();
    run.finish();
    assert!(run.told().contains(&"a delete".to_owned()));
    let duration = run.stream.info.duration();
    run.finish();
    assert_eq!(run.told(), [""; 0]);
    assert_eq!(run.stream.info.duration(), duration);
}
