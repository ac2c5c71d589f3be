//! Envoy's `config.cluster.v3.Cluster`.

use std::time::Duration;

use super::listener::buffer_limit;
use super::message::Message;
use super::{address, protocol_options, security, transport};
use crate::cluster::{Cluster, Discovery, DnsLookupFamily, UpstreamProtocol, check_endpoints};
use crate::endpoint::{Endpoint, check_port};
use crate::error::Problem;
use crate::source::Spanned;

const TYPES: [(&str, i64, Discovery); 3] = [
    ("STATIC", 0, Discovery::Static),
    ("STRICT_DNS", 1, Discovery::StrictDns),
    ("LOGICAL_DNS", 2, Discovery::LogicalDns),
];

const FAMILIES: [(&str, i64, DnsLookupFamily); 5] = [
    ("AUTO", 0, DnsLookupFamily::Auto),
    ("V4_ONLY", 1, DnsLookupFamily::V4Only),
    ("V6_ONLY", 2, DnsLookupFamily::V6Only),
    ("V4_PREFERRED", 3, DnsLookupFamily::V4Preferred),
    ("ALL", 4, DnsLookupFamily::All),
];

/// Envoy's `common_http_protocol_options.idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// `clusters[]`; `None` if its type is passed over.
pub(super) fn read(message: &Message<'_, '_>) -> Option<Cluster> {
    let mut cluster = Cluster {
        buffer_limit: buffer_limit(message, "per_connection_buffer_limit_bytes"),
        dns_lookup_family: message
            .word("dns_lookup_family", &FAMILIES)
            .unwrap_or(DnsLookupFamily::Auto),
        trailers: false,
        idle_timeout: Some(IDLE_TIMEOUT),
        metadata: message.metadata("metadata"),
        ..Cluster::named(message.required_text("name"))
    };
    positive(message, "connect_timeout", &mut cluster.connect_timeout);
    positive(message, "dns_refresh_rate", &mut cluster.dns_refresh_rate);
    if let Some(max) = message.number::<u32>("max_requests_per_connection") {
        cluster.max_requests_per_connection = (max.value > 0).then_some(max.value);
    }
    message.word("lb_policy", &[("ROUND_ROBIN", 0, ())]);
    message.word("protocol_selection", &[("USE_CONFIGURED_PROTOCOL", 0, ())]);
    message.only("respect_dns_ttl", false);
    message.inert("alt_stat_name");
    security::old_tls(message);
    cluster.tls = transport::cluster(message);
    protocol_options::upstream(message, &mut cluster);
    if cluster.protocol == UpstreamProtocol::Http2 {
        // The switch is one of HTTP/1.
        cluster.trailers = true;
    }
    let assignment = message.message("load_assignment");
    cluster.discovery = match message.word("type", &TYPES) {
        Some(discovery) => discovery,
        None if message.node("type").is_none() && message.node("cluster_type").is_none() => {
            Discovery::Static
        }
        None => {
            if let Some(assignment) = assignment {
                assignment.close();
            }
            return None;
        }
    };
    let Some(assignment) = assignment else {
        message.missing("load_assignment");
        return Some(cluster);
    };
    cluster.endpoints = endpoints(&assignment);
    let reader = message.reader;
    let at = assignment.at();
    reader.native(assignment.path(), |problems| {
        check_endpoints(&cluster, at, problems);
    });
    Some(cluster)
}

fn positive(message: &Message<'_, '_>, name: &'static str, value: &mut Duration) {
    let Some(given) = message.duration(name) else {
        return;
    };
    if given.is_zero() {
        let text = format!("{} must be more than 0", message.path_of(name));
        message.reader.problem(Problem::new(given.span, text));
    }
    *value = given.value;
}

fn endpoints(assignment: &Message<'_, '_>) -> Vec<Spanned<Endpoint>> {
    assignment.inert("cluster_name");
    let mut endpoints = Vec::new();
    for locality in assignment.messages("endpoints") {
        locality.inert("locality");
        locality.inert("load_balancing_weight");
        if locality
            .number::<u32>("priority")
            .is_some_and(|p| p.value != 0)
        {
            locality.refuse(
                "priority",
                "endpoints of all priorities would be used alike",
            );
        }
        for member in locality.messages("lb_endpoints") {
            if member
                .number::<u32>("load_balancing_weight")
                .is_some_and(|w| w.value != 1)
            {
                member.refuse("load_balancing_weight", "all endpoints would be used alike");
            }
            let Some(endpoint) = member.message("endpoint") else {
                member.missing("endpoint");
                continue;
            };
            let Some(address) = address::read(&endpoint) else {
                continue;
            };
            let path = endpoint.path_of("address");
            endpoint.reader.native(&path, |problems| {
                check_port(&address.value, address.span, problems);
            });
            endpoints.push(address);
        }
    }
    if endpoints.is_empty() && !assignment.has_unknown() {
        let text = format!("{} has no endpoint", assignment.path());
        assignment
            .reader
            .problem(Problem::new(assignment.at(), text));
    }
    endpoints
}
