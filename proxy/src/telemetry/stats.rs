//! Numbers as Envoy's admin tells them: by dotted names, which hold what is a label in
//! Prometheus' format.

use std::borrow::Cow;
use std::fmt::Write as _;

use regex::Regex;
use serde_json::{Value as Json, json};
use weir_abi::MetricType;

use super::cell::Snapshot;
use super::family::{Family, word};
use super::page::{Labels, Page, Value};

/// Labels that name what a family is about, and how the names of such numbers begin.
const SCOPES: [(&str, &str); 4] = [
    ("envoy_http_conn_manager_prefix", "http"),
    ("envoy_cluster_name", "cluster"),
    ("envoy_listener_address", "listener"),
    ("envoy_tcp_prefix", "tcp"),
];

/// How names of families without such a label begin.
const PLAIN_SCOPES: [&str; 9] = [
    "listener_manager.lds",
    "cluster_manager.cds",
    "control_plane",
    "listener_manager",
    "cluster_manager",
    "server",
    "tracing.opentelemetry",
    "wasm.envoy.wasm.runtime.wasmer",
    "wasm",
];

/// What is told together within a cluster or listener.
const GROUPS: [&str; 5] = [
    "circuit_breakers.default",
    "health_check",
    "outlier_detection",
    "rbac",
    "ssl",
];

/// Of policies: what stands behind the name of their group.
const RBAC_PREFIXES: [&str; 2] = ["envoy_rbac_http_prefix", "envoy_rbac_rules_prefix"];

/// Of policies for connections: how the names of such numbers begin.
const RBAC_SCOPE: &str = "envoy_rbac_prefix";

/// Of a histogram, as Envoy computes them.
const QUANTILES: [f64; 10] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 100.0];

/// One number under its dotted name.
pub(super) struct Stat<'a> {
    pub(super) name: String,
    pub(super) kind: MetricType,
    value: Number<'a>,
    /// It has ever been anything but what it began with.
    pub(super) is_used: bool,
}

enum Number<'a> {
    Whole(i128),
    Samples(&'a Snapshot),
}

impl<'a> Stat<'a> {
    pub(super) fn own(family: &Family, labels: &Labels, value: &'a Value) -> Self {
        // What is there once is always in use, such as the state of the process.
        let is_single = family.kind == MetricType::Gauge && labels.is_empty();
        Self::new(dotted(family.name, labels), value, is_single)
    }

    /// `envoy_wasm_NAME_vm_reload_success` and the like.
    pub(super) fn of_plugin(name: &str, count: u64) -> Self {
        let name = name.strip_prefix("envoy_wasm_").unwrap_or(name);
        let name = name.replace("_vm_reload_", ".vm_reload_");
        Self {
            name: format!("wasm.{name}"),
            kind: MetricType::Counter,
            value: Number::Whole(count.into()),
            is_used: count > 0,
        }
    }

    pub(super) fn of_guest(full: &str, value: &'a Value) -> Self {
        let full = full.replace(char::is_control, "_");
        Self::new(format!("wasmcustom.{full}"), value, true)
    }

    fn new(name: String, value: &'a Value, is_used: bool) -> Self {
        let (kind, number, moved) = match value {
            Value::Count(n) => (MetricType::Counter, Number::Whole((*n).into()), *n > 0),
            Value::Level(n) => (MetricType::Gauge, Number::Whole((*n).into()), *n != 0),
            Value::Samples(s) => (MetricType::Histogram, Number::Samples(s), s.count() > 0),
        };
        Self {
            name,
            kind,
            value: number,
            is_used: is_used || moved,
        }
    }
}

/// `envoy_cluster_upstream_rq_xx` of class 5 and cluster `web`: as
/// `cluster.web.upstream_rq_5xx`.
fn dotted(family: &str, labels: &Labels) -> String {
    let Some(rest) = family.strip_prefix("envoy_") else {
        // Istio's have a place of their own.
        let scope = if family.starts_with("istio_") {
            "istiocustom."
        } else {
            ""
        };
        return with_labels(format!("{scope}{family}"), labels.iter());
    };
    let scope = SCOPES.iter().find_map(|(label, scope)| {
        let (_, value) = labels.iter().find(|(name, _)| name == label)?;
        let stat = rest.strip_prefix(scope)?.strip_prefix('_')?;
        Some((format!("{scope}.{value}."), stat))
    });
    let plain = || {
        PLAIN_SCOPES.iter().find_map(|scope| {
            let stat = rest.strip_prefix(&scope.replace('.', "_"))?;
            Some((format!("{scope}."), stat.strip_prefix('_')?))
        })
    };
    // In front of these is nothing else.
    let of_connections = || {
        let (_, value) = labels.iter().find(|(name, _)| name == RBAC_SCOPE)?;
        Some((format!("{value}."), rest))
    };
    let scope = scope.or_else(of_connections).or_else(plain);
    let (scope, stat) = scope.unwrap_or((String::new(), rest));
    let group = GROUPS.iter().find_map(|group| {
        let stat = stat.strip_prefix(&group.replace('.', "_"))?;
        Some(format!("{group}.{}", stat.strip_prefix('_')?))
    });
    let mut stat = group.map_or(Cow::Borrowed(stat), Cow::Owned);
    for (name, value) in labels {
        match name.as_str() {
            "envoy_response_code_class" => {
                let plain = stat.strip_suffix("_xx").unwrap_or(&stat);
                stat = format!("{plain}_{value}xx").into();
            }
            "envoy_response_code" => stat = format!("{stat}_{value}").into(),
            "envoy_ssl_version" => stat = format!("{stat}.{value}").into(),
            name if RBAC_PREFIXES.contains(&name) => {
                let rest = stat.strip_prefix("rbac.").unwrap_or(&stat);
                stat = format!("rbac.{value}.{rest}").into();
            }
            _ => {}
        }
    }
    let rest = labels.iter().filter(|(name, _)| {
        let known = SCOPES.iter().any(|(label, _)| name == label)
            || RBAC_PREFIXES.contains(&name.as_str())
            || name == RBAC_SCOPE;
        !known && !name.starts_with("envoy_response_code") && name != "envoy_ssl_version"
    });
    with_labels(scope + &stat, rest)
}

fn with_labels<'a>(name: String, labels: impl Iterator<Item = &'a (String, String)>) -> String {
    labels.fold(name, |name, (label, value)| {
        let value = value.replace(char::is_control, "_");
        format!("{name}.{label}.{value}")
    })
}

/// What is asked for.
#[derive(Debug, Default)]
pub(crate) struct StatsQuery {
    /// Names have something that this matches.
    pub(crate) filter: Option<Regex>,
    pub(crate) used_only: bool,
    pub(crate) kind: Option<MetricType>,
    pub(crate) buckets: HistogramBuckets,
}

/// How histograms are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum HistogramBuckets {
    /// By quantiles.
    #[default]
    None,
    Cumulative,
    Disjoint,
}

impl StatsQuery {
    pub(super) fn wants(&self, stat: &Stat<'_>) -> bool {
        (!self.used_only || stat.is_used)
            && self.kind.is_none_or(|kind| kind == stat.kind)
            && self.filter.as_ref().is_none_or(|f| f.is_match(&stat.name))
    }

    /// What is wanted: first numbers, then histograms, each by their names.
    fn select<'p>(&self, page: &'p Page) -> Vec<Stat<'p>> {
        let mut stats: Vec<_> = page.stats().filter(|stat| self.wants(stat)).collect();
        let place = |stat: &Stat<'_>| stat.kind == MetricType::Histogram;
        stats.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.name.cmp(&b.name)));
        stats
    }
}

/// A line each: `name: value`.
pub(super) fn text(page: &Page, query: &StatsQuery) -> String {
    let mut text = String::new();
    for stat in query.select(page) {
        // Writing to a string does not fail.
        let _ = match stat.value {
            Number::Whole(n) => writeln!(text, "{}: {n}", stat.name),
            Number::Samples(samples) => {
                writeln!(text, "{}: {}", stat.name, summary(samples, query.buckets))
            }
        };
    }
    text
}

/// As Envoy writes it, with nothing for what came since the last look: Weir has only
/// what came since the start.
fn summary(samples: &Snapshot, buckets: HistogramBuckets) -> String {
    if samples.count() == 0 && buckets == HistogramBuckets::None {
        return "No recorded values".to_owned();
    }
    let parts: Vec<String> = match buckets {
        HistogramBuckets::None => QUANTILES
            .iter()
            .map(|q| format!("P{q}(nan,{})", round(quantile(samples, *q))))
            .collect(),
        _ => counts(samples, buckets)
            .map(|(bound, count)| format!("B{bound}({count},{count})"))
            .collect(),
    };
    parts.join(" ")
}

fn counts(samples: &Snapshot, buckets: HistogramBuckets) -> impl Iterator<Item = (f64, u64)> {
    let bounds = samples.buckets.bounds.iter();
    let bounds = bounds.map(|bound| bound / samples.buckets.per_unit);
    let mut sum = 0;
    bounds.zip(&samples.counts).map(move |(bound, count)| {
        sum += count;
        let cumulative = buckets == HistogramBuckets::Cumulative;
        (bound, if cumulative { sum } else { *count })
    })
}

/// The value below which `percent` of the samples are, as far as buckets tell: within
/// one, samples count as evenly spread, and above all bounds as at the last.
#[allow(clippy::cast_precision_loss)] // It is an estimate.
fn quantile(samples: &Snapshot, percent: f64) -> f64 {
    let wanted = samples.count() as f64 * percent / 100.0;
    let (mut below, mut seen) = (0.0, 0.0);
    let buckets = samples.buckets.bounds.iter().zip(&samples.counts);
    for (bound, count) in buckets {
        let (bound, count) = (bound / samples.buckets.per_unit, *count as f64);
        if count > 0.0 && seen + count >= wanted {
            return below + (bound - below) * ((wanted - seen) / count);
        }
        seen += count;
        below = bound;
    }
    below
}

/// To what is worth reading.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// `{"stats":[…]}`, as Envoy has it.
pub(super) fn json(page: &Page, query: &StatsQuery) -> Json {
    let mut stats = Vec::new();
    let mut histograms = Vec::new();
    for stat in query.select(page) {
        match stat.value {
            Number::Whole(n) => {
                let n = i64::try_from(n).map_or_else(|_| json!(n as u64), |n| json!(n));
                stats.push(json!({ "name": stat.name, "type": word(stat.kind), "value": n }));
            }
            Number::Samples(samples) if query.buckets == HistogramBuckets::None => {
                let is_empty = samples.count() == 0;
                let value = |q: &f64| (!is_empty).then(|| round(quantile(samples, *q)));
                let values = QUANTILES.iter();
                let values = values.map(|q| json!({ "interval": null, "cumulative": value(q) }));
                let values: Vec<_> = values.collect();
                histograms.push(json!({ "name": stat.name, "values": values }));
            }
            Number::Samples(samples) => {
                let buckets = counts(samples, query.buckets);
                let buckets = buckets.map(|(bound, count)| {
                    json!({ "upper_bound": bound, "interval": null, "cumulative": count })
                });
                let buckets: Vec<_> = buckets.collect();
                histograms.push(json!({ "name": stat.name, "buckets": buckets }));
            }
        }
    }
    if !histograms.is_empty() {
        stats.push(if query.buckets == HistogramBuckets::None {
            json!({ "histograms": {
                "supported_quantiles": QUANTILES,
                "computed_quantiles": histograms,
            } })
        } else {
            json!({ "histograms": histograms })
        });
    }
    json!({ "stats": stats })
}

#[cfg(test)]
mod tests {
    use super::super::cell::{PLAIN, Samples};
    use super::*;

    fn labels(labels: &[(&str, &str)]) -> Labels {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        labels.iter().map(owned).collect()
    }

    #[test]
    fn names_are_those_of_envoy() {
        for (family, given, expected) in [
            ("envoy_server_live", labels(&[]), "server.live"),
            (
                "envoy_cluster_upstream_rq_xx",
                labels(&[
                    ("envoy_response_code_class", "5"),
                    ("envoy_cluster_name", "a.b"),
                ]),
                "cluster.a.b.upstream_rq_5xx",
            ),
            (
                "envoy_cluster_outlier_detection_ejections_active",
                labels(&[("envoy_cluster_name", "web")]),
                "cluster.web.outlier_detection.ejections_active",
            ),
            (
                "envoy_cluster_circuit_breakers_default_rq_open",
                labels(&[("envoy_cluster_name", "web")]),
                "cluster.web.circuit_breakers.default.rq_open",
            ),
            (
                "envoy_listener_ssl_versions",
                labels(&[
                    ("envoy_ssl_version", "TLSv1.3"),
                    ("envoy_listener_address", "0.0.0.0_80"),
                ]),
                "listener.0.0.0.0_80.ssl.versions.TLSv1.3",
            ),
            (
                "envoy_http_downstream_cx_total",
                labels(&[("envoy_http_conn_manager_prefix", "edge")]),
                "http.edge.downstream_cx_total",
            ),
            (
                "envoy_listener_downstream_cx_active",
                labels(&[("envoy_listener_address", "0.0.0.0_80")]),
                "listener.0.0.0.0_80.downstream_cx_active",
            ),
            (
                "envoy_http_rbac_shadow_denied",
                labels(&[
                    ("envoy_rbac_http_prefix", "v2_"),
                    ("envoy_http_conn_manager_prefix", "edge"),
                ]),
                "http.edge.rbac.v2_.shadow_denied",
            ),
            (
                "envoy_rbac_allowed",
                labels(&[("envoy_rbac_prefix", "tcp")]),
                "tcp.rbac.allowed",
            ),
            (
                "envoy_wasm_envoy_wasm_runtime_wasmer_active",
                labels(&[]),
                "wasm.envoy.wasm.runtime.wasmer.active",
            ),
            (
                "weir_wasm_vms_active",
                labels(&[("vm_id", "v"), ("plugins", "a")]),
                "weir_wasm_vms_active.vm_id.v.plugins.a",
            ),
        ] {
            assert_eq!(dotted(family, &given), expected);
        }
        let of_plugin = Stat::of_plugin("envoy_wasm_auth_vm_reload_success", 1);
        assert_eq!(of_plugin.name, "wasm.auth.vm_reload_success");
    }

    #[test]
    fn quantiles_are_estimated_within_their_bucket() {
        let samples = Samples::new(&PLAIN);
        for sample in [30, 30, 30, 30] {
            samples.record(sample);
        }
        let snapshot = samples.snapshot();
        assert_eq!(quantile(&snapshot, 0.0), 25.0);
        assert_eq!(quantile(&snapshot, 50.0), 37.5);
        assert_eq!(quantile(&snapshot, 100.0), 50.0);
        let empty = Samples::new(&PLAIN).snapshot();
        assert_eq!(
            summary(&empty, HistogramBuckets::None),
            "No recorded values"
        );
        let buckets = summary(&snapshot, HistogramBuckets::Cumulative);
        assert!(buckets.contains("B25(0,0) B50(4,4) B100(4,4)"), "{buckets}");
    }
}
