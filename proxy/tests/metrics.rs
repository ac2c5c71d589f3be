//! What `/metrics` says of filters, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use weir_conformance::{Exposition, Upstream, Weir, eventually, filter};

/// A Weir in front of `upstream` with one filter, `scribe`, that does what `script`
/// says.
fn start(upstream: &Upstream, workers: usize, script: &str) -> Weir {
    Weir::start(&format!(
        "workers: {workers}
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - name: scribe
    wasm:
      vm_config: {{ vm_id: v, code: {{ local: {{ filename: {} }} }} }}
      configuration: \"{}\"
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
clusters:
- {{ name: web, endpoints: [\"{}\"] }}
",
        filter("probe").display(),
        script.replace('\n', "\\n"),
        upstream.address
    ))
}

fn page(weir: &Weir) -> Exposition {
    Exposition::parse(&weir.admin_get("/metrics").text()).expect("a page that is well-formed")
}

/// The sample of the filter's VM with one more label.
fn of_plugin(page: &Exposition, name: &str, label: (&str, &str)) -> Option<f64> {
    page.value(name, &[("vm_id", "v"), ("plugin", "scribe"), label])
}

#[test]
fn what_a_filter_does_and_costs_is_counted() {
    let upstream = Upstream::echo();
    let script = "request_headers path=/call: http_call web 9000 \
                  :method=GET;:path=/;:authority=a - - ; http_call nowhere 9000 \
                  :method=GET;:path=/;:authority=a - - ; pause\n\
                  http_call_response: effective oldest ; resume request\n\
                  request_headers path=/no: reply 403 no no - -1\n\
                  request_headers path=/hold: pause\n\
                  request_headers path=/trap: trap\n\
                  request_headers path=/exit: wasi_exit 3";
    let weir = start(&upstream, 1, script);
    let mut client = weir.connect();
    for (path, status) in [("/call", 200), ("/no", 403), ("/call", 200), ("/", 200)] {
        assert_eq!(client.get(path).status, status, "{path}");
    }
    let streams = || {
        of_plugin(
            &page(&weir),
            "weir_wasm_contexts_active",
            ("kind", "stream"),
        )
    };
    eventually("all streams are over", || {
        (streams() == Some(0.0)).then_some(())
    });
    let mut held = weir.connect();
    held.send("GET /hold HTTP/1.1\r\nhost: h\r\n\r\n");
    eventually("a stream is held", || {
        (streams() == Some(1.0)).then_some(())
    });
    let now = page(&weir);

    let time = "weir_wasm_callback_seconds";
    assert_eq!(now.kind(time), Some("histogram"));
    let calls = |callback| {
        let label = ("callback", callback);
        let count = of_plugin(&now, &format!("{time}_count"), label)?;
        let sum = of_plugin(&now, &format!("{time}_sum"), label)?;
        assert!(sum > 0.0 && sum < 10.0, "{callback}: {sum}");
        Some(count)
    };
    assert_eq!(calls("proxy_on_request_headers"), Some(5.0));
    // That of the local response is one of them.
    assert_eq!(calls("proxy_on_response_headers"), Some(4.0));
    assert_eq!(calls("proxy_on_http_call_response"), Some(2.0));
    assert_eq!(calls("proxy_on_log"), Some(4.0));
    assert_eq!(calls("proxy_on_tick"), None);

    let hostcalls = |name| of_plugin(&now, "weir_wasm_hostcalls_total", ("hostcall", name));
    assert_eq!(hostcalls("proxy_http_call"), Some(4.0));
    assert_eq!(hostcalls("proxy_send_local_response"), Some(1.0));
    assert_eq!(hostcalls("proxy_continue_stream"), Some(2.0));
    assert_eq!(hostcalls("proxy_grpc_call"), None);

    let of_vm = |name, labels: &[(&str, &str)]| {
        let vm = [("vm_id", "v"), ("plugins", "scribe")];
        now.value(name, &[&vm, labels].concat())
    };
    let callouts = |outcome| {
        of_vm(
            "weir_wasm_callouts_total",
            &[("kind", "http"), ("outcome", outcome)],
        )
    };
    assert_eq!(callouts("answered"), Some(2.0));
    assert_eq!(callouts("refused"), Some(2.0));
    assert_eq!(callouts("failed"), Some(0.0));
    assert_eq!(
        of_vm("weir_wasm_callouts_active", &[("kind", "http")]),
        Some(0.0)
    );
    let plugin = [("vm_id", "v"), ("plugin", "scribe")];
    assert_eq!(
        now.value("weir_wasm_local_responses_total", &plugin),
        Some(1.0)
    );
    assert_eq!(now.value("weir_generation", &[]), Some(1.0));
    eventually("the memory is told", || {
        (weir.metric("weir_wasm_vm_memory_bytes") > 65_536).then_some(())
    });

    let failures = |reason| {
        let page = page(&weir);
        of_plugin(&page, "weir_wasm_vm_failures_total", ("reason", reason)).unwrap()
    };
    assert_eq!(client.get("/trap").status, 503);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/exit").status, 503);
    assert_eq!(
        [failures("trap"), failures("exit"), failures("stack")],
        [1.0, 1.0, 0.0]
    );
    assert_eq!(client.get("/").status, 200);
    assert_eq!(weir.metric("weir_wasm_vm_restarts_total"), 2);
    let reloads = |what| weir.metric(&format!("envoy_wasm_scribe_vm_reload_{what}"));
    assert_eq!(["success", "failure", "backoff"].map(reloads), [2, 0, 0]);
    // The streams of a VM that has failed are gone with it.
    eventually("no stream is left", || {
        (streams() == Some(0.0)).then_some(())
    });
}

#[test]
fn metrics_of_a_filter_add_up_over_two_workers() {
    const CONNECTIONS: usize = 16;
    const EACH: usize = 10;
    let upstream = Upstream::echo();
    let script = "request_headers: metric counter shop.hits ; metric_add last 2 ; \
                  metric gauge shop.level ; metric_record last 7 ; \
                  metric histogram shop.size ; metric_record last 30 ; \
                  metric counter reporter=.=source;.;response_code=.=200;.;seen ; metric_record last 1";
    let weir = start(&upstream, 2, script);
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| weir.connect()).collect();
    for mut client in clients {
        for _ in 0..EACH {
            assert_eq!(client.get("/").status, 200);
        }
    }
    let page = page(&weir);
    let all = (CONNECTIONS * EACH) as f64;
    assert_eq!(page.kind("shop_hits"), Some("counter"));
    assert_eq!(page.value("shop_hits", &[]), Some(2.0 * all));
    assert_eq!(page.kind("shop_level"), Some("gauge"));
    assert_eq!(page.value("shop_level", &[]), Some(7.0));
    assert_eq!(page.kind("shop_size"), Some("histogram"));
    assert_eq!(page.value("shop_size_bucket", &[("le", "25")]), Some(0.0));
    assert_eq!(page.value("shop_size_bucket", &[("le", "50")]), Some(all));
    assert_eq!(page.value("shop_size_sum", &[]), Some(30.0 * all));
    let labels = [("reporter", "source"), ("response_code", "200")];
    assert_eq!(page.value("seen", &labels), Some(all));
}
