//! Spans, as a collector of the test's own gets them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use weir_conformance::{Answer, Request, Upstream, Weir, eventually, filter};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that takes everything.
fn collector() -> Upstream {
    Upstream::start(|_| Answer::ok(""))
}

fn start(collector: &Upstream, upstream: &Upstream, tracing: &str, listener: &str) -> Weir {
    Weir::start(&config(collector, upstream, tracing, listener))
}

fn config(collector: &Upstream, upstream: &Upstream, tracing: &str, listener: &str) -> String {
    let script = "request_headers path=/call: http_call web 9000 :method=GET;:path=/;:authority=a \
                  - - ; pause\\nhttp_call_response: effective oldest ; resume request\\n\
                  request_headers path=/no: reply 403 no no - -1\\n\
                  request_headers path=/trap: trap";
    format!(
        "workers: 1
node: {{ id: edge-1, cluster: c, locality: {{ zone: z }} }}
admin: {{ address: 127.0.0.1:0 }}
tracing: {{ otlp: {{ endpoint: 'http://{}', headers: {{ x-tenant: t }} }}, service_name: shop{tracing} }}
listeners:
- name: edge
  address: 127.0.0.1:0
  {listener}
  http_filters:
  - name: scribe
    wasm: {{ vm_config: {{ code: {{ local: {{ filename: {} }} }} }}, configuration: \"{script}\" }}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        collector.address,
        filter("probe").display(),
        upstream.address,
    )
}

/// What has arrived at the collector, request by request.
fn exported(collector: &Upstream) -> Vec<(Request, ExportTraceServiceRequest)> {
    let decode = |request: Request| {
        let decoded = ExportTraceServiceRequest::decode(&request.body[..]).unwrap();
        (request, decoded)
    };
    collector.requests().into_iter().map(decode).collect()
}

fn spans(collector: &Upstream) -> Vec<Span> {
    let all = exported(collector).into_iter();
    let resources = all.flat_map(|(_, request)| request.resource_spans);
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

/// The spans, once there are so many.
fn eventually_spans(collector: &Upstream, count: usize) -> Vec<Span> {
    eventually(&format!("{count} spans"), || {
        let spans = spans(collector);
        (spans.len() >= count).then_some(spans)
    })
}

fn named<'s>(spans: &'s [Span], name: &str) -> &'s Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(found.len(), 1, "{name} in {names:?}");
    found[0]
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_request_gets_spans_for_itself_its_filters_and_its_endpoint() {
    let (collector, upstream) = (collector(), Upstream::echo());
    let weir = start(&collector, &upstream, "", "");
    let given = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("traceparent", given.as_str()),
        ("tracestate", "vendor=value"),
        ("x-request-id", "the-id"),
        ("user-agent", "test/1"),
    ];
    assert_eq!(weir.connect().get_with("/path?q=1", &headers).status, 200);
    let spans = eventually_spans(&collector, 4);
    assert_eq!(spans.len(), 4);
    let server = named(&spans, "ingress");
    let endpoint = named(&spans, "router web egress");
    let of_filter = |direction: &str| {
        let of =
            |span: &&Span| text(&span.attributes, "weir.direction").as_deref() == Some(direction);
        spans.iter().find(of).unwrap()
    };
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(
            span.start_time_unix_nano <= span.end_time_unix_nano,
            "{}",
            span.name
        );
        assert!(
            span.start_time_unix_nano >= server.start_time_unix_nano,
            "{}",
            span.name
        );
        assert!(
            span.end_time_unix_nano <= server.end_time_unix_nano,
            "{}",
            span.name
        );
        assert_eq!(span.status, None);
    }
    let ids: HashSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(hex(&server.parent_span_id), PARENT);
    assert_eq!(server.kind, 2);
    for child in [endpoint, of_filter("request"), of_filter("response")] {
        assert_eq!(child.parent_span_id, server.span_id);
    }
    assert_eq!((endpoint.kind, of_filter("request").kind), (3, 1));
    for (key, expected) in [
        ("http.url", "http://test/path?q=1"),
        ("http.method", "GET"),
        ("http.protocol", "HTTP/1.1"),
        ("http.status_code", "200"),
        ("guid:x-request-id", "the-id"),
        ("user_agent", "test/1"),
        ("downstream_cluster", "-"),
        ("peer.address", "127.0.0.1"),
        ("response_flags", "-"),
        ("upstream_cluster", "web"),
        ("upstream_cluster.name", "web"),
        ("node_id", "edge-1"),
        ("zone", "z"),
        ("component", "proxy"),
        ("request_size", "0"),
    ] {
        let found = text(&server.attributes, key);
        assert_eq!(found.as_deref(), Some(expected), "{key}");
    }
    let address = upstream.address.to_string();
    assert_eq!(
        text(&endpoint.attributes, "upstream_address"),
        Some(address)
    );
    assert_eq!(
        text(&endpoint.attributes, "http.status_code").as_deref(),
        Some("200")
    );
    let request = of_filter("request");
    assert_eq!(request.name, "filter scribe");
    assert_eq!(
        text(&request.attributes, "weir.callbacks").as_deref(),
        Some("1")
    );

    // The endpoint is a child of the span about it.
    let received = &upstream.requests()[0];
    let passed = format!("00-{TRACE}-{}-01", hex(&endpoint.span_id));
    assert_eq!(received.header("traceparent"), Some(&*passed));
    assert_eq!(received.header("tracestate"), Some("vendor=value"));

    let (post, export) = &exported(&collector)[0];
    assert_eq!(
        (post.method.as_str(), post.path.as_str()),
        ("POST", "/v1/traces")
    );
    assert_eq!(post.header("content-type"), Some("application/x-protobuf"));
    assert_eq!(post.header("x-tenant"), Some("t"));
    let resource = export.resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(
        text(&resource.attributes, "service.name").as_deref(),
        Some("shop")
    );
    let instance = text(&resource.attributes, "service.instance.id");
    assert_eq!(instance.as_deref(), Some("edge-1"));
    weir.eventually_metric("envoy_tracing_opentelemetry_spans_sent", 4);
    let stats = weir.admin_get("/stats?filter=tracing").text();
    assert!(
        stats.contains("tracing.opentelemetry.spans_sent: 4\n"),
        "{stats}"
    );
}

#[test]
fn without_a_context_the_part_that_is_asked_for_is_sampled_and_those_behind_are_told() {
    let (collector, upstream) = (collector(), Upstream::echo());
    let weir = start(&collector, &upstream, ", sampling: 50%", "");
    let mut client = weir.connect();
    const REQUESTS: usize = 200;
    for _ in 0..REQUESTS {
        // What is not well-formed is none, and what belongs to it goes.
        let wrong = [("traceparent", "00-zz"), ("tracestate", "a=b")];
        assert_eq!(client.get_with("/", &wrong).status, 200);
    }
    let requests = upstream.requests();
    let contexts = requests.iter().map(|r| r.header("traceparent").unwrap());
    let contexts: Vec<_> = contexts.collect();
    assert!(requests.iter().all(|r| r.header("tracestate").is_none()));
    let traces: HashSet<_> = contexts.iter().map(|c| &c[3..35]).collect();
    assert_eq!(traces.len(), REQUESTS);
    let sampled = contexts.iter().filter(|c| c.ends_with("-01")).count();
    assert!((50..150).contains(&sampled), "{sampled}");
    assert!(
        contexts
            .iter()
            .all(|c| c.ends_with("-01") || c.ends_with("-00"))
    );
    let spans = eventually_spans(&collector, sampled * 4);
    assert_eq!(spans.len(), sampled * 4);
    let roots = spans.iter().filter(|span| span.name == "ingress");
    assert!(roots.clone().all(|span| span.parent_span_id.is_empty()));
    assert_eq!(roots.count(), sampled);
}

#[test]
fn a_context_that_is_not_sampled_is_passed_on_as_it_is() {
    let (collector, upstream) = (collector(), Upstream::echo());
    let weir = start(&collector, &upstream, "", "");
    let given = format!("00-{TRACE}-{PARENT}-00");
    let mut client = weir.connect();
    client.get_with("/", &[("traceparent", &given), ("tracestate", "a=b")]);
    assert_eq!(upstream.requests()[0].header("traceparent"), Some(&*given));
    assert_eq!(upstream.requests()[0].header("tracestate"), Some("a=b"));
    client.get("/");
    let spans = eventually_spans(&collector, 4);
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE));
    // One that others sample is, whatever part is asked for here.
    let none = self::collector();
    let weir = start(&none, &upstream, ", sampling: 0%", "direction: outbound");
    let given = given.replace("-00", "-01");
    let mut client = weir.connect();
    client.get("/");
    client.get_with("/", &[("traceparent", &given)]);
    let spans = eventually_spans(&none, 4);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    assert_eq!(named(&spans, "egress test").kind, 3);
}

#[test]
fn what_a_filter_answers_and_what_fails_is_seen() {
    let collector = collector();
    let upstream = Upstream::echo();
    let text_of = config(&collector, &upstream, "", "");
    let dead = weir_conformance::nobody().to_string();
    let weir = Weir::start(&text_of.replace(&upstream.address.to_string(), &dead));
    let mut client = weir.connect();
    assert_eq!(client.get("/no").status, 403);
    let spans = eventually_spans(&collector, 3);
    assert_eq!(named(&spans, "ingress").status, None);
    assert!(spans.iter().all(|span| !span.name.starts_with("router")));

    assert_eq!(client.get("/").status, 503);
    let spans = eventually_spans(&collector, 7).split_off(3);
    for name in ["ingress", "router web egress"] {
        let span = named(&spans, name);
        assert_eq!(span.status.as_ref().unwrap().code, 2, "{name}");
        assert_eq!(text(&span.attributes, "error").as_deref(), Some("true"));
    }
    let flags = text(&named(&spans, "ingress").attributes, "response_flags");
    assert_eq!(flags.as_deref(), Some("UF"));

    assert_eq!(client.get("/trap").status, 503);
    let spans = eventually_spans(&collector, 9).split_off(7);
    assert!(named(&spans, "ingress").status.is_some());
    named(&spans, "filter scribe");
}

#[test]
fn a_filter_that_waits_for_its_own_request_has_a_span_until_it_goes_on() {
    let collector = collector();
    let upstream = Upstream::start(|request| {
        std::thread::sleep(std::time::Duration::from_millis(30));
        Answer::ok(&request.path)
    });
    let weir = start(&collector, &upstream, "", "");
    assert_eq!(weir.connect().get("/call").status, 200);
    let spans = eventually_spans(&collector, 4);
    let waited = spans.iter().filter(|span| span.name == "filter scribe");
    let longest = waited.map(|span| span.end_time_unix_nano - span.start_time_unix_nano);
    assert!(longest.max().unwrap() >= 30_000_000);
}

#[test]
fn a_collector_that_is_away_costs_spans_and_no_request() {
    let refuses = Arc::new(AtomicBool::new(true));
    let is_refusing = Arc::clone(&refuses);
    let collector = Upstream::start(move |_| match is_refusing.load(Ordering::Relaxed) {
        true => Answer::Raw(b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()),
        false => Answer::ok(""),
    });
    let upstream = Upstream::echo();
    let weir = start(&collector, &upstream, "", "");
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    weir.eventually_metric("envoy_tracing_opentelemetry_spans_dropped", 4);
    assert!(weir.log().contains("does not take spans"), "{}", weir.log());
    refuses.store(false, Ordering::Relaxed);
    assert_eq!(client.get("/").status, 200);
    weir.eventually_metric("envoy_tracing_opentelemetry_spans_sent", 4);
}

#[test]
fn a_reload_changes_what_is_sampled() {
    let (collector, upstream) = (collector(), Upstream::echo());
    let weir = start(&collector, &upstream, ", sampling: 0%", "");
    let mut client = weir.connect();
    client.get("/");
    let report = weir.reload_with(&config(&collector, &upstream, "", ""));
    assert!(report.contains("tracing"), "{report}");
    client.get("/");
    assert_eq!(eventually_spans(&collector, 4).len(), 4);
}

#[test]
fn the_last_spans_are_sent_before_the_end() {
    let (collector, upstream) = (collector(), Upstream::echo());
    let mut weir = start(&collector, &upstream, "", "");
    assert_eq!(weir.connect().get("/").status, 200);
    weir.terminate();
    assert!(weir.wait().success());
    assert_eq!(spans(&collector).len(), 4);
}
