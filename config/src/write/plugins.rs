//! `wasm`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json};

use super::Object;
use crate::code::{Code, RemoteCode};
use crate::defaults::{FETCH_RETRIES, FETCH_TIMEOUT};
use crate::environment::EnvironmentVariables;
use crate::failure::{Backoff, FailurePolicies, FailurePolicy};
use crate::guest_limits::{DeadlineKind, Limits, SharedDataEviction};
use crate::plugin::{HeaderValues, Isolation, PluginConfig};
use crate::read::{ByteSize, Word};
use crate::verify::{Verify, VerifyKey};
use crate::vm::VmConfig;

pub(super) fn plugin(plugin: &PluginConfig) -> Json {
    let mut block = Object::default();
    block.text("name", &plugin.name);
    block.text("root_id", &plugin.root_id);
    block.set("vm_config", vm(&plugin.vm_config));
    block.set("configuration", configuration(&plugin.configuration));
    block.set("failure_policy", plugin.failure_policy.map(policy));
    block.set("failure_policies", policies(&plugin.failure_policies));
    let mut reload = Object::default();
    reload.set("backoff", backoff(plugin.reload_config.backoff));
    block.set("reload_config", reload);
    block.flag(
        "allow_on_headers_stop_iteration",
        plugin.allow_on_headers_stop_iteration,
        false,
    );
    let values = plugin.header_values;
    block.word("header_values", values, HeaderValues::default());
    block.word("isolation", plugin.isolation, Isolation::default());
    block.flag("spare", plugin.spare, true);
    let allowed = &plugin.allowed_capabilities;
    block.set("capability_restriction_config", restriction(allowed));
    block.set("limits", limits(&plugin.limits));
    block.into()
}

fn policy(policy: FailurePolicy) -> &'static str {
    match policy {
        FailurePolicy::Closed => "FAIL_CLOSED",
        FailurePolicy::Open => "FAIL_OPEN",
        FailurePolicy::Reload => "FAIL_RELOAD",
    }
}

fn policies(policies: &FailurePolicies) -> Object {
    let mut block = Object::default();
    for (cause, of_cause) in [
        ("on_trap", policies.on_trap),
        ("on_deadline", policies.on_deadline),
        ("on_memory", policies.on_memory),
        ("on_configure", policies.on_configure),
    ] {
        block.set(cause, of_cause.map(policy));
    }
    block
}

fn restriction(allowed: &[String]) -> Object {
    let names = allowed.iter();
    let names = names.map(|name| (name.clone(), Json::Object(Map::new())));
    let mut block = Object::default();
    block.set("allowed_capabilities", Json::Object(names.collect()));
    block
}

fn limits(limits: &Limits) -> Object {
    let size = |size: Option<ByteSize>| size.map(|size| size.to_string());
    let mut block = Object::default();
    for (key, time) in [
        ("callback", limits.callback),
        ("root_callback", limits.root_callback),
        ("stream", limits.stream),
    ] {
        block.set(key, time.map(super::duration));
    }
    block.word("deadline", limits.deadline, DeadlineKind::default());
    block.set("memory", size(limits.memory));
    block.set("callouts", limits.callouts);
    block.set("metrics", limits.metrics);
    block.set("header_bytes", size(limits.header_bytes));
    block.set("log_lines", limits.log_lines);
    block.set("log_line_bytes", size(limits.log_line_bytes));
    block.set("recycle_above", size(limits.recycle_above));
    block.set("recycle_after", limits.recycle_after);
    if let Some(data) = &limits.shared_data {
        let mut keys = Object::default();
        keys.set("bytes", size(data.bytes));
        keys.set("entries", data.entries);
        keys.word("eviction", data.eviction, SharedDataEviction::default());
        block.set("shared_data", keys);
    }
    if let Some(queues) = &limits.shared_queues {
        let mut keys = Object::default();
        keys.set("bytes", size(queues.bytes));
        keys.set("items", queues.items);
        keys.set("queues", queues.queues);
        block.set("shared_queues", keys);
    }
    block
}

fn vm(vm: &VmConfig) -> Object {
    let mut block = Object::default();
    block.text("vm_id", &vm.vm_id);
    block.set("code", code(&vm.code));
    if let Some(signer) = &vm.verify {
        block.set("verify", verify(signer));
    }
    block.set("configuration", configuration(&vm.configuration));
    block.set(
        "environment_variables",
        environment(&vm.environment_variables),
    );
    if let Some(allowed) = &vm.allowed_capabilities {
        // An empty one says that the plugin's does not count.
        let mut names = restriction(allowed).0;
        names
            .entry("allowed_capabilities")
            .or_insert_with(|| Json::Object(Map::new()));
        block.set("capability_restriction_config", Json::Object(names));
    }
    block
}

fn verify(verify: &Verify) -> Object {
    let mut block = Object::default();
    match &verify.key.value {
        VerifyKey::File(path) => block.set("key", path.display().to_string()),
        VerifyKey::Pem(pem) => block.set("key", pem.as_str()),
    }
    block.flag("required", verify.required, true);
    block
}

fn code(code: &Code) -> Object {
    let mut local = Object::default();
    let mut block = Object::default();
    match code {
        Code::File(path) => local.set("filename", path.display().to_string()),
        Code::Inline(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => local.set("inline_string", text),
            _ => local.set("inline_bytes", STANDARD.encode(&bytes.value)),
        },
        Code::Environment(name) => local.set("environment_variable", name.value.as_str()),
        Code::Remote(code) => block.set("remote", remote(code)),
    }
    block.set("local", local);
    block
}

fn remote(code: &RemoteCode) -> Object {
    let mut block = Object::default();
    let uri = code.uri.to_string();
    if let Some(cluster) = &code.cluster {
        let mut http_uri = Object::default();
        http_uri.set("uri", uri);
        http_uri.set("cluster", cluster.value.as_str());
        block.set("http_uri", http_uri);
    } else {
        block.set("uri", uri);
    }
    block.set("sha256", code.sha256.as_ref().map(|s| s.value.as_str()));
    block.duration("timeout", code.timeout, FETCH_TIMEOUT);
    let retries = code.retries;
    let mut policy = Object::default();
    if retries.number != FETCH_RETRIES {
        policy.set("num_retries", retries.number);
    }
    policy.set("retry_back_off", backoff(retries.backoff));
    block.set("retry_policy", policy);
    block.set("pull_policy", code.pull_policy.map(Word::word));
    for (key, file) in [
        ("pull_secret", &code.pull_secret),
        ("ca_file", &code.ca_file),
    ] {
        block.set(key, file.as_ref().map(|path| path.display().to_string()));
    }
    block.flag("insecure", code.insecure, false);
    block
}

/// Nothing, if it is the default.
fn backoff(backoff: Backoff) -> Object {
    if backoff == Backoff::default() {
        Object::default()
    } else {
        intervals(backoff)
    }
}

pub(super) fn intervals(backoff: Backoff) -> Object {
    let mut intervals = Object::default();
    intervals.set("base_interval", super::duration(backoff.base_interval));
    intervals.set("max_interval", super::duration(backoff.max_interval));
    intervals
}

/// Bytes for a filter: as YAML where that comes out the same, as a string where
/// they are one, or else in base64.
pub(super) fn configuration(bytes: &[u8]) -> Json {
    if bytes.is_empty() {
        return Json::Null;
    }
    if let Ok(value @ Json::Object(_)) = serde_json::from_slice(bytes)
        && value.to_string().as_bytes() == bytes
        && value.get("@type").is_none()
        && value.as_object().is_some_and(|members| !members.is_empty())
    {
        return value;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.into();
    }
    let mut any = Object::default();
    any.set("@type", "type.googleapis.com/google.protobuf.BytesValue");
    any.set("value", STANDARD.encode(bytes));
    any.into()
}

fn environment(variables: &EnvironmentVariables) -> Object {
    let mut block = Object::default();
    let keys = variables.host_env_keys.iter();
    block.list("host_env_keys", keys.map(|key| key.value.as_str()));
    let pairs = variables.key_values.iter();
    let pairs = pairs.map(|(name, value)| (name.value.clone(), value.as_str().into()));
    block.set("key_values", Json::Object(pairs.collect()));
    block
}
