//! The page at `/`, and what it shows.

use serde_json::{Value as Json, json};

use super::answer::Answer;
use super::{AdminState, filters, server_info};
use crate::limits::FAILURES_SHOWN;
use crate::logging;
use crate::reload::Configuration;

const PAGE: &str = include_str!("dashboard.html");

/// Nothing from elsewhere, nothing that a value could smuggle in: the page's own script
/// and style are named by a nonce.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page.
pub(super) fn page() -> Answer {
    let mut random = [0; 16];
    if let Err(error) = getrandom::fill(&mut random) {
        return Answer::code(500, format!("no random numbers: {error}\n"));
    }
    let nonce: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Answer::new(
        200,
        "text/html; charset=utf-8",
        PAGE.replace("{{nonce}}", &nonce),
    )
    .header("content-security-policy", policy(&nonce))
    .header("x-frame-options", "DENY")
    .header("referrer-policy", "no-referrer")
    .header("cross-origin-opener-policy", "same-origin")
    .header("cross-origin-resource-policy", "same-origin")
}

/// `/dashboard.json`
pub(super) fn data(state: &AdminState) -> Answer {
    let served = state.served.load_full();
    let listeners = served.iter().flat_map(|served| listeners(state, served));
    let clusters = served.iter().flat_map(|served| clusters(state, served));
    let failures = served.iter().flat_map(|served| failures(state, served));
    let levels = logging::levels();
    let plugins = levels.plugins();
    let plugins = plugins.map(|(name, level)| (name.to_owned(), level.to_string().into()));
    let targets = levels.targets().into_iter();
    let targets = targets.map(|(name, level)| (name, level.to_string().into()));
    let data = json!({
        "server": server_info::to_json(state),
        "uptime_seconds": state.metrics.uptime().as_secs_f64(),
        "listeners": listeners.collect::<Vec<_>>(),
        "clusters": clusters.collect::<Vec<_>>(),
        "generations": state.metrics.generations.to_json(),
        "failures": failures.collect::<Vec<_>>(),
        "logging": {
            "targets": targets.collect::<serde_json::Map<String, Json>>(),
            "plugins": plugins.collect::<serde_json::Map<String, Json>>(),
        },
    });
    Answer::new(200, "application/json", format!("{data}\n"))
}

fn listeners(state: &AdminState, served: &Configuration) -> Vec<Json> {
    let generation = &served.generation;
    let all = generation.listeners.iter().zip(generation.addresses());
    let listener = all.map(|(listener, (name, address))| {
        let is_tcp = listener.is_tcp();
        let figures = state.metrics.listener(name, address, is_tcp);
        let figures = figures.map(|f| {
            json!({
                "connections": f.connections,
                "active_connections": f.active_connections,
                "requests": f.requests,
                "active_requests": f.active_requests,
                "codes": f.codes,
                "time": f.time.to_json(),
            })
        });
        json!({
            "name": name,
            "address": address.to_string(),
            "protocol": if is_tcp { "tcp" } else { "http" },
            "figures": figures,
            "filters": filters::chain(state, generation, listener),
        })
    });
    listener.collect()
}

fn clusters(state: &AdminState, served: &Configuration) -> Vec<Json> {
    let clusters = served.generation.clusters.iter();
    let cluster = clusters.map(|cluster| {
        let figures = state.metrics.cluster(&cluster.name).map(|f| {
            json!({
                "connections": f.connections,
                "connect_failures": f.connect_failures,
                "requests": f.requests,
                "active_requests": f.active_requests,
                "failures": f.failures,
                "codes": f.codes,
                "time": f.time.to_json(),
            })
        });
        json!({ "name": cluster.name, "figures": figures })
    });
    cluster.collect()
}

/// Those of all filters, the last one first.
fn failures(state: &AdminState, served: &Configuration) -> Vec<Json> {
    let vms = served.generation.vms.iter();
    let of_plugins = vms.flat_map(|vm| {
        let plugins = vm.plugins.iter();
        plugins.flat_map(|plugin| state.metrics.plugin(vm, &plugin.plugin.name).last_failures)
    });
    let mut failures: Vec<_> = of_plugins.collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.at));
    failures.truncate(FAILURES_SHOWN);
    failures.iter().map(|failure| failure.to_json()).collect()
}
