//! `istio`.

use serde_json::Value as Json;

use super::Object;
use crate::istio::{Istio, IstioStats, MetricOverride, PeerMetadata, REPORTING_DURATION};
use crate::read::Word;

pub(super) fn block(istio: &Istio) -> Json {
    let mut block = Object::default();
    // Even an empty one says something.
    if let Some(of_stats) = &istio.stats {
        block.0.insert("stats".to_owned(), stats(of_stats));
    }
    if let Some(peers) = &istio.peer_metadata {
        block
            .0
            .insert("peer_metadata".to_owned(), peer_metadata(peers));
    }
    block.into()
}

fn stats(stats: &IstioStats) -> Json {
    let mut block = Object::default();
    block.set("reporter", stats.reporter.map(Word::word));
    block.flag("host_header_fallback", stats.host_header_fallback, true);
    let every = stats.tcp_reporting_duration;
    block.limit("tcp_reporting_duration", every, Some(REPORTING_DURATION));
    block.list("metrics", stats.metrics.iter().map(metric));
    block.into()
}

fn metric(metric: &MetricOverride) -> Json {
    let mut block = Object::default();
    block.set("name", metric.name.map(Word::word));
    block.flag("drop", metric.drop, false);
    let tags = metric.tags_to_remove.iter().map(|tag| tag.word());
    block.list("tags_to_remove", tags);
    let mut dimensions = Object::default();
    for (name, value) in &metric.dimensions.0 {
        dimensions.set(name, value.to_string());
    }
    block.set("dimensions", dimensions);
    block.into()
}

fn peer_metadata(peers: &PeerMetadata) -> Json {
    let mut block = Object::default();
    for (key, value) in [
        ("downstream_discovery", peers.downstream_discovery),
        ("upstream_discovery", peers.upstream_discovery),
        ("downstream_propagation", peers.downstream_propagation),
        ("upstream_propagation", peers.upstream_propagation),
        ("skip_external_clusters", peers.skip_external_clusters),
    ] {
        block.flag(key, value, false);
    }
    block.set("additional_labels", peers.additional_labels.clone());
    block.into()
}
