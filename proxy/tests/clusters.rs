//! Clusters: load balancing, health, circuit breakers, with real endpoints that are
//! killed, stall, or are not there.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "clusters/balancing.rs"]
mod balancing;
#[path = "clusters/breakers.rs"]
mod breakers;
#[path = "clusters/health.rs"]
mod health;
#[path = "clusters/outliers.rs"]
mod outliers;
mod tonic_server;

use weir_conformance::Weir;

/// A configuration with one listener, whose `route` goes on behind the cluster's name,
/// and one cluster `web` with these `keys`.
fn config(workers: usize, route: &str, keys: &str) -> String {
    format!(
        "workers: {workers}\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  access_log: {{ path: stdout }}\n  http: {{ envoy_headers: true }}\n  \
         routes: [{{ match: {{ prefix: / }}, cluster: web{route} }}]\n\
         clusters:\n- name: web\n{keys}\n"
    )
}

/// How many of `requests` on connections of their own came to each body, by number.
fn bodies(weir: &Weir, requests: usize) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for _ in 0..requests {
        let response = weir.connect().get("/");
        let body = match response.status {
            200 => response.text(),
            status => status.to_string(),
        };
        match counts.iter_mut().find(|(known, _)| *known == body) {
            Some((_, count)) => *count += 1,
            None => counts.push((body, 1)),
        }
    }
    counts
}

/// How many of them came to `body`.
fn count(counts: &[(String, usize)], body: &str) -> usize {
    let found = counts.iter().find(|(known, _)| known == body);
    found.map_or(0, |(_, count)| *count)
}
