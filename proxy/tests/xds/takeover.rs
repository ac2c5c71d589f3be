//! Another process takes over what is discovered.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value as Json, json};
use weir_conformance::{Client, ControlPlane, Over, Upstream, Weir, eventually, xds_bootstrap};

use crate::connect;
use crate::resources::gateway;

/// Weir, with everything from `server`, of which another process can take over.
fn weir(server: &ControlPlane, more: &Json) -> Weir {
    let bootstrap = xds_bootstrap(&server.address, "DELTA_GRPC", more);
    let weir = Weir::start_upgradable_envoy(&bootstrap);
    eventually("ready", || {
        (weir.admin_get("/ready").status == 200).then_some(())
    });
    weir
}

#[test]
fn no_connection_to_a_discovered_listener_is_refused() {
    const UPGRADES: usize = 3;
    let upstream = Upstream::echo();
    let server = ControlPlane::start(&gateway(upstream.address, &[]));
    let mut weir = weir(&server, &json!({}));
    let edge = weir.current_listener("edge").unwrap();
    let admin = weir.admin();
    let over = AtomicBool::new(false);
    let served = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(Client::connect(edge).get("/").status, 200);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let mut client = Client::connect_as(admin, admin.to_string());
                // The process before answers until the other one serves.
                assert_ne!(client.get("/ready").text(), "INITIALIZING\n");
            }
        });
        let _over = Over(&over);
        for _ in 0..UPGRADES {
            let before = served.load(Ordering::Relaxed);
            eventually("requests are served", || {
                (served.load(Ordering::Relaxed) > before + 20).then_some(())
            });
            assert!(weir.upgrade(&["--envoy"]).unwrap().success());
            assert_eq!(weir.current_listener("edge"), Some(edge));
            assert_eq!(weir.admin_get("/ready").status, 200);
        }
    });
    let log = weir.log();
    let replaced = log.matches("another process has taken over").count();
    assert_eq!(replaced, UPGRADES);
}

#[test]
fn who_is_not_told_what_to_serve_does_not_take_over() {
    let upstream = Upstream::echo();
    let server = ControlPlane::start(&gateway(upstream.address, &[]));
    let source = json!({
        "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "1s",
    });
    let more = json!({ "dynamic_resources": { "lds_config": source, "cds_config": source } });
    let mut weir = weir(&server, &more);
    let mut client = connect(&weir, "edge");
    drop(server);
    assert!(!weir.upgrade(&["--envoy"]).unwrap_err().success());
    let log = weir.log();
    let reason = "the management server has not said what is to be served";
    assert!(log.contains(reason), "{log}");
    assert!(log.contains("another process has not taken over"), "{log}");
    assert_eq!(client.get("/").status, 200);
    assert_eq!(connect(&weir, "edge").get("/").status, 200);
}
