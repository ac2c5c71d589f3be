//! Guests that were built with other SDKs than Rust's: their modules import more
//! than they use, and nothing may be missing.

use weir_conformance::{Upstream, Weir, filter};

fn guest_works(module: &str, language: &str) {
    let upstream = Upstream::echo();
    let config = format!(
        "workers: 1\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:\n  \
           - name: guest\n    \
             wasm:\n      \
               vm_config: {{ code: {{ local: {{ filename: {} }} }} }}\n      \
               configuration: from the test\n  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        filter(module).display(),
        upstream.address
    );
    let weir = Weir::start(&config);
    let mut client = weir.connect();
    for _ in 0..100 {
        let response = client.get("/");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-guest-response"), Some(language));
        assert!(response.text().contains("x-guest-request: from the test\n"));
    }
    assert!(weir.log().contains("guest saw a request"));
}

#[test]
fn a_guest_of_the_assemblyscript_sdk_runs() {
    guest_works("guest-assemblyscript", "assemblyscript");
}

#[test]
fn a_guest_of_the_go_sdk_runs() {
    guest_works("guest-go", "go");
}
