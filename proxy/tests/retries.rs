//! Retries: requests that are sent once more, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};

use weir_conformance::guests::response_marker;
use weir_conformance::h2::{H2Upstream, send_all};
use weir_conformance::{Answer, Client, Exposition, Upstream, Weir, eventually};

/// A listener whose only route has `route`, keys in flow style, behind a filter that
/// marks responses, and a cluster of `upstreams` with `cluster`.
fn weir(upstreams: &[&Upstream], route: &str, cluster: &str) -> Weir {
    let endpoints: Vec<_> = upstreams
        .iter()
        .map(|upstream| format!("\"{}\"", upstream.address))
        .collect();
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http: {{ envoy_headers: true }}
  access_log:
    path: stdout
    format: \"%REQ(:path)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\\n\"
  http_filters:
  - name: marker
    wasm: {{ vm_config: {{ vm_id: v, code: {{ local: {{ filename: marker.wasm }} }} }} }}
  virtual_hosts:
  - name: all
    domains: ['*']
    include_request_attempt_count: true
    include_attempt_count_in_response: true
    routes: [{{ match: {{ prefix: / }}, cluster: web, {route} }}]
clusters:
- {{ name: web, endpoints: [{}], {cluster} }}
",
        endpoints.join(", ")
    );
    Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("marker.wasm"), response_marker("1")).unwrap();
    })
}

const FAST: &str = "retry_back_off: { base_interval: 1ms }";

fn raw(status: u16, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Raw(
        format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\n\r\n{body}").into(),
    )
}

/// Answers by the number of the request, from 1.
fn counting(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |_| answer(count.fetch_add(1, Ordering::SeqCst) + 1))
}

/// What filters were called for, of responses' headers.
fn response_callbacks(weir: &Weir) -> f64 {
    let page = Exposition::parse(&weir.admin_get("/metrics").text()).unwrap();
    page.value(
        "weir_wasm_callback_seconds_count",
        &[
            ("vm_id", "v"),
            ("plugin", "marker"),
            ("callback", "proxy_on_response_headers"),
        ],
    )
    .unwrap_or(0.0)
}

#[test]
fn a_response_that_is_retried_is_shown_to_nobody() {
    let upstream = counting(|n| match n {
        1 => raw(503, "", "no"),
        2 => raw(500, "", ""),
        _ => raw(200, "", "yes"),
    });
    let policy = format!("retry_policy: {{ retry_on: 5xx, num_retries: 3, {FAST} }}");
    let weir = weir(&[&upstream], &policy, "");
    let mut client = weir.connect();
    let response = client.request("POST", "/x", &[], b"body");
    assert_eq!((response.status, response.text().as_str()), (200, "yes"));
    assert_eq!(response.header("x-envoy-attempt-count"), Some("3"));
    assert_eq!(response.header("x-version"), Some("1"));
    assert!(weir.logged("/x 200").contains("/x 200 - via_upstream 3"));
    let requests = upstream.requests();
    let counts: Vec<_> = requests
        .iter()
        .map(|r| (r.header("x-envoy-attempt-count").unwrap(), &r.body[..]))
        .collect();
    assert_eq!(
        counts,
        [("1", &b"body"[..]), ("2", b"body"), ("3", b"body")]
    );
    assert!((response_callbacks(&weir) - 1.0).abs() < f64::EPSILON);
    for (name, value) in [
        ("envoy_cluster_upstream_rq_retry", 2),
        ("envoy_cluster_upstream_rq_retry_success", 1),
        ("envoy_cluster_upstream_rq_retry_backoff_exponential", 2),
        ("envoy_cluster_upstream_rq_active", 0),
    ] {
        weir.eventually_metric(name, value);
    }
    // A response without a body leaves its connection for the next.
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn the_last_response_is_passed_on_with_a_flag() {
    let upstream = Upstream::start(|_| raw(503, "", "still no"));
    let policy = format!("retry_policy: {{ retry_on: gateway-error, {FAST} }}");
    let weir = weir(&[&upstream], &policy, "");
    let response = weir.connect().get("/x");
    assert_eq!(response.text(), "still no");
    assert!(weir.logged("/x 503").contains("/x 503 URX via_upstream 2"));
    weir.eventually_metric("envoy_cluster_upstream_rq_retry_limit_exceeded", 1);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn what_is_not_asked_for_is_not_retried() {
    let upstream = Upstream::start(|r| raw(r.path[1..].parse().unwrap(), "", ""));
    let policy = format!(
        "retry_policy: {{ retry_on: 'retriable-4xx,retriable-status-codes,gateway-error', \
         retriable_status_codes: [429], {FAST} }}"
    );
    let weir = weir(&[&upstream], &policy, "");
    let mut client = weir.connect();
    for (status, attempts) in [(500, 1), (404, 1), (409, 2), (429, 2), (502, 2), (504, 2)] {
        let before = upstream.requests().len();
        assert_eq!(client.get(&format!("/{status}")).status, status);
        assert_eq!(upstream.requests().len() - before, attempts, "{status}");
    }
}

#[test]
fn headers_and_grpc_statuses_are_conditions_too() {
    let upstream = Upstream::start(|r| raw(200, &format!("{}: 14\r\n", &r.path[1..]), ""));
    let policy = format!(
        "retry_policy: {{ retry_on: 'unavailable,retriable-headers', \
         retriable_headers: [{{ name: x-again, exact: '14' }}], \
         retriable_request_headers: [{{ name: ':method', exact: GET }}], {FAST} }}"
    );
    let weir = weir(&[&upstream], &policy, "");
    let mut client = weir.connect();
    for (path, attempts) in [("/grpc-status", 2), ("/x-again", 2), ("/other", 1)] {
        let before = upstream.requests().len();
        client.get(path);
        assert_eq!(upstream.requests().len() - before, attempts, "{path}");
    }
    let before = upstream.requests().len();
    client.request("POST", "/x-again", &[], b"");
    assert_eq!(upstream.requests().len() - before, 1);
}

#[test]
fn connections_that_break_are_followed_by_another_endpoint() {
    let broken = Upstream::start(|_| Answer::RawThenClose(Vec::new()));
    let good = Upstream::start(|_| Answer::ok("good"));
    let policy = format!("retry_policy: {{ retry_on: reset, {FAST} }}");
    let weir = weir(&[&broken, &good], &policy, "");
    let mut client = weir.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/x").text(), "good");
    }
    assert!(!broken.requests().is_empty());
}

#[test]
fn an_endpoint_that_is_not_there_is_tried_once() {
    let address = weir_conformance::nobody();
    let good = Upstream::start(|_| Answer::ok("good"));
    let policy = format!("retry_policy: {{ retry_on: connect-failure, {FAST} }}");
    let config = format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners: [{{ name: edge, address: 127.0.0.1:0, routes: [\
         {{ match: {{ prefix: / }}, cluster: web, {policy} }}] }}]\n\
         clusters: [{{ name: web, endpoints: ['{address}', '{}'] }}]",
        good.address
    );
    let weir = Weir::start(&config);
    let mut client = weir.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/x").text(), "good");
    }
}

#[test]
fn an_attempt_has_a_time_of_its_own() {
    let upstream = counting(|n| match n {
        1 => Answer::Silence,
        _ => Answer::ok("in time"),
    });
    let policy =
        format!("retry_policy: {{ retry_on: 5xx, per_try_timeout: 100ms, {FAST} }}, timeout: 30s");
    let weir = weir(&[&upstream], &policy, "");
    assert_eq!(weir.connect().get("/x").text(), "in time");
    weir.eventually_metric("envoy_cluster_upstream_rq_per_try_timeout", 1);
    let expected = upstream.requests()[0]
        .header("x-envoy-expected-rq-timeout-ms")
        .map(str::to_owned);
    assert_eq!(expected.as_deref(), Some("100"));
}

#[test]
fn attempts_that_run_out_of_time_are_told_from_requests_that_do() {
    let upstream = Upstream::start(|_| Answer::Silence);
    let policy = format!("retry_policy: {{ retry_on: 5xx, per_try_timeout: 50ms, {FAST} }}");
    let one = weir(&[&upstream], &policy, "");
    assert_eq!(one.connect().get("/x").status, 504);
    let line = one.logged("/x 504");
    assert!(
        line.contains("/x 504 UT,URX upstream_per_try_timeout 2"),
        "{line}"
    );
    let policy = format!(
        "retry_policy: {{ retry_on: 5xx, num_retries: 9, per_try_timeout: 80ms, {FAST} }}, timeout: 200ms"
    );
    let all = weir(&[&upstream], &policy, "");
    assert_eq!(all.connect().get("/x").status, 504);
    let line = all.logged("/x 504");
    assert!(line.contains("/x 504 UT response_timeout 3"), "{line}");
    let policy = format!(
        "retry_policy: {{ retry_on: 5xx, num_retries: 0, per_try_idle_timeout: 50ms, {FAST} }}"
    );
    let idle = weir(&[&upstream], &policy, "");
    assert_eq!(idle.connect().get("/x").status, 504);
    let line = idle.logged("/x 504");
    assert!(line.contains("upstream_per_try_idle_timeout 1"), "{line}");
}

#[test]
fn nothing_is_retried_once_a_response_has_begun() {
    let upstream = Upstream::start(|_| {
        Answer::RawThenClose(b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\npart".to_vec())
    });
    let policy = format!("retry_policy: {{ retry_on: '5xx,reset', num_retries: 5, {FAST} }}");
    let weir = weir(&[&upstream], &policy, "");
    let mut client = weir.connect();
    client.send("GET /x HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(client.try_response(false).is_err());
    assert!(weir.logged("/x 200").contains(" 1"));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_body_that_is_too_long_to_keep_is_sent_once() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let policy = format!("retry_policy: {{ retry_on: 5xx, buffer_limit: 1KiB, {FAST} }}");
    let weir = weir(&[&upstream], &policy, "");
    let mut client = weir.connect();
    client.request("POST", "/short", &[], &[b'x'; 1024]);
    assert_eq!(upstream.requests().len(), 2);
    client.request("POST", "/long", &[], &[b'x'; 1025]);
    assert_eq!(upstream.requests().len(), 3);
    assert!(
        weir.logged("/long 503")
            .contains("/long 503 - via_upstream 1")
    );
    weir.eventually_metric("envoy_cluster_retry_or_shadow_abandoned", 1);
}

#[test]
fn a_request_says_itself_how_it_is_tried() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let weir = weir(&[&upstream], "timeout: 30s", "");
    let mut client = weir.connect();
    let headers = [
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "2"),
        ("x-envoy-upstream-rq-timeout-ms", "9000"),
    ];
    client.get_with("/x", &headers);
    let requests = upstream.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[0].header("x-envoy-retry-on"), None);
    let expected = requests[0].header("x-envoy-expected-rq-timeout-ms");
    assert_eq!(expected, Some("9000"));
    client.get("/y");
    assert_eq!(upstream.requests().len(), 4);
}

#[test]
fn clients_have_no_say_unless_they_are_to() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let weir = Weir::start(&format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners: [{{ name: edge, address: 127.0.0.1:0, routes: [\
         {{ match: {{ prefix: / }}, cluster: web }}] }}]\n\
         clusters: [{{ name: web, endpoints: ['{}'] }}]",
        upstream.address
    ));
    weir.connect().get_with(
        "/x",
        &[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "9")],
    );
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_cluster_takes_only_so_many_retries_at_once() {
    let upstream = Upstream::start(|r| match r.header("x-envoy-attempt-count") {
        Some("1") => raw(503, "", ""),
        _ => Answer::Silence,
    });
    let policy = format!("retry_policy: {{ retry_on: 5xx, {FAST} }}");
    let weir = weir(&[&upstream], &policy, "");
    let mut waiting: Vec<Client> = Vec::new();
    for n in 1..=3 {
        let mut client = weir.connect();
        client.send("GET /held HTTP/1.1\r\nhost: h\r\n\r\n");
        waiting.push(client);
        eventually("the retry is under way", || {
            (upstream.requests().len() == 2 * n).then_some(())
        });
    }
    assert_eq!(weir.connect().get("/x").status, 503);
    assert!(weir.logged("/x 503").contains("/x 503 UO via_upstream 1"));
    weir.eventually_metric("envoy_cluster_upstream_rq_retry_overflow", 1);
    drop(waiting.pop());
    weir.logged("/held 0 DC");
    let mut client = weir.connect();
    client.send("GET /held HTTP/1.1\r\nhost: h\r\n\r\n");
    eventually("there is room again", || {
        (upstream.requests().len() == 9).then_some(())
    });
}

#[test]
fn a_client_that_goes_ends_the_retries() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let policy = "retry_policy: { retry_on: 5xx, num_retries: 50, \
                  retry_back_off: { base_interval: 10s, max_interval: 10s } }";
    let weir = weir(&[&upstream], policy, "");
    let mut client = weir.connect();
    client.send("GET /x HTTP/1.1\r\nhost: h\r\n\r\n");
    eventually("the first attempt", || {
        (!upstream.requests().is_empty()).then_some(())
    });
    weir.eventually_metric("envoy_cluster_upstream_rq_retry", 1);
    drop(client);
    assert!(weir.logged("/x 0").contains("/x 0 DC"));
    assert_eq!(upstream.requests().len(), 1);
}

/// A route with `retry_on` to an HTTP/2 endpoint.
fn http2(upstream: &H2Upstream, retry_on: &str) -> Weir {
    Weir::start(&format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  routes: [{{ match: {{ prefix: / }}, cluster: web, retry_policy: {{ retry_on: {retry_on}, {FAST} }} }}]
clusters:
- {{ name: web, endpoints: [\"{}\"], protocol: http2 }}
",
        upstream.address
    ))
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    let head = Response::builder().status(200).body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    send_all(&mut stream, text.into(), true).await.unwrap();
}

#[test]
fn a_stream_that_is_refused_is_sent_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = H2Upstream::start(move |request, mut respond: SendResponse<Bytes>| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                respond.send_reset(Reason::REFUSED_STREAM);
            } else {
                echo(request, respond).await;
            }
        }
    });
    let weir = http2(&upstream, "refused-stream");
    let response = weir.connect().request("POST", "/x", &[], b"body");
    assert_eq!((response.status, response.text().as_str()), (200, "body"));
}

#[test]
fn a_request_that_is_still_coming_is_sent_again_from_its_beginning() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = H2Upstream::start(move |request, mut respond: SendResponse<Bytes>| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                let head = Response::builder().status(503).body(()).unwrap();
                respond.send_response(head, true).unwrap();
            } else {
                echo(request, respond).await;
            }
        }
    });
    let weir = http2(&upstream, "5xx");
    let mut client = weir.connect();
    client.send("POST /x HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\none");
    eventually("the second attempt has begun", || {
        (upstream.requests() == 2).then_some(())
    });
    client.send("two");
    client.send("end");
    let response = client.response();
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "onetwoend")
    );
}

#[test]
fn each_attempt_counts_for_the_endpoint() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let policy = format!("retry_policy: {{ retry_on: 5xx, num_retries: 2, {FAST} }}");
    let detection = "outlier_detection: { consecutive_5xx: 3, interval: 50ms, \
                     base_ejection_time: 600s, max_ejection_percent: 100 }";
    let weir = weir(&[&upstream], &policy, detection);
    assert_eq!(weir.connect().get("/x").status, 503);
    assert_eq!(upstream.requests().len(), 3);
    weir.eventually_metric("envoy_cluster_outlier_detection_ejections_active", 1);
}

#[test]
fn circuit_breakers_say_how_many_retries_there_may_be() {
    let upstream = Upstream::start(|_| raw(503, "", ""));
    let policy = format!("retry_policy: {{ retry_on: 5xx, {FAST} }}");
    let open = "envoy_cluster_circuit_breakers_default_rq_retry_open";
    for (budget, attempts, is_open) in [
        ("", 1, 1),
        ("retry_budget: { min_retry_concurrency: 1 }", 2, 0),
    ] {
        let breakers = format!("circuit_breakers: {{ max_retries: 0 }}, {budget}");
        let weir = weir(&[&upstream], &policy, &breakers);
        let before = upstream.requests().len();
        assert_eq!(weir.connect().get("/x").status, 503);
        assert_eq!(upstream.requests().len() - before, attempts, "{budget}");
        weir.eventually_metric(open, is_open);
        let flag = if attempts == 1 { "UO" } else { "URX" };
        let line = format!("/x 503 {flag} via_upstream {attempts}");
        assert!(weir.logged("/x 503").contains(&line), "{budget}");
    }
}
