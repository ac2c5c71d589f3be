//! Plugins that share a VM share its fate, and so do the streams in it.

use weir_config::FailurePolicy;

use super::rig::{Chain, Filter, ended};
use crate::stream::ResponseState;

#[test]
fn two_plugins_of_a_failed_vm_fail_together() {
    let chain = Chain::new([Filter::new("rqh@root2 trap").shared_by(2)]);
    let run = chain.get();
    assert_eq!(
        run.told(),
        ["a ctx", "a rqh eos", "b ctx", "b rqh eos", "b failed"]
    );
    assert_eq!(run.client(), ["headers eos"]);
    assert_eq!(run.response_headers(), ":status=503");
    assert_eq!(run.told_at_the_end(), [""; 0]);
}

#[test]
fn a_plugin_that_was_not_reached_does_not_start_the_vm_again() {
    let chain = Chain::new([Filter::new("rqh@root1 trap").shared_by(2)]);
    let run = chain.get();
    assert_eq!(run.told_at_the_end(), [""; 0]);
}

#[test]
fn plugins_of_one_vm_log_and_end_in_chain_order_among_others() {
    let chain = Chain::new([
        Filter::new(""),
        Filter::new("").shared_by(2),
        Filter::new(""),
    ]);
    let run = chain.get();
    run.respond_all();
    let told = run.told_at_the_end();
    let (log, end) = told.split_at(4);
    assert_eq!(log, ["a log", "b log", "c log", "d log"]);
    assert_eq!(end, ended(&["a", "b", "c", "d"]));
}

#[test]
fn both_plugins_of_a_closed_vm_refuse_the_next_stream() {
    let filter = Filter::new("rqh@root2 trap")
        .shared_by(2)
        .policy(FailurePolicy::Closed);
    let chain = Chain::new([filter]);
    chain.get().finish();
    let run = chain.get();
    run.told();
    assert_eq!(run.response_headers(), ":status=503");
    run.finish();
    assert_eq!(run.told(), [""; 0]);
}

#[test]
fn a_stream_in_flight_fails_at_its_next_callback() {
    let chain = Chain::of(["rqh@2 trap"]);
    let in_flight = chain.get();
    let trapped = chain.get();
    trapped.finish();
    in_flight.pump();
    assert_eq!(in_flight.state(), ResponseState::Awaited);
    in_flight.respond_all();
    assert_eq!(in_flight.client(), ["headers eos"]);
    assert_eq!(in_flight.response_headers(), ":status=503");
    in_flight.finish();
}

#[test]
fn a_stream_in_flight_is_cut_if_its_response_has_begun() {
    let chain = Chain::of(["rqh@2 trap"]);
    let in_flight = chain.get();
    in_flight.respond();
    in_flight.response_body("o");
    chain.get().finish();
    in_flight.response_body("k");
    assert_eq!(in_flight.client(), ["headers", "'o'"]);
    assert_eq!(in_flight.state(), ResponseState::Reset);
    in_flight.finish();
}

#[test]
fn a_stream_in_flight_that_is_paused_fails_at_once() {
    let chain = Chain::of(["rqh@1 ret 1 ; rqh@2 trap"]);
    let in_flight = chain.get();
    chain.get().finish();
    in_flight.pump();
    assert_eq!(in_flight.client(), ["headers eos"]);
    assert_eq!(in_flight.response_headers(), ":status=503");
    in_flight.finish();
}

#[test]
fn a_complete_stream_is_not_harmed_by_a_later_failure() {
    let chain = Chain::of(["rqh@2 trap"]);
    let complete = chain.get();
    complete.respond_all();
    chain.get().finish();
    complete.pump();
    assert_eq!(complete.client(), ["headers", "'ok'", "'' eos"]);
    complete.finish();
}

#[test]
fn a_tick_continues_the_stream_it_chooses_and_no_other() {
    let chain = Chain::of(["rqh ret 1 ; tick http ; tick continue 0"]);
    let first = chain.get();
    let second = chain.get();
    chain.tick(0);
    first.pump();
    second.pump();
    assert_eq!(first.upstream(), [""; 0]);
    assert_eq!(second.upstream(), ["headers eos"]);
    first.stream.finish();
    second.finish();
}
