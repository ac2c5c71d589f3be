//! `wasm`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::Object;
use crate::code::Code;
use crate::environment::EnvironmentVariables;
use crate::failure::{Backoff, FailurePolicy};
use crate::plugin::PluginConfig;
use crate::vm::VmConfig;

pub(super) fn plugin(plugin: &PluginConfig) -> Json {
    let mut block = Object::default();
    block.text("name", &plugin.name);
    block.text("root_id", &plugin.root_id);
    block.set("vm_config", vm(&plugin.vm_config));
    block.set("configuration", configuration(&plugin.configuration));
    let policy = plugin.failure_policy.map(|policy| match policy {
        FailurePolicy::Closed => "FAIL_CLOSED",
        FailurePolicy::Open => "FAIL_OPEN",
        FailurePolicy::Reload => "FAIL_RELOAD",
    });
    block.set("failure_policy", policy);
    let backoff = plugin.reload_config.backoff;
    if backoff != Backoff::default() {
        let mut intervals = Object::default();
        intervals.set("base_interval", super::duration(backoff.base_interval));
        intervals.set("max_interval", super::duration(backoff.max_interval));
        let mut reload = Object::default();
        reload.set("backoff", intervals);
        block.set("reload_config", reload);
    }
    block.flag(
        "allow_on_headers_stop_iteration",
        plugin.allow_on_headers_stop_iteration,
        false,
    );
    block.flag("spare", plugin.spare, true);
    block.into()
}

fn vm(vm: &VmConfig) -> Object {
    let mut block = Object::default();
    block.text("vm_id", &vm.vm_id);
    let mut local = Object::default();
    match &vm.code.value {
        Code::File(path) => local.set("filename", path.display().to_string()),
        Code::Inline(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => local.set("inline_string", text),
            _ => local.set("inline_bytes", STANDARD.encode(&bytes.value)),
        },
    }
    let mut code = Object::default();
    code.set("local", local);
    block.set("code", code);
    block.set("configuration", configuration(&vm.configuration));
    block.set(
        "environment_variables",
        environment(&vm.environment_variables),
    );
    block
}

/// Bytes for a filter: as YAML where that comes out the same, as a string where
/// they are one, or else in base64.
fn configuration(bytes: &[u8]) -> Json {
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
