//! What Istio sends, as it was recorded: see tests/istio/README.md.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use weir_conformance::{ControlPlane, Weir, eventually, in_own_network, xds_bootstrap};

/// What there is of one sidecar.
fn recorded(name: &str) -> Json {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/istio");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// With the cluster of the agent, which has the certificates: here it is nobody.
fn bootstrap(server: &ControlPlane, api_type: &str) -> String {
    let text = xds_bootstrap(&server.address, api_type, &json!({}));
    let mut bootstrap: Json = serde_json::from_str(&text).unwrap();
    let agent = json!({
        "name": "sds-grpc",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "sds-grpc",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "pipe": { "path": "/nowhere/socket" } },
            } }] }],
        },
    });
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut();
    clusters.unwrap().push(agent);
    bootstrap.to_string()
}

/// The names in a refusal, each of which has its reason.
fn refused(message: &str, kind: &str) -> Vec<String> {
    let beginning = format!("{kind} `");
    let parts = message.split(&beginning).skip(1);
    let names = parts.filter_map(|part| {
        let (name, reason) = part.split_once("`: ")?;
        assert!(reason.len() > "; ".len(), "{message}");
        Some(name.to_owned())
    });
    names.collect()
}

#[test]
fn what_istio_sends_is_taken_or_refused_by_name() {
    for name in ["productpage", "reviews", "ratings", "books"] {
        for api_type in ["DELTA_GRPC", "GRPC"] {
            let resources = recorded(name);
            // Its listeners have ports of their own.
            in_own_network(|| {
                let server = ControlPlane::start(&resources);
                let weir = Weir::start_as_envoy(&bootstrap(&server, api_type), &[], |_| {});
                for (of_type, kind, key) in [
                    ("Cluster", "cluster", "clusters"),
                    ("Listener", "listener", "listeners"),
                ] {
                    let answer = eventually(&format!("{name}: an answer about {key}"), || {
                        let end = format!(".{of_type}");
                        let is_one = |event: &Json| {
                            let url = event["type_url"].as_str().unwrap_or_default();
                            let is_answer = event["event"] == "ack" || event["event"] == "nack";
                            is_answer && url.ends_with(&end)
                        };
                        server.events().into_iter().find(is_one)
                    });
                    let Some(message) = answer["message"].as_str() else {
                        continue;
                    };
                    let known = resources[key].as_array().unwrap();
                    let refused = refused(message, kind);
                    assert!(!refused.is_empty(), "{message}");
                    for refused in refused {
                        let is_it = |resource: &Json| resource["name"] == *refused;
                        assert!(known.iter().any(is_it), "{refused} in {message}");
                    }
                }
                assert_eq!(weir.admin_get("/live").status, 200);
            });
        }
    }
}
