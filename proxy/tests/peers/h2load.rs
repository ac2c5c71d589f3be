//! h2load, through a filter.

use weir_conformance::guests::request_marker;
use weir_conformance::tls::Authority;
use weir_conformance::{Upstream, program};

use super::plain_and_encrypted;

/// How many requests it makes.
const REQUESTS: usize = 4000;

#[test]
fn no_request_of_h2load_fails() {
    let upstream = Upstream::echo();
    let weir = plain_and_encrypted(&Authority::new("ca"), upstream.address);
    std::fs::write(weir.path("marker.wasm"), request_marker("seen")).unwrap();
    let config = std::fs::read_to_string(weir.path("weir.yaml")).unwrap();
    let filters = "http_filters: [{ name: marker, wasm: { vm_config: { code: { local: \
                   { filename: marker.wasm } } } } }]\n  routes:";
    weir.reload_with(&config.replace("routes:", filters));
    for (number, (scheme, listener, arguments)) in (1..).zip([
        ("http", "edge", &["--h1", "-c", "8"][..]),
        ("https", "tls", &["--h1", "-c", "8"]),
        // Over HTTP/2, as many streams on each connection.
        ("http", "edge", &["-c", "8", "-m", "16"]),
        ("https", "tls", &["-c", "8", "-m", "16"]),
    ]) {
        let address = weir.listener(listener);
        let output = program("h2load")
            .args(["-n", &REQUESTS.to_string()])
            .args(arguments)
            .arg(format!("{scheme}://{address}/"))
            .output()
            .unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let all = format!(
            "requests: {REQUESTS} total, {REQUESTS} started, {REQUESTS} done, \
             {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"
        );
        assert!(told.contains(&all), "{told}");
        assert!(
            told.contains(&format!("status codes: {REQUESTS} 2xx")),
            "{told}"
        );
        let requests = upstream.requests();
        assert_eq!(requests.len(), number * REQUESTS);
        assert!(
            requests
                .iter()
                .all(|r| r.header("x-version") == Some("seen"))
        );
    }
    let class = "envoy_response_code_class=\"2\"";
    let answered = weir.metric_of("envoy_http_downstream_rq_xx", class);
    assert_eq!(answered as usize, 4 * REQUESTS);
    assert_eq!(weir.metric("envoy_http_downstream_rq_active"), 0);
    assert_eq!(weir.metric("weir_wasm_vm_failures_total"), 0);
}
