//! Filters that come by themselves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;
use tempfile::TempDir;
use weir_conformance::guests::request_marker;
use weir_conformance::{Client, ControlPlane, Upstream, eventually};

use crate::resources::{discovered, extension, gateway};
use crate::{connect, weir};

#[test]
fn a_filter_is_swapped_under_load_and_a_broken_one_is_refused() {
    let folder = TempDir::new().unwrap();
    let module = |version: &str| {
        let path = folder.path().join(format!("{version}.wasm"));
        std::fs::write(&path, request_marker(version)).unwrap();
        path
    };
    let upstream = Upstream::echo();
    let mut resources = gateway(upstream.address, &[discovered("mark")]);
    resources["extension_configs"] = json!([extension("mark", &module("one"))]);
    let mut server = ControlPlane::start(&resources);
    let weir = weir(&server);
    connect(&weir, "edge");
    let address = weir.current_listener("edge").unwrap();
    let marked = |version: &str| {
        let mut client = Client::connect(address);
        let text = client.get("/").text();
        text.contains(&format!("\nx-version: {version}\n"))
    };
    assert!(marked("one"));
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                while !done.load(Ordering::Relaxed) {
                    let response = client.get("/");
                    assert_eq!(response.status, 200);
                    let text = response.text();
                    assert!(text.contains("\nx-version: "), "{text}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let finish = || done.store(true, Ordering::Relaxed);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let two = extension("mark", &module("two"));
            server.update(&json!({ "extension_configs": [two] }));
            eventually("the filter is another", || marked("two").then_some(()));
            let broken = folder.path().join("broken.wasm");
            std::fs::write(&broken, b"\0asm").unwrap();
            let broken = extension("mark", &broken);
            server.update(&json!({ "extension_configs": [broken] }));
            let reason = server.nack("TypedExtensionConfig", 1);
            assert!(reason.starts_with("extension `mark`: "), "{reason}");
            assert!(
                reason.contains("filter `mark` of listener `edge`: "),
                "{reason}"
            );
            assert!(marked("two"));
            let three = extension("mark", &module("three"));
            server.update(&json!({ "extension_configs": [three] }));
            eventually("the filter is a good one", || marked("three").then_some(()));
            let seen = count.load(Ordering::Relaxed);
            eventually("requests go on", || {
                (count.load(Ordering::Relaxed) > seen + 10).then_some(())
            });
        }));
        finish();
        result.unwrap();
    });
}

#[test]
fn a_listener_waits_for_its_filter_unless_there_is_a_default() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("default.wasm");
    std::fs::write(&path, request_marker("default")).unwrap();
    let upstream = Upstream::echo();
    let server = ControlPlane::start(&gateway(upstream.address, &[discovered("mark")]));
    let weir_without = weir(&server);
    server.answer("request", "TypedExtensionConfig", 1);
    assert!(weir_without.current_listener("edge").is_none());
    let mut with_default = discovered("mark");
    let default = extension("mark", &path)["typed_config"].take();
    with_default["config_discovery"]["default_config"] = default;
    let server = ControlPlane::start(&gateway(upstream.address, &[with_default]));
    let more = json!({ "dynamic_resources": { "lds_config": {
        "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.200s",
    }, "cds_config": {
        "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.200s",
    } } });
    let weir = crate::weir_with(&server, "DELTA_GRPC", &more);
    let mut client = connect(&weir, "edge");
    // Routes that are late are done without, too.
    eventually("the default is served", || {
        let text = client.get("/").text();
        text.contains("\nx-version: default\n").then_some(())
    });
}
