//! What becomes of the streams after the one whose filter failed.

use std::time::Duration;

use weir_config::FailurePolicy;

use super::rig::{Chain, Filter};
use super::run::Run;

fn is_503(run: &Run) {
    assert_eq!(run.response_headers(), ":status=503");
    assert_eq!(run.details(), "wasm_fail_stream");
    run.finish();
}

fn passes(run: &Run) {
    assert_eq!(run.upstream(), ["headers eos"]);
    run.finish();
}

/// Traps at the first stream of each VM.
const TRAPS_ONCE: &str = "rqh@1 trap";

#[test]
fn without_a_policy_the_next_stream_gets_a_fresh_vm() {
    let chain = Chain::of(["rqh get 0 :path ; rqh@2 trap"]);
    passes(&chain.get());
    is_503(&chain.get());
    passes(&chain.get());
    is_503(&chain.get());
}

#[test]
fn without_a_policy_even_a_filter_that_always_traps_is_tried_each_time() {
    let chain = Chain::of([TRAPS_ONCE]);
    for _ in 0..3 {
        let run = chain.get();
        assert_eq!(run.told(), ["a ctx", "a rqh eos", "a failed"]);
        is_503(&run);
    }
}

#[test]
fn a_closed_filter_refuses_every_stream_after_its_failure() {
    let chain = Chain::new([
        Filter::new(""),
        Filter::new(TRAPS_ONCE).policy(FailurePolicy::Closed),
    ]);
    is_503(&chain.get());
    for _ in 0..2 {
        let run = chain.get();
        let told = run.told();
        assert_eq!(told[told.len() - 3..], ["a ctx", "a rqh eos", "a rsh eos"]);
        assert_eq!(run.upstream(), [""; 0]);
        is_503(&run);
        run.told();
    }
}

#[test]
fn an_open_filter_is_passed_by_after_its_failure() {
    let chain = Chain::new([
        Filter::new("rqh@1 set 0 x-a 1 ; rqh@1 trap").policy(FailurePolicy::Open),
        Filter::new(""),
    ]);
    is_503(&chain.get());
    for _ in 0..2 {
        let run = chain.get();
        run.respond_all();
        assert_eq!(run.client(), ["headers", "'ok'", "'' eos"]);
        let told = run.told_at_the_end();
        assert_eq!(told, ["b log", "b done", "b delete"]);
    }
}

#[test]
fn a_reloading_filter_starts_again_at_the_next_stream() {
    let chain = Chain::new([Filter::new(TRAPS_ONCE).reloading(Duration::ZERO)]);
    is_503(&chain.get());
    let run = chain.get();
    assert!(run.told().contains(&"a rqh eos".to_owned()));
    is_503(&run);
}

#[test]
fn a_reloading_filter_refuses_streams_until_its_interval_is_over() {
    let chain = Chain::new([Filter::new(TRAPS_ONCE).reloading(Duration::from_secs(3600))]);
    is_503(&chain.get());
    let run = chain.get();
    run.told();
    let run_told = run.told();
    assert_eq!(run_told, [""; 0]);
    is_503(&run);
}

#[test]
fn a_stream_that_is_only_logged_starts_no_vm_again() {
    let chain = Chain::of(["rqh ret 1", "tick trap"]);
    let run = chain.get();
    chain.tick(1);
    run.told();
    run.finish();
    assert_eq!(run.told(), ["a log", "a done", "a delete"]);
}

#[test]
fn a_filter_that_failed_between_streams_is_started_again_for_the_next() {
    let chain = Chain::of(["tick trap"]);
    passes(&chain.get());
    chain.tick(0);
    let run = chain.get();
    assert_eq!(run.told().last().unwrap(), "a rqh eos");
    passes(&run);
}
