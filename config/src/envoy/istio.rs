//! Istio's filters for telemetry: `istio.stats`, and who peers are.

use super::message::Message;
use super::typed::Typed;
use crate::filter_chain::FilterChain;
use crate::istio::{
    Dimension, Dimensions, IstioMetric, IstioReporter, IstioStats, IstioTag, MetricOverride,
    PeerMetadata, REPORTING_DURATION, is_label,
};
use crate::read::Word as _;
use crate::yaml::Value;

pub(super) const STATS: &str = "stats.PluginConfig";
pub(super) const PEER_METADATA: &str = "io.istio.http.peer_metadata.Config";

const REPORTERS: [(&str, i64, Option<IstioReporter>); 2] = [
    ("UNSPECIFIED", 0, None),
    ("SERVER_GATEWAY", 1, Some(IstioReporter::Waypoint)),
];

/// `http_filters[]`: one of Istio's.
pub(super) fn http_filter(filter: &Message<'_, '_>, typed: Typed<'_, '_>, chain: &mut FilterChain) {
    let message = typed.message;
    message.inert("@type");
    let is_stats = typed.name == STATS;
    let is_there = match is_stats {
        true => chain.istio.stats.is_some(),
        false => chain.istio.peer_metadata.is_some(),
    };
    if is_there {
        twice(filter, &typed.name);
        message.close();
    } else if is_stats {
        chain.istio.stats = Some(stats(&message));
    } else {
        chain.istio.peer_metadata = Some(peer_metadata(&message));
    }
}

/// `filters[]`: one of Istio's.
pub(super) fn network_filter(
    filter: &Message<'_, '_>,
    typed: Typed<'_, '_>,
    chain: &mut FilterChain,
) {
    let message = typed.message;
    message.inert("@type");
    if chain.istio.stats.is_some() {
        twice(filter, &typed.name);
        message.close();
    } else {
        chain.istio.stats = Some(stats(&message));
    }
}

fn twice(filter: &Message<'_, '_>, name: &str) {
    let what = format!("{}: a second filter of the type {name}", filter.path());
    filter.reader.outside(filter.at(), &what, None);
}

/// HTTP is spoken in this chain: what was to count its connections has nothing to count.
pub(super) fn begin_http(message: &Message<'_, '_>, chain: &mut FilterChain) {
    if chain.istio.stats.take().is_some() {
        let path = message.path();
        let text = format!(
            "{path}: the network filter of the type {STATS} in front of it is passed over: \
             it counts connections of a TCP proxy only"
        );
        message.reader.warn(message.at(), text);
    }
}

fn stats(message: &Message<'_, '_>) -> IstioStats {
    // Fields of versions that kept numbers otherwise, and of how long numbers are kept.
    for inert in [
        "debug",
        "max_peer_cache_size",
        "stat_prefix",
        "field_separator",
        "value_separator",
        "rotation_interval",
        "graceful_deletion_interval",
        "rescoping_duration",
        "scope_grace_period_duration",
    ] {
        message.inert(inert);
    }
    for definition in message.messages("definitions") {
        let name = definition.required_text("name");
        definition.close();
        let path = message.path_of("definitions");
        let text = format!(
            "{path}: the metric `{name}` is passed over: the value is an expression of CEL"
        );
        message.reader.warn(name.span, text);
    }
    let off = message.flag("disable_host_header_fallback");
    let metrics = message.messages("metrics").into_iter();
    IstioStats {
        reporter: message.word("reporter", &REPORTERS).flatten(),
        host_header_fallback: !off.unwrap_or(false),
        tcp_reporting_duration: message.limit("tcp_reporting_duration", Some(REPORTING_DURATION)),
        metrics: metrics.filter_map(|metric| override_of(&metric)).collect(),
    }
}

/// `metrics[]`; `None` if it is of no metric that there is.
fn override_of(message: &Message<'_, '_>) -> Option<MetricOverride> {
    // Istio's own filter does not look at it.
    message.inert("match");
    let name = message.text("name").filter(|name| !name.is_empty());
    let metric = name.as_ref().map(|name| {
        let mut metrics = IstioMetric::WORDS.iter();
        let metric = metrics.find(|(word, _)| *word == name.value);
        metric.map(|(_, metric)| *metric)
    });
    let drop = message.flag("drop").unwrap_or(false);
    let tags = message.texts("tags_to_remove");
    let mut change = MetricOverride {
        name: metric.flatten(),
        drop,
        ..MetricOverride::default()
    };
    let path = message.path();
    for tag in tags {
        let known = IstioTag::ALL.iter().find(|(_, word)| *word == tag.value);
        match known {
            Some((tag, _)) => change.tags_to_remove.push(*tag),
            None => {
                let text = format!("{path}: there is no label `{tag}` to remove");
                message.reader.warn(tag.span, text);
            }
        }
    }
    change.dimensions = dimensions(message);
    if drop {
        change.tags_to_remove.clear();
        change.dimensions.0.clear();
    }
    if let (Some(name), Some(None)) = (name, metric) {
        let text = format!("{path}: there is no metric `{name}`");
        message.reader.warn(name.span, text);
        return None;
    }
    Some(change)
}

fn dimensions(message: &Message<'_, '_>) -> Dimensions {
    const FIELD: &str = "dimensions";
    let Some(node) = message.node(FIELD) else {
        return Dimensions::default();
    };
    let path = message.path_of(FIELD);
    let Value::Mapping(entries) = &node.value else {
        message.mismatch(node, &path, "a mapping");
        return Dimensions::default();
    };
    let mut dimensions = Vec::new();
    for entry in entries {
        let name = entry.key.text.clone();
        let Some(text) = entry.value.text() else {
            message.mismatch(&entry.value, &format!("{path}.{name}"), "a string");
            continue;
        };
        match Dimension::parse(text) {
            Some(value) if is_label(&name) => dimensions.push((name, value)),
            _ => {
                let text = format!(
                    "{path}.{name} is passed over: `{text}` is neither a text nor an attribute"
                );
                message.reader.warn(entry.key.span, text);
            }
        }
    }
    dimensions.sort_by(|(a, _), (b, _)| a.cmp(b));
    Dimensions(dimensions)
}

fn peer_metadata(message: &Message<'_, '_>) -> PeerMetadata {
    // Peers are known to this proxy alone.
    message.inert("shared_with_upstream");
    let mut peers = PeerMetadata {
        downstream_discovery: by_headers(message, "downstream_discovery"),
        upstream_discovery: by_headers(message, "upstream_discovery"),
        downstream_propagation: by_headers(message, "downstream_propagation"),
        additional_labels: {
            let labels = message.texts("additional_labels");
            labels.into_iter().map(|label| label.value).collect()
        },
        ..PeerMetadata::default()
    };
    for method in message.messages("upstream_propagation") {
        // It is in an ambient mesh only, and its listeners are refused.
        method.inert("baggage");
        if let Some(headers) = method.message("istio_headers") {
            peers.upstream_propagation = true;
            peers.skip_external_clusters = headers.flag("skip_external_clusters") == Some(true);
        }
    }
    peers
}

/// Whether a list of methods has Istio's headers. The others ask what a control plane
/// tells of workloads, which it does in an ambient mesh only.
fn by_headers(message: &Message<'_, '_>, field: &'static str) -> bool {
    let mut found = false;
    for method in message.messages(field) {
        for inert in ["workload_discovery", "baggage", "upstream_filter_state"] {
            method.inert(inert);
        }
        if let Some(headers) = method.message("istio_headers") {
            headers.inert("skip_external_clusters");
            found = true;
        }
    }
    found
}
