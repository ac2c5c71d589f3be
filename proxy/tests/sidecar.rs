//! Weir next to services, on machines whose rules send it their connections.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "sidecar/agent.rs"]
mod agent;
#[path = "sidecar/calls.rs"]
mod calls;
#[path = "sidecar/endpoints.rs"]
mod endpoints;
#[path = "sidecar/managed.rs"]
mod managed;
#[path = "sidecar/mesh.rs"]
mod mesh;
#[path = "sidecar/rules.rs"]
mod rules;
mod tonic_server;
#[path = "sidecar/tproxy.rs"]
mod tproxy;
