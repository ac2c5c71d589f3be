//! `/clusters`: every endpoint of every cluster, in Envoy's forms.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::AdminState;
use super::answer::Answer;
use super::listeners::json_address;
use super::request::Request;
use crate::cluster::{ClusterSpec, Flag, Member};

/// Clusters as text, or with `format=json` as Envoy's `admin.v3.Clusters`.
pub(super) fn clusters(state: &AdminState, request: &Request) -> Answer {
    let clusters = state.metrics.clusters.load();
    if request.parameter("format") == Some("json") {
        let statuses = clusters.iter().map(|cluster| status(cluster));
        return Answer::json(&json!({ "cluster_statuses": statuses.collect::<Vec<_>>() }));
    }
    let mut text = String::new();
    for cluster in clusters.iter() {
        lines(&mut text, cluster);
    }
    Answer::text(text)
}

/// What is counted of an endpoint: Envoy's name, whether it is a level, and the
/// number.
fn stats(member: &Member) -> [(&'static str, bool, u64); 8] {
    [
        ("cx_active", true, member.sum(|c| &c.active_connections)),
        (
            "cx_connect_fail",
            false,
            member.sum(|c| &c.connect_failures),
        ),
        ("cx_total", false, member.sum(|c| &c.connections)),
        ("rq_active", true, member.sum(|c| &c.active_requests)),
        ("rq_error", false, member.sum(|c| &c.errors)),
        ("rq_success", false, member.sum(|c| &c.successes)),
        ("rq_timeout", false, member.sum(|c| &c.timeouts)),
        ("rq_total", false, member.sum(|c| &c.requests)),
    ]
}

fn lines(text: &mut String, cluster: &ClusterSpec) {
    let name = &cluster.name;
    let mut line = |rest: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{name}::{rest}");
    };
    line(format_args!("observability_name::{name}"));
    for (limit, max) in cluster.breakers.limits() {
        line(format_args!("default_priority::{limit}::{max}"));
    }
    line(format_args!("added_via_api::false"));
    for member in &cluster.members.current().members {
        let about = &member.about;
        let address = &about.address;
        for (stat, _, value) in stats(member) {
            line(format_args!("{address}::{stat}::{value}"));
        }
        let host = about.host.as_deref().unwrap_or_default();
        line(format_args!("{address}::hostname::{host}"));
        line(format_args!("{address}::health_flags::{}", member.flags()));
        line(format_args!("{address}::weight::{}", about.weight));
        line(format_args!("{address}::priority::{}", about.priority));
    }
}

fn status(cluster: &ClusterSpec) -> Json {
    let limits = cluster.breakers.limits().into_iter();
    let limits: serde_json::Map<_, _> = limits.map(|(n, max)| (n.to_owned(), max.into())).collect();
    let members = &cluster.members.current().members;
    json!({
        "name": cluster.name,
        "observability_name": cluster.name,
        "added_via_api": false,
        "circuit_breakers": { "thresholds": [limits] },
        "host_statuses": members.iter().map(|member| host(member)).collect::<Vec<_>>(),
    })
}

fn host(member: &Member) -> Json {
    let about = &member.about;
    let stat = |(name, is_level, value): (&str, bool, u64)| {
        // 64-bit numbers are strings in protobuf's JSON.
        let mut stat = json!({ "name": name, "value": value.to_string() });
        if is_level {
            stat["type"] = "GAUGE".into();
        }
        stat
    };
    let mut health = json!({ "eds_health_status": "HEALTHY" });
    for (flag, name) in [
        (Flag::FAILED_ACTIVE_HC, "failed_active_health_check"),
        (Flag::FAILED_OUTLIER_CHECK, "failed_outlier_check"),
        (Flag::PENDING_ACTIVE_HC, "pending_active_hc"),
    ] {
        if member.has(flag) {
            health[name] = true.into();
        }
    }
    json!({
        "address": json_address(&about.address),
        "hostname": about.host.as_deref().unwrap_or_default(),
        "stats": stats(member).into_iter().map(stat).collect::<Vec<_>>(),
        "health_status": health,
        "weight": about.weight,
        "priority": about.priority,
    })
}
