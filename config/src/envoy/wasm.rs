//! Envoy's `PluginConfig`, which is Weir's `wasm` block with its fields in
//! either case.

use super::message::Message;
use crate::http_filter::HttpFilter;
use crate::native_filter::NativeFilter;
use crate::plugin::PluginConfig;
use crate::read::{FromYaml, snake_case};
use crate::source::Spanned;
use crate::yaml::{Entry, Node, Value};

/// Fields whose content is not Envoy's: the names in there stay as they are.
const OPAQUE: [&str; 3] = ["configuration", "key_values", "allowed_capabilities"];

/// `config` of a wasm filter or access logger.
pub(super) fn plugin(message: &Message<'_, '_>) -> Option<Spanned<PluginConfig>> {
    let Some(node) = message.node("config") else {
        message.missing("config");
        return None;
    };
    let path = message.path_of("config");
    let node = in_snake_case(node);
    let plugin = message
        .reader
        .native(&path, |problems| PluginConfig::read(&node, problems));
    // As in Envoy, a VM starts when it is needed.
    let plugin = PluginConfig {
        spare: false,
        ..plugin
    };
    Some(Spanned::new(plugin, node.at))
}

/// Envoy has filters of one name side by side; Weir tells them apart.
pub(super) fn unique(name: &str, others: &[HttpFilter], native: &[NativeFilter]) -> String {
    let taken = |name: &str| {
        let native = native.iter().map(|other| &other.name.value);
        let mut all = others.iter().map(|other| &other.name.value).chain(native);
        all.any(|other| other == name)
    };
    let mut unique = name.to_owned();
    let mut number = 2;
    while taken(&unique) {
        unique = format!("{name}-{number}");
        number += 1;
    }
    unique
}

/// `node` with the names of its fields in snake case.
fn in_snake_case(node: &Node) -> Node {
    let Value::Mapping(entries) = &node.value else {
        return node.clone();
    };
    let renamed = |entry: &Entry| {
        let mut entry = entry.clone();
        if !entry.key.text.starts_with('@') {
            entry.key.text = snake_case(&entry.key.text);
        }
        if !OPAQUE.contains(&entry.key.text.as_str()) {
            entry.value = in_snake_case(&entry.value);
        }
        entry
    };
    Node {
        value: Value::Mapping(entries.iter().map(renamed).collect()),
        ..*node
    }
}
