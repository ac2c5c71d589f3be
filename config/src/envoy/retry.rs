//! Envoy's `RetryPolicy`.

use std::time::Duration;

use super::message::Message;
use super::route_match;
use crate::error::Problem;
use crate::failure::Backoff;
use crate::limits::MIN_BACKOFF;
use crate::route::{RetryOn, RetryPolicy, read_retry_on};

const PREVIOUS_HOSTS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";

/// `retry_policy`; `buffer_limit`: bytes of a request that are kept.
pub(super) fn read(message: &Message<'_, '_>, buffer_limit: Option<usize>) -> Option<RetryPolicy> {
    let policy = message.message("retry_policy")?;
    let on = policy.text("retry_on");
    let on = on.map_or_else(RetryOn::default, |on| {
        let path = policy.path_of("retry_on");
        let read = |problems: &mut _| read_retry_on(&on.value, on.span, problems);
        policy.reader.native(&path, read)
    });
    let other = RetryPolicy::on(on);
    let duration = |name, default| policy.duration(name).map_or(default, |d| d.value);
    let headers = |name| {
        let matches = policy.messages(name);
        matches.iter().filter_map(route_match::header).collect()
    };
    hosts(&policy);
    Some(RetryPolicy {
        num_retries: policy
            .number::<u32>("num_retries")
            .map_or(other.num_retries, |number| number.value),
        per_try_timeout: duration("per_try_timeout", other.per_try_timeout),
        per_try_idle_timeout: duration("per_try_idle_timeout", other.per_try_idle_timeout),
        retriable_status_codes: status_codes(&policy),
        retriable_headers: headers("retriable_headers"),
        retriable_request_headers: headers("retriable_request_headers"),
        retry_back_off: back_off(&policy).unwrap_or(other.retry_back_off),
        buffer_limit,
        ..other
    })
}

/// How another endpoint is chosen: as Weir does it.
fn hosts(policy: &Message<'_, '_>) {
    policy.inert("host_selection_retry_max_attempts");
    for predicate in policy.messages("retry_host_predicate") {
        let name = predicate.required_text("name");
        let kind = predicate.typed("typed_config").map(|typed| typed.name);
        let known = match kind {
            Some(kind) => kind == PREVIOUS_HOSTS,
            None => name.value == "envoy.retry_host_predicates.previous_hosts",
        };
        if !known {
            let what = format!("{}: {}", predicate.path(), name.value);
            predicate.reader.outside(predicate.at(), &what, None);
        }
    }
}

fn status_codes(policy: &Message<'_, '_>) -> Vec<u16> {
    let mut codes = Vec::new();
    for (node, path) in policy.items("retriable_status_codes") {
        match node.text().and_then(|text| text.parse().ok()) {
            Some(code) => codes.push(code),
            None => policy.mismatch(node, &path, "a status"),
        }
    }
    codes
}

/// `retry_back_off`.
fn back_off(policy: &Message<'_, '_>) -> Option<Backoff> {
    let message = policy.message("retry_back_off")?;
    let Some(base) = message.duration("base_interval") else {
        if message.node("base_interval").is_none() {
            message.missing("base_interval");
        }
        return None;
    };
    let max = message.duration("max_interval");
    if let Some(max) = max.as_ref().filter(|max| max.value < base.value) {
        let path = message.path_of("max_interval");
        let text = format!("{path} is less than `base_interval`");
        message.reader.problem(Problem::new(max.span, text));
    }
    // Envoy rounds what is less, too.
    let base = base.value.max(MIN_BACKOFF);
    let ten_times = base.saturating_mul(crate::defaults::RETRY_MAX_INTERVAL_FACTOR);
    let max: Duration = max.map_or(ten_times, |max| max.value);
    Some(Backoff {
        base_interval: base,
        max_interval: max.max(base),
    })
}
