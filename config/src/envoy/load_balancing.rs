//! What Envoy's `config.cluster.v3.Cluster` says of load balancing, and of how much
//! may be under way.

use super::cluster::{number, positive};
use super::message::Message;
use crate::cluster::{Cluster, LbPolicy, SlowStart};
use crate::error::Problem;
use crate::read::{Decimal, FromYaml, Percent};
use crate::retry_budget::RetryBudget;

const POLICIES: [(&str, i64, LbPolicy); 5] = [
    ("ROUND_ROBIN", 0, LbPolicy::RoundRobin),
    ("LEAST_REQUEST", 1, LbPolicy::LeastRequest),
    ("RING_HASH", 2, LbPolicy::RingHash),
    ("RANDOM", 3, LbPolicy::Random),
    ("MAGLEV", 5, LbPolicy::Maglev),
];

/// Priorities of requests, of which Weir's have the first.
const PRIORITIES: [(&str, i64, bool); 2] = [("DEFAULT", 0, true), ("HIGH", 1, false)];

pub(super) fn read(message: &Message<'_, '_>, cluster: &mut Cluster) {
    if cluster.original_dst.is_some() {
        message.word("lb_policy", &[("CLUSTER_PROVIDED", 6, ())]);
    } else if let Some(policy) = message.word("lb_policy", &POLICIES) {
        cluster.lb_policy = policy;
    }
    message.one_of(&[
        "round_robin_lb_config",
        "least_request_lb_config",
        "ring_hash_lb_config",
        "maglev_lb_config",
    ]);
    if let Some(config) = message.message("round_robin_lb_config") {
        cluster.slow_start = slow_start(&config);
    }
    if let Some(config) = message.message("least_request_lb_config") {
        cluster.slow_start = slow_start(&config);
        let least = &mut cluster.least_request;
        number(
            &config,
            "choice_count",
            2..=u32::MAX,
            &mut least.choice_count,
        );
        if let Some(bias) = runtime_decimal(&config, "active_request_bias") {
            least.active_request_bias = bias;
        }
    }
    if let Some(config) = message.message("ring_hash_lb_config") {
        config.word("hash_function", &[("XX_HASH", 0, ())]);
        let ring = &mut cluster.ring_hash;
        let (least, most) = (&mut ring.minimum_ring_size, &mut ring.maximum_ring_size);
        number(&config, "minimum_ring_size", 1..=u32::MAX, least);
        number(&config, "maximum_ring_size", 1..=u32::MAX, most);
        let (ring, at) = (*ring, config.at());
        config
            .reader
            .native(config.path(), |problems| ring.check(at, problems));
    }
    if let Some(config) = message.message("maglev_lb_config") {
        let size = &mut cluster.maglev.table_size;
        number(&config, "table_size", 1..=u32::MAX, size);
        let (maglev, at) = (cluster.maglev, config.at());
        config
            .reader
            .native(config.path(), |problems| maglev.check(at, problems));
    }
    common(message, cluster);
}

fn common(message: &Message<'_, '_>, cluster: &mut Cluster) {
    let Some(common) = message.message("common_lb_config") else {
        return;
    };
    // How changes come together, of which Weir makes one each.
    common.inert("update_merge_window");
    if let Some(percent) = percent(&common, "healthy_panic_threshold") {
        cluster.healthy_panic_threshold = percent;
    }
    if let Some(weighted) = common.message("locality_weighted_lb_config") {
        let path = weighted.path();
        let text = format!("{path} is passed over: weights of localities are not looked at");
        weighted.reader.warn(weighted.at(), text);
    }
    if let Some(zones) = common.message("zone_aware_lb_config") {
        if let Some(fails) = zones.flag("fail_traffic_on_panic") {
            cluster.fail_traffic_on_panic = fails;
        }
        // There are no zones; `routing_enabled: {}` and `min_cluster_size` say when
        // they would count.
        zones.inert("routing_enabled");
        zones.inert("min_cluster_size");
    }
}

fn slow_start(config: &Message<'_, '_>) -> Option<SlowStart> {
    let config = config.message("slow_start_config")?;
    let mut slow_start = SlowStart::placeholder();
    // Without a window, there is none.
    config.node("slow_start_window")?;
    positive(&config, "slow_start_window", &mut slow_start.window);
    if let Some(aggression) = runtime_decimal(&config, "aggression") {
        slow_start.aggression = aggression;
    }
    if let Some(percent) = percent(&config, "min_weight_percent") {
        slow_start.min_weight_percent = percent;
    }
    Some(slow_start)
}

/// `retry_budget`, whose defaults are the same.
fn retry_budget(message: &Message<'_, '_>) -> RetryBudget {
    let mut budget = RetryBudget::default();
    if let Some(percent) = message.message("budget_percent")
        && let Some(value) = decimal(&percent, "value")
    {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Not far above 100.
        let parts = (value.value().min(101.0) * 10_000.0).round() as u32;
        match Percent::of(parts, Percent::WHOLE) {
            Some(percent) => budget.budget_percent = percent,
            None => {
                let text = format!("{} is more than 100", percent.path_of("value"));
                message.reader.problem(Problem::new(percent.at(), text));
            }
        }
    }
    let least = &mut budget.min_retry_concurrency;
    number(message, "min_retry_concurrency", 0..=u32::MAX, least);
    budget
}

/// Envoy's `type.v3.Percent`, to the whole.
fn percent(message: &Message<'_, '_>, name: &'static str) -> Option<u32> {
    let percent = message.message(name)?;
    let value = decimal(&percent, "value")?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Up to 100.
    let whole = value.value().min(101.0).round() as u32;
    if whole > 100 {
        let text = format!("{} is more than 100", percent.path_of("value"));
        message.reader.problem(Problem::new(percent.at(), text));
    }
    Some(whole)
}

/// Envoy's `core.v3.RuntimeDouble`, of which there is the default.
fn runtime_decimal(message: &Message<'_, '_>, name: &'static str) -> Option<Decimal> {
    let double = message.message(name)?;
    double.inert("runtime_key");
    decimal(&double, "default_value")
}

fn decimal(message: &Message<'_, '_>, name: &'static str) -> Option<Decimal> {
    let node = message.node(name)?;
    let decimal = node.text().and_then(Decimal::parse);
    if decimal.is_none() {
        message.mismatch(node, &message.path_of(name), Decimal::EXPECTED);
    }
    decimal
}

pub(super) fn circuit_breakers(message: &Message<'_, '_>, cluster: &mut Cluster) {
    let Some(given) = message.message("circuit_breakers") else {
        return;
    };
    for threshold in given.messages("thresholds") {
        if threshold.word("priority", &PRIORITIES) == Some(false) {
            // No request has it: a route with `priority: HIGH` is refused.
            threshold.close();
            continue;
        }
        // Of metrics.
        threshold.inert("track_remaining");
        if let Some(budget) = threshold.message("retry_budget") {
            cluster.retry_budget = Some(retry_budget(&budget));
        }
        let breakers = &mut cluster.circuit_breakers;
        for (name, value) in [
            ("max_connections", &mut breakers.max_connections),
            ("max_pending_requests", &mut breakers.max_pending_requests),
            ("max_requests", &mut breakers.max_requests),
            ("max_retries", &mut breakers.max_retries),
        ] {
            number(&threshold, name, 0..=u32::MAX, value);
        }
    }
}
