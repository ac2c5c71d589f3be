//! Clients and servers that others wrote: curl, h2load, openssl, nginx, tonic.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "peers/curl.rs"]
mod curl;
#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/h2load.rs"]
mod h2load;
#[path = "peers/nginx.rs"]
mod nginx;
#[path = "peers/openssl.rs"]
mod openssl;
mod tonic_server;

use std::net::SocketAddr;

use weir_conformance::Weir;
use weir_conformance::tls::Authority;

/// A configuration of one listener, with more keys, and a cluster of that endpoint,
/// with more keys in flow style.
fn config(listener: &str, endpoint: &str, cluster: &str) -> String {
    format!(
        "workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  access_log: {{ path: stdout }}\n{listener}  \
         routes: [{{ match: {{ prefix: / }}, cluster: web, timeout: 60s }}]\n\
         clusters: [{{ name: web, endpoints: ['{endpoint}']{cluster} }}]\n"
    )
}

/// A listener that can be spoken to in plain and one, `tls`, that is `edge.example` of
/// `authority`, whose certificate is `ca.pem`.
fn plain_and_encrypted(authority: &Authority, endpoint: SocketAddr) -> Weir {
    let plain = config("", &endpoint.to_string(), "");
    let routes = "  routes: [{ match: { prefix: / }, cluster: web, timeout: 60s }]\n";
    let tls = format!(
        "- name: tls\n  address: 127.0.0.1:0\n  \
         tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}] }}\n{routes}clusters:"
    );
    Weir::start_with(&plain.replace("clusters:", &tls), |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    })
}

/// Bytes that do not repeat soon.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n % 251) as u8).collect()
}
