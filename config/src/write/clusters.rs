//! `clusters`.

use serde_json::Value as Json;

use super::{Object, listeners};
use crate::cluster::Cluster;

pub(super) fn cluster(cluster: &Cluster) -> Json {
    let other = Cluster::named(cluster.name.clone());
    let mut block = Object::default();
    block.set("name", cluster.name.value.as_str());
    block.word("type", cluster.discovery, other.discovery);
    let endpoints = cluster.endpoints.iter();
    block.list("endpoints", endpoints.map(ToString::to_string));
    block.duration(
        "connect_timeout",
        cluster.connect_timeout,
        other.connect_timeout,
    );
    block.word("protocol", cluster.protocol, other.protocol);
    block.set("http2", listeners::http2(&cluster.http2));
    block.flag("trailers", cluster.trailers, other.trailers);
    block.bytes("buffer_limit", cluster.buffer_limit, other.buffer_limit);
    block.limit("idle_timeout", cluster.idle_timeout, other.idle_timeout);
    block.set(
        "max_requests_per_connection",
        cluster.max_requests_per_connection,
    );
    block.duration(
        "dns_refresh_rate",
        cluster.dns_refresh_rate,
        other.dns_refresh_rate,
    );
    block.word(
        "dns_lookup_family",
        cluster.dns_lookup_family,
        other.dns_lookup_family,
    );
    if let Some(budget) = &cluster.retry_budget {
        let mut limits = Object::default();
        limits.set("budget_percent", budget.budget_percent.to_string());
        limits.set("min_retry_concurrency", budget.min_retry_concurrency);
        block.set("retry_budget", limits);
    }
    block.metadata("metadata", &cluster.metadata);
    block.into()
}
