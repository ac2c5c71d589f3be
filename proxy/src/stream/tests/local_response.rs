//! Responses that filters send in place of the upstream: who sees them, and what
//! becomes of those that come too late.

use super::rig::{Chain, Filter};
use super::run::Run;
use crate::stream::ResponseState;

const DENIED: &str = "local 403 my%detail denied x-a=1 -1";

fn is_denied(run: &Run) {
    assert_eq!(run.client(), ["headers", "'denied' eos"]);
    assert_eq!(run.response_header(":status").unwrap(), "403");
    assert_eq!(run.state(), ResponseState::Complete);
    assert!(run.stream.request_over());
}

#[test]
fn an_answer_from_the_request_headers_is_seen_by_the_filters_so_far() {
    for result in [0, 1] {
        let chain = Chain::of(["", &*format!("rqh {DENIED} ; rqh ret {result}"), ""]);
        let run = chain.get();
        assert_eq!(
            run.told(),
            [
                "a ctx",
                "a rqh eos",
                "b ctx",
                "b rqh eos",
                "b rsh",
                "a rsh",
                "b rsb 6 eos",
                "a rsb 6 eos"
            ]
        );
        is_denied(&run);
        assert_eq!(run.upstream(), [""; 0]);
        run.finish();
    }
}

#[test]
fn an_answer_from_the_request_body_ends_the_request() {
    for result in [0, 1] {
        let chain = Chain::of([&*format!("rqb@1 {DENIED} ; rqb ret {result}"), ""]);
        let run = chain.post();
        run.told();
        run.body("abc");
        assert_eq!(
            run.told(),
            ["a rqb 3", "b rsh", "a rsh", "b rsb 6 eos", "a rsb 6 eos"]
        );
        is_denied(&run);
        run.body("more");
        run.respond_all();
        assert_eq!(run.told(), [""; 0]);
        assert_eq!(run.client(), [""; 0]);
        run.finish();
    }
}

#[test]
fn an_answer_from_the_request_trailers_ends_the_request() {
    let chain = Chain::of(["rqb@eos add 1 x-t 1", &*format!("rqt {DENIED}")]);
    let run = chain.post();
    run.body("");
    is_denied(&run);
    run.finish();
}

#[test]
fn an_answer_from_the_creation_of_the_context_ends_the_request() {
    let chain = Chain::of([&*format!("ctx {DENIED}"), ""]);
    let run = chain.get();
    assert_eq!(run.told(), ["a ctx", "a rsh", "a rsb 6 eos"]);
    is_denied(&run);
    run.finish();
}

#[test]
fn a_paused_request_can_be_answered_from_another_callback() {
    let chain = Chain::of([&*format!("rqh ret 1 ; tick http ; tick {DENIED}"), ""]);
    let run = chain.post();
    run.body("abc");
    run.told();
    chain.tick(0);
    run.pump();
    assert_eq!(run.told(), ["a tick", "a rsh", "a rsb 6 eos"]);
    is_denied(&run);
    run.finish();
}

#[test]
fn an_answer_of_the_root_context_goes_nowhere() {
    let chain = Chain::of([&*format!("rqh ret 1 ; tick {DENIED}")]);
    let run = chain.get();
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), [""; 0]);
    assert_eq!(run.state(), ResponseState::Awaited);
    run.finish();
}

#[test]
fn an_answer_from_the_response_headers_is_seen_by_nobody() {
    for result in [0, 1] {
        let chain = Chain::of(["", &*format!("rsh {DENIED} ; rsh ret {result}"), ""]);
        let run = chain.get();
        run.told();
        run.respond_all();
        assert_eq!(run.told(), ["c rsh", "b rsh"]);
        is_denied(&run);
        run.finish();
    }
}

#[test]
fn an_answer_from_the_response_body_cuts_a_response_that_has_begun() {
    for section in ["rsb", "rsb@eos"] {
        let chain = Chain::of([&*format!("{section} {DENIED}")]);
        let run = chain.get();
        run.respond_all();
        let client = run.client();
        assert_eq!(client[0], "headers");
        assert!(client.iter().all(|frame| !frame.contains("eos")));
        assert_eq!(run.state(), ResponseState::Reset);
        assert_eq!(run.details(), "my%detail");
        assert_eq!(run.response_header(":status").unwrap(), "200");
        run.finish();
    }
}

#[test]
fn an_answer_from_the_response_trailers_cuts_the_response() {
    let chain = Chain::of([&*format!("rst {DENIED}"), "rsb@eos add 3 x-t 1"]);
    let run = chain.get();
    run.respond_all();
    assert_eq!(run.client(), ["headers", "'ok'", "''"]);
    assert_eq!(run.state(), ResponseState::Reset);
    run.finish();
}

#[test]
fn an_answer_to_a_held_response_lets_the_client_have_what_passed_before() {
    // Headers and body of the response come out of the pause in one go.
    let chain = Chain::of([&*format!(
        "rsh ret 1 ; tick http ; tick continue 1 ; rsb {DENIED}"
    )]);
    let run = chain.get();
    run.respond_all();
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), ["headers"]);
    assert_eq!(run.state(), ResponseState::Reset);
    run.finish();
}

#[test]
fn of_two_answers_in_one_callback_the_first_is_sent() {
    let chain = Chain::of(["rqh local 403 one first a=1 -1 ; rqh local 404 two second b=1 -1"]);
    let run = chain.get();
    assert_eq!(run.client(), ["headers", "'first' eos"]);
    assert_eq!(
        run.response_headers(),
        ":status=403 a=1 content-length=5 content-type=text/plain"
    );
    assert_eq!(run.details(), "two");
    run.finish();
}

#[test]
fn of_two_answers_in_one_callback_the_first_is_held() {
    let chain = Chain::of([
        "rqh local 403 one first - -1 ; rqh local 404 two second - -1 ; rsh ret 1 ; \
         tick http ; tick continue 1",
    ]);
    let run = chain.get();
    assert_eq!(run.client(), [""; 0]);
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), ["headers", "'first' eos"]);
    run.finish();
}

#[test]
fn an_answer_to_an_answer_is_the_last_word() {
    let chain = Chain::of([
        "",
        "rqh local 403 one first - -1 ; rsh local 404 two second - -1",
    ]);
    let run = chain.get();
    assert_eq!(run.client(), ["headers", "'second' eos"]);
    assert_eq!(run.response_header(":status").unwrap(), "404");
    assert_eq!(run.told()[4..], ["b rsh"]);
    run.finish();
}

#[test]
fn a_filter_can_change_an_answer() {
    let chain = Chain::of([
        "rsh set 2 x-b 2 ; rsh set 2 :status 401 ; rsb setbuf 1 0 max go",
        &*format!("rqh {DENIED}"),
    ]);
    let run = chain.get();
    assert_eq!(run.client(), ["headers", "'go' eos"]);
    assert_eq!(
        run.response_headers(),
        ":status=401 x-a=1 content-length=6 content-type=text/plain x-b=2"
    );
    run.finish();
}

#[test]
fn a_held_answer_goes_on_when_it_is_continued() {
    let chain = Chain::of([&*format!(
        "rqh {DENIED} ; rsh ret 1 ; tick http ; tick continue 1"
    )]);
    let run = chain.get();
    assert_eq!(run.client(), [""; 0]);
    assert_eq!(run.state(), ResponseState::Started);
    chain.tick(0);
    run.pump();
    is_denied(&run);
    run.finish();
}

#[test]
fn a_continue_next_to_an_answer_sends_no_request() {
    for script in [
        format!("rqh continue 0 ; rqh {DENIED}"),
        format!("rqh {DENIED} ; rqh continue 0 ; rqh ret 1"),
    ] {
        let chain = Chain::of([&*script]);
        let run = chain.get();
        is_denied(&run);
        assert_eq!(run.upstream(), [""; 0]);
        run.finish();
    }
}

#[test]
fn an_answer_to_a_complete_response_has_no_effect() {
    let chain = Chain::of([&*format!("tick http ; tick {DENIED}")]);
    let run = chain.get();
    run.respond_all();
    run.client();
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), [""; 0]);
    assert_eq!(run.response_header(":status").unwrap(), "200");
    run.finish();
}

#[test]
fn an_answer_of_the_log_has_no_effect() {
    let chain = Chain::of([&*format!("log {DENIED} ; done {DENIED} ; delete {DENIED}")]);
    let run = chain.get();
    run.respond_all();
    run.finish();
    assert_eq!(run.response_header(":status").unwrap(), "200");
    assert_eq!(run.state(), ResponseState::Complete);
}

#[test]
fn an_answer_to_the_upload_replaces_a_response_that_is_held() {
    let filters = [Filter::new(&format!("rqb@eos {DENIED} ; rsh ret 1"))];
    let chain = Chain::new(filters);
    let run = chain.post();
    run.respond();
    run.told();
    run.body("");
    assert_eq!(run.told(), ["a rqb 0 eos"]);
    is_denied(&run);
    run.finish();
}
