//! A management server says what is served.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

mod filters;
mod lifecycle;
mod resources;
mod secrets;
mod takeover;

use serde_json::{Value as Json, json};
use weir_conformance::{Client, ControlPlane, Weir, eventually, xds_bootstrap};

/// Weir, with everything from `server`, by deltas.
fn weir(server: &ControlPlane) -> Weir {
    weir_with(server, "DELTA_GRPC", &json!({}))
}

fn weir_with(server: &ControlPlane, api_type: &str, more: &Json) -> Weir {
    Weir::start_envoy(&xds_bootstrap(&server.address, api_type, more))
}

/// A connection to a listener, once there is such.
fn connect(weir: &Weir, name: &str) -> Client {
    Client::connect(eventually(name, || weir.current_listener(name)))
}
