//! Guests that were built with other SDKs than Rust's: their modules import more
//! than they use, and nothing may be missing.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use weir_conformance::{Upstream, Weir, filter};

fn guest_works(module: &str, language: &str) {
    let upstream = Upstream::echo();
    let module = std::fs::read(filter(module)).unwrap();
    let weir = Weir::start_module(&upstream, "configuration: from the test", &module);
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
