//! What a local response looks like.

use super::rig::Chain;
use super::run::Run;

fn answered(answer: &str) -> Run {
    let run = Chain::of([&*format!("rqh {answer}")]).get();
    run.finish();
    run
}

#[test]
fn headers_come_in_order_in_lower_case_and_before_the_framing() {
    let run = answered("local 403 d denied x-a=1,X-B=2,x-a=3 -1");
    assert_eq!(
        run.response_headers(),
        ":status=403 x-a=1 x-b=2 x-a=3 content-length=6 content-type=text/plain"
    );
}

#[test]
fn the_length_is_the_bodys_and_the_type_is_the_filters() {
    let run = answered("local 200 d {} content-type=application/json,content-length=99 -1");
    assert_eq!(
        run.response_headers(),
        ":status=200 content-type=application/json content-length=2"
    );
}

#[test]
fn a_second_status_is_dropped_and_framing_left_to_the_codec() {
    let run = answered("local 200 d b Transfer-Encoding=chunked,connection=close,:status=404 -1");
    assert_eq!(
        run.response_headers(),
        ":status=200 transfer-encoding=chunked connection=close content-length=1 content-type=text/plain"
    );
}

#[test]
fn an_empty_body_is_none() {
    let run = answered("local 401 - - - -1");
    assert_eq!(run.response_headers(), ":status=401");
    assert_eq!(run.client(), ["headers eos"]);
    assert!(run.told().contains(&"a rsh eos".to_owned()));
}

#[test]
fn details_have_no_white_space() {
    let run = answered("local 403 a\tb\x01c x - -1");
    assert_eq!(run.details(), "a_b_c");
}

#[test]
fn a_code_is_cut_to_16_bits() {
    let run = answered("local 65939 d x - -1");
    assert_eq!(run.response_header(":status").unwrap(), "403");
}

#[test]
fn an_answer_to_head_has_the_length_and_no_body() {
    // The method as it came counts.
    let chain = Chain::of(["rqh set 0 :method GET ; rqh local 403 d denied - -1"]);
    let run = chain.stream(&[(":method", "HEAD"), (":path", "/")]);
    run.request(true);
    assert_eq!(
        run.response_headers(),
        ":status=403 content-length=6 content-type=text/plain"
    );
    assert_eq!(run.told(), ["a ctx", "a rqh eos", "a rsh eos"]);
    assert_eq!(run.client(), ["headers eos"]);
    run.finish();
}

#[test]
fn an_answer_to_grpc_is_made_of_headers_alone() {
    let chain = Chain::of(["rqh local 403 d no%way\n x-a=1 -1"]);
    let run = chain.grpc();
    assert_eq!(
        run.response_headers(),
        ":status=200 x-a=1 content-type=application/grpc grpc-status=7 grpc-message=no%25way%0A"
    );
    assert_eq!(run.client(), ["headers eos"]);
    run.finish();
}

#[test]
fn the_grpc_status_is_the_filters_or_follows_from_the_code() {
    for (code, given, expected) in [
        (403, 9, 9),
        (200, 0, 0),
        (400, -1, 13),
        (401, -1, 16),
        (404, -1, 12),
        (429, -1, 14),
        (502, -1, 14),
        (503, 17, 14),
        (418, -1, 2),
    ] {
        let chain = Chain::of([&*format!("rqh local {code} d - - {given}")]);
        let run = chain.grpc();
        let headers = format!(":status=200 content-type=application/grpc grpc-status={expected}");
        assert_eq!(run.response_headers(), headers);
        run.finish();
    }
}

#[test]
fn only_a_grpc_request_gets_a_grpc_answer() {
    for (content_type, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("text/plain", false),
    ] {
        let chain = Chain::of(["rqh local 403 d no - 7"]);
        let run = chain.stream(&[(":method", "POST"), ("content-type", content_type)]);
        run.request(false);
        assert_eq!(run.response_header("grpc-status").is_some(), grpc);
        run.finish();
    }
}
