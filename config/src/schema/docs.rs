//! The doc comments of this crate, which are the reference of the keys.

use std::collections::HashMap;

use crate::read::Block;

/// The files with types that are read from mappings; a test notices one that is not
/// here.
const SOURCES: &[&str] = &[
    include_str!("../access_log.rs"),
    include_str!("../admin.rs"),
    include_str!("../callouts.rs"),
    include_str!("../capability.rs"),
    include_str!("../client_cert_details.rs"),
    include_str!("../cluster.rs"),
    include_str!("../cluster/bind.rs"),
    include_str!("../cluster/circuit_breakers.rs"),
    include_str!("../cluster/dns_resolver.rs"),
    include_str!("../cluster/endpoint.rs"),
    include_str!("../cluster/health_check.rs"),
    include_str!("../cluster/keepalive.rs"),
    include_str!("../cluster/load_balancing.rs"),
    include_str!("../cluster/original_dst.rs"),
    include_str!("../cluster/outlier_detection.rs"),
    include_str!("../code.rs"),
    include_str!("../code/remote.rs"),
    include_str!("../compile_cache.rs"),
    include_str!("../config.rs"),
    include_str!("../endpoint.rs"),
    include_str!("../environment.rs"),
    include_str!("../failure.rs"),
    include_str!("../filter_chain.rs"),
    include_str!("../filter_chain_match.rs"),
    include_str!("../guest_limits.rs"),
    include_str!("../http2_options.rs"),
    include_str!("../http_filter.rs"),
    include_str!("../http_options.rs"),
    include_str!("../identity.rs"),
    include_str!("../inspection.rs"),
    include_str!("../istio.rs"),
    include_str!("../istio/dimension.rs"),
    include_str!("../listener.rs"),
    include_str!("../metadata.rs"),
    include_str!("../modules.rs"),
    include_str!("../native_filter.rs"),
    include_str!("../original_src.rs"),
    include_str!("../plugin.rs"),
    include_str!("../rbac.rs"),
    include_str!("../rbac/condition.rs"),
    include_str!("../rbac/metadata_match.rs"),
    include_str!("../retry_budget.rs"),
    include_str!("../rollout.rs"),
    include_str!("../route.rs"),
    include_str!("../route/action.rs"),
    include_str!("../route/cors.rs"),
    include_str!("../route/destination.rs"),
    include_str!("../route/hash_policy.rs"),
    include_str!("../route/header_match.rs"),
    include_str!("../route/header_mutation.rs"),
    include_str!("../route/mirror.rs"),
    include_str!("../route/query_match.rs"),
    include_str!("../route/retry.rs"),
    include_str!("../route/route_filter.rs"),
    include_str!("../route/rewrite.rs"),
    include_str!("../route/route_match.rs"),
    include_str!("../tcp_proxy.rs"),
    include_str!("../tracing.rs"),
    include_str!("../verify.rs"),
    include_str!("../proxy_protocol.rs"),
    include_str!("../tls/certificate.rs"),
    include_str!("../tls/cipher.rs"),
    include_str!("../tls/client_certificates.rs"),
    include_str!("../tls/listener.rs"),
    include_str!("../tls/san.rs"),
    include_str!("../tls/socket_match.rs"),
    include_str!("../tls/upstream.rs"),
    include_str!("../tls/version.rs"),
    include_str!("../virtual_host.rs"),
    include_str!("../vm.rs"),
];

/// What the members of one type say of their keys.
#[derive(Default)]
struct Type {
    keys: HashMap<String, Comment>,
    /// Everything that is said, of the type itself too.
    all: Vec<String>,
}

#[derive(Clone)]
struct Comment {
    text: String,
    /// It is about one key only.
    is_alone: bool,
}

/// What is said of every key.
pub(super) struct Docs(Vec<Type>);

impl Docs {
    pub(super) fn of_sources() -> Self {
        Self(SOURCES.iter().flat_map(|text| types(text)).collect())
    }

    /// What is said of the key of a block: of it alone, if possible, and by the type
    /// that knows most of the block's keys.
    pub(super) fn of(&self, block: &Block, key: &str) -> Option<&str> {
        let shared = |known: &&Type| {
            let keys = block.key_names();
            keys.filter(|key| known.keys.contains_key(*key)).count()
        };
        let known = self.0.iter().filter(|known| known.keys.contains_key(key));
        let best = known.max_by_key(|known| {
            let is_alone = known.keys.get(key).is_some_and(|comment| comment.is_alone);
            (is_alone, shared(known))
        });
        if let Some(comment) = best.and_then(|best| best.keys.get(key)) {
            return Some(&comment.text);
        }
        // Or else it is mentioned beside another, or where the block is spoken of.
        let marks = [format!("`{key}`"), format!("`{key}:")];
        let mentioned = |text: &&String| marks.iter().any(|mark| text.contains(mark));
        let best = self.0.iter().max_by_key(shared).into_iter();
        let texts = best.flat_map(|best| &best.all);
        let all = self.0.iter().flat_map(|known| &known.all);
        let of_block = all.filter(|text| text.starts_with(block.name));
        texts.chain(of_block).find(mentioned).map(String::as_str)
    }
}

/// The types of a file, up to its tests.
fn types(text: &str) -> Vec<Type> {
    let mut types = Vec::new();
    let mut doc = String::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        if let Some(more) = line.strip_prefix("///") {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(more.trim());
            continue;
        }
        if line.contains("struct ") || line.contains("enum ") {
            types.push(Type {
                all: vec![readable(&doc)],
                ..Type::default()
            });
        } else if let Some(current) = types.last_mut() {
            current.all.push(readable(&doc));
            let about = keys(&doc);
            for key in &about {
                let comment = Comment {
                    text: readable(&doc),
                    is_alone: about.len() == 1,
                };
                current.keys.insert((*key).to_owned(), comment);
            }
        }
        // An attribute stands between a comment and what it is for.
        if !line.starts_with("#[") {
            doc.clear();
        }
    }
    types
}

/// The keys that a comment is about: those in front of its first colon.
fn keys(doc: &str) -> Vec<&str> {
    if !doc.starts_with('`') {
        return Vec::new();
    }
    let mut keys = Vec::new();
    for (place, part) in doc.split('`').enumerate() {
        if place % 2 == 1 {
            // `https_redirect: true` is about `https_redirect`.
            keys.push(part.split(':').next().unwrap_or(part));
        } else if part.contains(['.', ':']) {
            break;
        }
    }
    keys
}

/// Without the marks of links.
fn readable(doc: &str) -> String {
    doc.replace("[`", "`").replace("`]", "`")
}
