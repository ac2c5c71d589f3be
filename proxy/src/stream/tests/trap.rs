//! Guests that trap, in each callback.

use super::rig::{Chain, Filter};
use super::run::Run;
use crate::stream::ResponseState;

fn is_503(run: &Run) {
    assert_eq!(run.client(), ["headers eos"]);
    assert_eq!(run.response_headers(), ":status=503");
    assert_eq!(run.details(), "wasm_fail_stream");
    assert_eq!(run.state(), ResponseState::Complete);
    assert!(run.stream.request_over());
}

#[test]
fn a_trap_on_the_way_of_the_request_is_answered_with_503() {
    for (script, told) in [
        ("ctx trap", &["a ctx", "a failed"][..]),
        ("rqh trap", &["a ctx", "a rqh", "a failed"]),
        ("rqb trap", &["a ctx", "a rqh", "a rqb 3", "a failed"]),
    ] {
        let chain = Chain::of([script]);
        let run = chain.post();
        run.body("abc");
        run.body("");
        is_503(&run);
        assert_eq!(run.told(), told);
        assert_eq!(run.told_at_the_end(), [""; 0]);
    }
}

#[test]
fn a_trap_in_the_request_trailers_is_answered_with_503() {
    let chain = Chain::of(["rqb@eos add 1 x-t 1", "rqt trap"]);
    let run = chain.post();
    run.body("");
    is_503(&run);
    assert_eq!(run.told_at_the_end(), ["a log", "a done", "a delete"]);
}

#[test]
fn earlier_filters_see_the_503_and_all_others_log() {
    let chain = Chain::of(["", "rqh trap", ""]);
    let run = chain.get();
    assert_eq!(
        run.told(),
        [
            "a ctx",
            "a rqh eos",
            "b ctx",
            "b rqh eos",
            "b failed",
            "a rsh eos"
        ]
    );
    is_503(&run);
    assert_eq!(
        run.told_at_the_end(),
        [
            "a log", "c ctx", "c log", "a done", "a delete", "c done", "c delete"
        ]
    );
}

#[test]
fn a_trap_in_the_response_headers_is_answered_with_503_that_nobody_sees() {
    let chain = Chain::of(["", "rsh trap", ""]);
    let run = chain.get();
    run.told();
    run.respond_all();
    assert_eq!(run.told(), ["c rsh", "b rsh", "b failed"]);
    is_503(&run);
    assert_eq!(
        run.told_at_the_end(),
        ["a log", "c log", "a done", "a delete", "c done", "c delete"]
    );
}

#[test]
fn a_trap_after_the_headers_have_gone_cuts_the_response() {
    for (scripts, client) in [
        (["rsb trap", ""], &["headers"][..]),
        (["rsb@eos trap", ""], &["headers", "'ok'"]),
        (
            ["rst trap", "rsb@eos add 3 x-t 1"],
            &["headers", "'ok'", "''"],
        ),
    ] {
        let chain = Chain::of(scripts);
        let run = chain.get();
        run.respond_all();
        assert_eq!(run.client(), client);
        assert_eq!(run.state(), ResponseState::Reset);
        assert_eq!(run.response_header(":status").unwrap(), "200");
        assert_eq!(run.details(), "wasm_fail_stream");
        assert_eq!(run.told_at_the_end(), ["b log", "b done", "b delete"]);
    }
}

#[test]
fn a_trap_while_the_response_headers_are_held_is_answered_with_503() {
    let chain = Chain::new([Filter::new("rsh ret 1 ; rsb trap").holding_headers()]);
    let run = chain.get();
    run.respond();
    run.response_body("ok");
    is_503(&run);
    run.finish();
}

#[test]
fn a_trap_at_the_end_harms_no_other_filter() {
    for (script, told) in [
        ("log trap", &["a log", "a failed", "b log"][..]),
        ("done trap", &["a log", "b log", "a done", "a failed"]),
        (
            "delete trap",
            &["a log", "b log", "a done", "a delete", "a failed"],
        ),
    ] {
        let chain = Chain::of([script, ""]);
        let run = chain.get();
        run.respond_all();
        assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
        let expected = [told, &["b done", "b delete"]].concat();
        assert_eq!(run.told_at_the_end(), expected);
        assert_eq!(run.state(), ResponseState::Complete);
    }
}

#[test]
fn a_filter_that_answers_and_traps_has_trapped() {
    let chain = Chain::of(["rqh local 403 d denied - -1 ; rqh trap"]);
    let run = chain.get();
    is_503(&run);
    run.finish();
}

#[test]
fn a_filter_that_continues_and_traps_has_trapped() {
    let chain = Chain::of(["rqh continue 0 ; rqh trap"]);
    let run = chain.get();
    is_503(&run);
    assert_eq!(run.upstream(), [""; 0]);
    run.finish();
}

#[test]
fn a_trap_over_an_answer_replaces_it() {
    let chain = Chain::of(["rsh trap", "rqh local 403 d denied - -1"]);
    let run = chain.get();
    is_503(&run);
    run.finish();
}

#[test]
fn a_trap_on_grpc_is_answered_with_unavailable() {
    let chain = Chain::of(["rqh trap"]);
    let run = chain.grpc();
    assert_eq!(
        run.response_headers(),
        ":status=200 content-type=application/grpc grpc-status=14"
    );
    run.finish();
}

#[test]
fn a_paused_stream_does_not_wait_for_a_filter_whose_vm_has_failed() {
    for pause in ["rqh ret 1", "rqb ret 1", "rqb@eos ret 1", "rsh ret 1"] {
        let chain = Chain::of([&*format!("{pause} ; tick trap")]);
        let run = chain.post();
        run.body("abc");
        run.body("");
        if pause == "rsh ret 1" {
            run.respond_all();
        }
        assert_eq!(run.client(), [""; 0]);
        chain.tick(0);
        run.pump();
        is_503(&run);
        run.finish();
    }
}

#[test]
fn a_paused_response_that_has_begun_is_cut_when_the_vm_fails() {
    let chain = Chain::of(["rsb ret 1 ; tick trap"]);
    let run = chain.get();
    run.respond_all();
    chain.tick(0);
    run.pump();
    assert_eq!(run.client(), ["headers"]);
    assert_eq!(run.state(), ResponseState::Reset);
    run.finish();
}

#[test]
fn a_request_does_not_pass_a_failed_filter_after_its_response() {
    let chain = Chain::of(["rqb ret 1 ; tick trap"]);
    let run = chain.post();
    run.respond_all();
    run.body("abc");
    chain.tick(0);
    run.pump();
    run.body("def");
    run.body("");
    assert_eq!(run.upstream(), ["headers"]);
    assert_eq!(run.state(), ResponseState::Complete);
    run.finish();
}

#[test]
fn a_stream_paused_in_a_failed_vm_wakes_its_driver() {
    let chain = Chain::of(["rqh ret 1 ; tick trap"]);
    let run = chain.get();
    chain.tick(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .unwrap()
        .block_on(std::future::poll_fn(|cx| run.stream.poll_events(cx)));
    run.pump();
    is_503(&run);
    run.finish();
}
