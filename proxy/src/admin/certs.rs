//! `/certs`: the certificates that Weir shows to others, as Envoy tells of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::AdminState;
use super::answer::Answer;
use crate::telemetry::ShownBy;

/// `/certs`
pub(super) fn certs(state: &AdminState) -> Answer {
    let served = state.served.load_full();
    let all = served
        .iter()
        .flat_map(|served| served.generation.certificates());
    let all: Vec<_> = all.map(|by| certificate(&by)).collect();
    Answer::json(&json!({ "certificates": all }))
}

fn certificate(by: &ShownBy) -> Json {
    let facts = &by.shown.facts;
    let dns = facts.dns_sans.iter().map(|name| json!({ "dns": name }));
    let uri = facts.uri_sans.iter().map(|name| json!({ "uri": name }));
    let ip = facts
        .ip_sans
        .iter()
        .map(|name| json!({ "ip_address": name }));
    let names: Vec<_> = dns.chain(uri).chain(ip).collect();
    json!({
        by.kind: by.name,
        "ca_cert": [],
        "cert_chain": [{
            "path": by.shown.label,
            "serial_number": facts.serial,
            "subject_alt_names": names,
            "days_until_expiration": days_until(facts.not_after).to_string(),
            "valid_from": time(facts.not_before),
            "expiration_time": time(facts.not_after),
        }],
    })
}

/// Whole days until then, and 0 if it is over.
fn days_until(seconds: i64) -> u64 {
    let left = at(seconds).duration_since(SystemTime::now());
    left.unwrap_or_default().as_secs() / (24 * 3600)
}

/// What is before 1970 counts as that.
fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn time(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(at(seconds)).to_string()
}
