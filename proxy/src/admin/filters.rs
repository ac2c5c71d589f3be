//! `/filters`: each listener's chain, what its filters come to, and how they failed.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};
use weir_config::FailurePolicy;

use super::AdminState;
use super::answer::Answer;
use super::config_dump::digest;
use super::request::Request;
use crate::filter::{FilterVmSpec, PluginSpec};
use crate::generation::{Generation, ListenerSpec};
use crate::logging;

/// `/filters`
pub(super) fn filters(state: &AdminState, request: &Request) -> Answer {
    let Some(served) = state.served.load_full() else {
        return Answer::code(503, "nothing is served yet\n");
    };
    match request.parameter("format") {
        None | Some("text" | "") => Answer::text(text(state, &served.generation)),
        Some("json") => {
            let listeners = served.generation.listeners.iter();
            let listeners = listeners
                .map(|l| json!({ "name": l.name, "filters": chain(state, &served.generation, l) }));
            Answer::json(&json!({
                "generation": served.generation.number,
                "listeners": listeners.collect::<Vec<_>>(),
            }))
        }
        Some(_) => Answer::code(400, "usage: /filters?format=text|json\n"),
    }
}

/// What a filter is in its chain, for all chains of a listener.
fn roles<'g>(
    generation: &'g Generation,
    listener: &'g ListenerSpec,
) -> impl Iterator<Item = (&'static str, &'g FilterVmSpec, &'g PluginSpec)> {
    let of_chains = listener.chains.iter().flat_map(|chain| {
        let role = if chain.terms.is_tcp {
            "network_filter"
        } else {
            "http_filter"
        };
        let filters = chain.filters.iter().flat_map(move |filter| {
            let rollout = filter.rollout.as_ref();
            let canary = rollout.and_then(|rollout| Some(("canary", rollout.canary?)));
            let shadow = rollout.and_then(|rollout| Some(("shadow", rollout.shadow?)));
            let own = std::iter::once((role, filter.place));
            own.chain(canary).chain(shadow)
        });
        let loggers = chain.access_loggers.iter();
        let loggers = loggers.map(|place| ("access_logger", *place));
        filters.chain(loggers)
    });
    of_chains.filter_map(|(role, (vm, plugin))| {
        let vm = generation.vms.get(vm)?;
        Some((role, &**vm, vm.plugins.get(plugin)?))
    })
}

/// The filters of a listener, in the order of its requests.
pub(super) fn chain(
    state: &AdminState,
    generation: &Generation,
    listener: &ListenerSpec,
) -> Vec<Json> {
    let filters = roles(generation, listener);
    filters
        .map(|(role, vm, plugin)| filter(state, role, vm, plugin))
        .collect()
}

fn filter(state: &AdminState, role: &str, vm: &FilterVmSpec, spec: &PluginSpec) -> Json {
    let plugin = &spec.plugin;
    let of_vm = state.metrics.vm(vm);
    let own = state.metrics.plugin(vm, &plugin.name);
    let failures = own.failures.iter();
    let failures = failures.map(|(reason, count)| ((*reason).to_owned(), json!(count)));
    let level = logging::levels().plugin(&plugin.name);
    json!({
        "name": plugin.name,
        "role": role,
        "root_id": plugin.root_id,
        "vm_id": vm.config.vm_id,
        "sha256": digest(vm),
        "failure_policy": spec.policy.map(policy),
        "isolation": if spec.isolated { "stream" } else { "worker" },
        "vms": of_vm.vms,
        "memory_bytes": of_vm.memory.iter().sum::<u64>(),
        "restarts": of_vm.restarts,
        "recycles": of_vm.recycles,
        "crash_loops": of_vm.crash_loops,
        "callouts_active": of_vm.callouts_active,
        "streams": own.streams,
        "local_responses": own.local_responses,
        "hostcalls": own.hostcalls,
        "callbacks": own.callbacks_json(),
        "time": own.time().map(|time| time.to_json()),
        "failures": failures.collect::<serde_json::Map<_, _>>(),
        "log_level": level.map(|level| level.to_string()),
        "last_failure": own.last_failures.first().map(|failure| failure.to_json()),
    })
}

/// As the configuration has it.
fn policy(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::Closed => "FAIL_CLOSED",
        FailurePolicy::Open => "FAIL_OPEN",
        FailurePolicy::Reload => "FAIL_RELOAD",
    }
}

fn text(state: &AdminState, generation: &Generation) -> String {
    let mut text = String::new();
    let addresses = generation.addresses();
    // Writing to a string does not fail.
    for (listener, (name, address)) in generation.listeners.iter().zip(addresses) {
        let _ = writeln!(text, "{name} {address}");
        for (role, vm, spec) in roles(generation, listener) {
            let plugin = &spec.plugin;
            let of_vm = state.metrics.vm(vm);
            let own = state.metrics.plugin(vm, &plugin.name);
            let _ = writeln!(
                text,
                "  {} ({role}) root_id={} vm_id={} sha256={}",
                plugin.name.escape_debug(),
                plugin.root_id.escape_debug(),
                vm.config.vm_id.escape_debug(),
                digest(vm),
            );
            let _ = writeln!(
                text,
                "    vms={} memory={} streams={} local_responses={} failures={} restarts={}",
                of_vm.vms,
                of_vm.memory.iter().sum::<u64>(),
                own.streams,
                own.local_responses,
                own.failed(),
                of_vm.restarts,
            );
            if let Some(failure) = own.last_failures.first() {
                let _ = writeln!(text, "    last failure:");
                text.push_str(&failure.to_text("      "));
            }
        }
    }
    text
}
