//! `allow_on_headers_stop_iteration`: headers are held while the body callbacks
//! run.

use super::rig::{Chain, Filter};

fn holding(script: &str) -> Chain {
    Chain::new([Filter::new(script).holding_headers()])
}

#[test]
fn held_headers_are_released_by_a_continue_from_the_body() {
    let chain = holding("rqh ret 1 ; rqb@neos ret 1");
    let run = chain.post();
    run.body("abc");
    run.body("def");
    assert_eq!(run.upstream(), [""; 0]);
    run.body("");
    assert_eq!(
        run.told(),
        ["a ctx", "a rqh", "a rqb 3", "a rqb 6", "a rqb 6 eos"]
    );
    assert_eq!(run.upstream(), ["headers", "'abcdef' eos"]);
    run.finish();
}

#[test]
fn held_headers_go_with_the_first_piece_that_passes() {
    let chain = holding("rqh ret 1");
    let run = chain.post();
    run.body("abc");
    assert_eq!(run.upstream(), ["headers", "'abc'"]);
    run.body("");
    assert_eq!(run.upstream(), ["'' eos"]);
    run.finish();
}

#[test]
fn held_headers_can_be_changed_in_the_body_callback() {
    let chain = holding("rqh ret 1 ; rqb@neos ret 1 ; rqb@eos set 0 x-body seen");
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.request_headers(), ":method=POST :path=/ x-body=seen");
    run.finish();
}

#[test]
fn held_headers_are_released_by_a_continue_from_the_trailers() {
    let filters = [
        Filter::new("rqb@eos add 1 x-t 1"),
        Filter::new("rqh ret 1 ; rqb ret 1").holding_headers(),
        Filter::new(""),
    ];
    let chain = Chain::new(filters);
    let run = chain.post();
    run.body("abc");
    assert_eq!(run.upstream(), [""; 0]);
    run.told();
    run.body("");
    assert_eq!(
        run.told(),
        [
            "a rqb 0 eos",
            "b rqb 3",
            "b rqt",
            "c ctx",
            "c rqh",
            "c rqb 3",
            "c rqt"
        ]
    );
    assert_eq!(run.upstream(), ["headers", "'abc'", "trailers x-t=1 eos"]);
    run.finish();
}

#[test]
fn held_headers_of_a_request_without_body_wait_for_a_continue() {
    let chain = holding("rqh ret 1 ; tick http ; tick continue 0");
    let run = chain.get();
    assert_eq!(run.upstream(), [""; 0]);
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["headers eos"]);
    run.finish();
}

#[test]
fn a_continue_releases_held_headers_and_the_body_that_was_seen() {
    let chain = holding("rqh ret 1 ; rqb@1 ret 1 ; tick http ; tick continue 0");
    let run = chain.post();
    run.body("abc");
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick"]);
    assert_eq!(run.upstream(), ["headers", "'abc'"]);
    run.body("");
    assert_eq!(run.upstream(), ["'' eos"]);
    run.finish();
}

#[test]
fn a_continue_before_any_body_releases_held_headers() {
    let chain = holding("rqh ret 1 ; rqb ret 1 ; tick http ; tick continue 0");
    let run = chain.post();
    chain.tick(0);
    run.pump();
    assert_eq!(run.upstream(), ["headers"]);
    run.body("abc");
    assert_eq!(run.upstream(), [""; 0]);
    run.finish();
}

#[test]
fn a_later_filter_sees_headers_and_body_when_they_are_released() {
    let filters = [
        Filter::new("rqh ret 1 ; rqb@neos ret 1").holding_headers(),
        Filter::new("rqh ret 1 ; tick http ; tick continue 0"),
    ];
    let chain = Chain::new(filters);
    let run = chain.post();
    run.body("abc");
    run.body("");
    assert_eq!(run.upstream(), [""; 0]);
    run.told();
    chain.tick(1);
    run.pump();
    assert_eq!(run.told(), ["b tick", "b rqb 3 eos"]);
    assert_eq!(run.upstream(), ["headers", "'abc' eos"]);
    run.finish();
}

#[test]
fn held_response_headers_can_follow_the_body() {
    let chain = holding("rsh ret 1 ; rsb@neos ret 1 ; rsb@eos set 2 :status 202");
    let run = chain.get();
    run.respond();
    run.response_body("ok");
    assert_eq!(run.client(), [""; 0]);
    run.response_body("");
    assert_eq!(run.client(), ["headers", "'ok' eos"]);
    assert_eq!(run.response_header(":status").unwrap(), "202");
    run.finish();
}

#[test]
fn held_response_headers_can_still_be_replaced_from_the_body() {
    let chain = holding("rsh ret 1 ; rsb@neos ret 1 ; rsb@eos local 502 det replaced x-a=1 -1");
    let run = chain.get();
    run.respond();
    run.response_body("secret");
    run.response_body("");
    assert_eq!(run.client(), ["headers", "'replaced' eos"]);
    assert_eq!(
        run.response_headers(),
        ":status=502 x-a=1 content-length=8 content-type=text/plain"
    );
    run.finish();
}
