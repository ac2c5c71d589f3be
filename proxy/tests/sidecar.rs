//! Weir next to services, on machines whose rules send it their connections.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "sidecar/agent.rs"]
mod agent;
#[path = "sidecar/calls.rs"]
mod calls;
#[path = "sidecar/mesh.rs"]
mod mesh;
#[path = "sidecar/rules.rs"]
mod rules;
#[path = "sidecar/tproxy.rs"]
mod tproxy;
mod tonic_server;
