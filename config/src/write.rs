//! A configuration as text, in Weir's own form.
//!
//! What has its default is left out, so that the text shows what was asked
//! for. Reading it gives the same configuration again.

mod clusters;
mod emit;
mod istio;
mod listeners;
mod plugins;
mod rbac;
mod rollouts;
mod routes;
mod tls;
mod tracing;

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::callouts::Callouts;
use crate::compile_cache::CompileCache;
use crate::config::Config;
use crate::defaults::{COMPILE_CACHE_SIZE, DRAIN_TIMEOUT};
use crate::identity::{Locality, Node};
use crate::metadata::Metadata;
use crate::modules::Modules;
use crate::read::{ByteSize, Word};

impl Config {
    /// The configuration in Weir's own form; [`crate::parse`] gives it back,
    /// with other places.
    pub fn to_yaml(&self) -> String {
        yaml(&self.to_json())
    }

    /// The same as a JSON value.
    pub fn to_json(&self) -> Json {
        let mut top = Object::default();
        top.set(
            "workers",
            self.workers.map_or(Json::Null, |n| n.get().into()),
        );
        top.set("node", node(&self.node));
        if let Some(admin) = &self.admin {
            let mut block = Object::default();
            block.set("address", admin.address.written());
            block.set("mode", admin.mode.map(|mode| mode.to_string()));
            let hosts = admin.allowed_hosts.iter();
            block.list("allowed_hosts", hosts.map(|host| host.value.as_str()));
            top.set("admin", block);
        }
        top.set("callouts", callouts(self.callouts));
        if let Some(cache) = &self.compile_cache {
            top.set("compile_cache", compile_cache(cache));
        }
        top.set("modules", modules(&self.modules));
        if let Some(tracing) = &self.tracing {
            top.set("tracing", self::tracing::tracing(tracing));
        }
        top.duration("drain_delay", self.drain_delay, Duration::ZERO);
        top.duration("drain_timeout", self.drain_timeout, DRAIN_TIMEOUT);
        top.list("listeners", self.listeners.iter().map(listeners::listener));
        top.list("clusters", self.clusters.iter().map(clusters::cluster));
        Json::Object(top.0)
    }
}

/// A JSON value as a YAML document that people like to read.
pub fn yaml(value: &Json) -> String {
    emit::document(value)
}

fn callouts(callouts: Callouts) -> Json {
    let other = Callouts::default();
    let mut block = Object::default();
    let limit = other.response_limit;
    block.bytes("response_limit", callouts.response_limit, limit);
    block.flag("envoy_headers", callouts.envoy_headers, other.envoy_headers);
    block.into()
}

fn compile_cache(cache: &CompileCache) -> Json {
    let mut block = Object::default();
    block.set("path", cache.path.display().to_string());
    if cache.max_size != COMPILE_CACHE_SIZE {
        block.set("max_size", cache.max_size.to_string());
    }
    block.into()
}

fn modules(modules: &Modules) -> Json {
    let other = Modules::default();
    let mut block = Object::default();
    block.bytes("module_size", modules.module_size, other.module_size);
    let cache = modules.cache.as_ref();
    block.set("cache", cache.map(|path| path.display().to_string()));
    if modules.cache_size != other.cache_size {
        block.set("cache_size", ByteSize(modules.cache_size).to_string());
    }
    block.duration("cache_expiry", modules.cache_expiry, other.cache_expiry);
    block.into()
}

fn node(node: &Node) -> Json {
    let mut block = Object::default();
    block.text("id", &node.id);
    block.text("cluster", &node.cluster);
    block.set("metadata", Json::Object(node.metadata.clone()));
    let Locality {
        region,
        zone,
        sub_zone,
    } = &node.locality;
    let mut locality = Object::default();
    locality.text("region", region);
    locality.text("zone", zone);
    locality.text("sub_zone", sub_zone);
    block.set("locality", locality);
    block.into()
}

/// A mapping that is being written; empty values are left out.
#[derive(Default)]
struct Object(Map<String, Json>);

impl Object {
    /// Sets a key, unless there is nothing to say.
    fn set(&mut self, key: &str, value: impl Into<Json>) {
        let value = value.into();
        let empty = match &value {
            Json::Null => true,
            Json::Object(members) => members.is_empty(),
            Json::Array(items) => items.is_empty(),
            Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
        };
        if !empty {
            self.0.insert(key.to_owned(), value);
        }
    }

    /// Sets a key to a text, unless it is empty.
    fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.set(key, text);
        }
    }

    /// Sets a key to a truth value, unless that is the default.
    fn flag(&mut self, key: &str, value: bool, default: bool) {
        if value != default {
            self.set(key, value);
        }
    }

    /// Sets a key to a number, unless that is the default.
    fn number(&mut self, key: &str, value: u32, default: u32) {
        if value != default {
            self.set(key, value);
        }
    }

    /// Sets a key to a number of bytes, unless that is the default.
    fn bytes(&mut self, key: &str, value: usize, default: usize) {
        if value != default {
            self.set(key, ByteSize(value as u64).to_string());
        }
    }

    /// Sets a key to a duration, unless that is the default.
    fn duration(&mut self, key: &str, value: Duration, default: Duration) {
        if value != default {
            self.set(key, self::duration(value));
        }
    }

    /// Sets a key to a time limit, unless that is the default.
    fn limit(&mut self, key: &str, value: Option<Duration>, default: Option<Duration>) {
        if value != default {
            self.set(key, duration(value.unwrap_or_default()));
        }
    }

    /// Sets a key to a word, unless that is the default.
    fn word<T: Word>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.set(key, value.word());
        }
    }

    /// Sets a key to a list.
    fn list<T: Into<Json>>(&mut self, key: &str, items: impl Iterator<Item = T>) {
        self.set(key, items.map(Into::into).collect::<Vec<Json>>());
    }

    fn metadata(&mut self, key: &str, metadata: &Metadata) {
        let namespaces = metadata.namespaces.iter();
        let namespaces = namespaces.map(|(name, object)| (name.clone(), object.clone().into()));
        self.set(key, Json::Object(namespaces.collect()));
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// The shortest way to write a duration, to the nanosecond.
fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units: [(&str, u128); 5] = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
    ];
    if nanos == 0 {
        return "0s".to_owned();
    }
    match units
        .into_iter()
        .find(|(_, unit)| nanos.is_multiple_of(*unit))
    {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos()),
    }
}
