//! Filters that hold more than they may; the limit is 10 bytes here.

use weir_abi::Direction;

use super::rig::{Chain, Filter};
use crate::stream::ResponseState;

#[test]
fn a_request_held_whole_over_the_limit_is_answered_with_413() {
    let chain = Chain::of(["rqh ret 3"]);
    let run = chain.post();
    run.told();
    run.body("0123456789");
    assert_eq!(run.client(), [""; 0]);
    run.body("x");
    assert_eq!(run.client(), ["headers", "'Payload Too Large' eos"]);
    assert_eq!(
        run.response_headers(),
        ":status=413 content-length=17 content-type=text/plain"
    );
    assert_eq!(run.details(), "request_payload_too_large");
    assert_eq!(run.upstream(), [""; 0]);
    assert!(run.stream.request_over());
    run.finish();
}

#[test]
fn a_request_buffered_over_the_limit_is_answered_with_413_that_filters_see() {
    let chain = Chain::of(["rqb ret 1"]);
    let run = chain.post();
    run.told();
    run.body("0123456789");
    run.body("x");
    assert_eq!(
        run.told(),
        ["a rqb 10", "a rqb 11", "a rsh", "a rsb 17 eos"]
    );
    assert_eq!(run.client(), ["headers", "'Payload Too Large' eos"]);
    run.body("more");
    run.body("");
    assert_eq!(run.told(), [""; 0]);
    run.finish();
}

#[test]
fn a_body_of_a_guest_counts_towards_the_limit_while_it_is_held() {
    let chain = Chain::of(["rqb setbuf 0 0 0 0123456789 ; rqb ret 1"]);
    let run = chain.post();
    run.body("x");
    assert_eq!(run.client(), ["headers", "'Payload Too Large' eos"]);
    run.finish();
}

#[test]
fn a_buffered_body_that_a_guest_makes_too_large_does_not_go_on() {
    let chain = Chain::of(["rqb@neos ret 1 ; rqb@eos setbuf 0 0 99 0123456789abc"]);
    let run = chain.post();
    run.body("x");
    run.body("");
    assert_eq!(run.client(), ["headers", "'Payload Too Large' eos"]);
    run.finish();
}

#[test]
fn a_chunk_that_was_not_buffered_may_become_any_size() {
    let chain = Chain::of(["rqb@eos setbuf 0 0 99 0123456789abc"]);
    let run = chain.post();
    run.told();
    run.body("");
    assert_eq!(run.upstream(), ["headers", "'0123456789abc' eos"]);
    run.finish();
}

#[test]
fn a_response_held_over_the_limit_is_replaced_by_500() {
    for filter in [
        Filter::new("rsh ret 3"),
        Filter::new("rsh ret 1 ; rsb ret 1").holding_headers(),
    ] {
        let chain = Chain::new([filter]);
        let run = chain.get();
        run.respond();
        run.response_body("0123456789");
        assert_eq!(run.client(), [""; 0]);
        run.response_body("x");
        assert_eq!(run.client(), ["headers", "'Internal Server Error' eos"]);
        assert_eq!(run.response_header(":status").unwrap(), "500");
        assert_eq!(run.details(), "response_payload_too_large");
        run.response_body("late");
        assert_eq!(run.client(), [""; 0]);
        run.finish();
    }
}

#[test]
fn a_response_held_over_the_limit_is_cut_once_its_headers_are_sent() {
    let chain = Chain::of(["rsb ret 1"]);
    let run = chain.get();
    run.respond();
    run.response_body("0123456789x");
    assert_eq!(run.client(), ["headers"]);
    assert_eq!(run.state(), ResponseState::Reset);
    assert_eq!(run.details(), "response_payload_too_large");
    assert!(run.stream.request_over());
    run.finish();
}

#[test]
fn with_watermarks_the_sender_waits_and_nothing_fails() {
    for script in ["rqh ret 4", "rqb ret 2"] {
        let chain = Chain::of([&*format!("{script} ; tick http ; tick continue 0")]);
        let run = chain.post();
        run.body("0123456789x");
        assert!(run.stream.is_over_watermark(Direction::Request));
        assert_eq!(run.state(), ResponseState::Awaited);
        chain.tick(0);
        run.pump();
        assert!(!run.stream.is_over_watermark(Direction::Request));
        assert_eq!(run.upstream(), ["headers", "'0123456789x'"]);
        run.finish();
    }
}

#[test]
fn an_upstream_waits_while_its_response_is_held() {
    for script in ["rsh ret 1", "rsb ret 2"] {
        let chain = Chain::of(["", &*format!("{script} ; tick http ; tick continue 1")]);
        let run = chain.get();
        run.respond();
        run.response_body("0123456789x");
        assert!(run.stream.is_over_watermark(Direction::Response));
        assert!(!run.stream.is_over_watermark(Direction::Request));
        chain.tick(1);
        run.pump();
        assert!(!run.stream.is_over_watermark(Direction::Response));
        assert_eq!(run.client(), ["headers", "'0123456789x'"]);
        run.finish();
    }
}

#[test]
fn a_request_that_was_answered_pushes_back_no_more() {
    let chain = Chain::of(["rqh ret 1 ; tick http ; tick local 403 d no - -1"]);
    let run = chain.post();
    run.body("0123456789x");
    assert!(run.stream.is_over_watermark(Direction::Request));
    chain.tick(0);
    run.pump();
    assert!(!run.stream.is_over_watermark(Direction::Request));
    run.finish();
}
