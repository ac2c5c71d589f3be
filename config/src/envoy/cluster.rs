//! Envoy's `config.cluster.v3.Cluster`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::elsewhere::{self, Kind};
use super::listener::buffer_limit;
use super::message::Message;
use super::{
    address, dns, health_check, load_balancing, outlier_detection, protocol_options, security,
    transport,
};
use crate::cluster::{
    Cluster, ClusterEndpoint, Discovery, OriginalDst, PRIORITY_MAX, TcpKeepalive, UpstreamProtocol,
    check_endpoints, check_health_check_port,
};
use crate::endpoint::check_port;
use crate::error::Problem;

const TYPES: [(&str, i64, Discovery); 3] = [
    ("STATIC", 0, Discovery::Static),
    ("STRICT_DNS", 1, Discovery::StrictDns),
    ("LOGICAL_DNS", 2, Discovery::LogicalDns),
];

/// What a duration can be at most, in seconds.
const MAX_DURATION_SECONDS: u32 = 8784 * 3600;

/// Envoy's `common_http_protocol_options.idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// `clusters[]`; `None` if its type is passed over.
pub(super) fn read(message: &Message<'_, '_>) -> Option<Cluster> {
    let mut cluster = Cluster {
        buffer_limit: buffer_limit(message, "per_connection_buffer_limit_bytes"),
        trailers: false,
        idle_timeout: Some(IDLE_TIMEOUT),
        metadata: message.metadata("metadata"),
        ..Cluster::named(message.required_text("name"))
    };
    positive(message, "connect_timeout", &mut cluster.connect_timeout);
    dns::old_form(message, &mut cluster);
    if let Some(max) = message.number::<u32>("max_requests_per_connection") {
        cluster.max_requests_per_connection = (max.value > 0).then_some(max.value);
    }
    let kind = message.text("type");
    if kind.is_some_and(|kind| matches!(kind.as_str(), "ORIGINAL_DST" | "4")) {
        cluster.original_dst = Some(original_dst(message));
    }
    load_balancing::read(message, &mut cluster);
    cluster.health_checks = health_check::read(message);
    cluster.outlier_detection = message
        .message("outlier_detection")
        .map(|outlier| outlier_detection::read(&outlier));
    load_balancing::circuit_breakers(message, &mut cluster);
    cluster.tcp_keepalive = tcp_keepalive(message);
    message.word("protocol_selection", &[("USE_CONFIGURED_PROTOCOL", 0, ())]);
    message.inert("alt_stat_name");
    security::old_tls(message);
    transport::cluster(message, &mut cluster);
    for filter in message.messages("filters") {
        let name = filter.nonempty("name").unwrap_or_default();
        let typed = filter.typed("typed_config");
        elsewhere::note(Kind::NetworkFilter, &filter, &name, typed);
        filter.close();
    }
    protocol_options::upstream(message, &mut cluster);
    if cluster.protocol == UpstreamProtocol::Http2 {
        // The switch is one of HTTP/1.
        cluster.trailers = true;
    }
    if cluster.original_dst.is_some() {
        return Some(cluster);
    }
    let assignment = message.message("load_assignment");
    let Some(discovery) = discovery(message, &mut cluster) else {
        if let Some(assignment) = assignment {
            assignment.close();
        }
        return None;
    };
    cluster.discovery = discovery;
    let Some(assignment) = assignment else {
        message.missing("load_assignment");
        return Some(cluster);
    };
    cluster.endpoints = endpoints(&assignment);
    if let Some(policy) = assignment.message("policy") {
        let factor = &mut cluster.overprovisioning_factor;
        number(&policy, "overprovisioning_factor", 1..=u32::MAX, factor);
    }
    let reader = message.reader;
    let at = assignment.at();
    reader.native(assignment.path(), |problems| {
        check_endpoints(&cluster, at, problems);
    });
    Some(cluster)
}

/// What a cluster of type `ORIGINAL_DST` is.
fn original_dst(message: &Message<'_, '_>) -> OriginalDst {
    // How long what is not used is kept.
    message.inert("cleanup_interval");
    let Some(config) = message.message("original_dst_lb_config") else {
        return OriginalDst::default();
    };
    let name = config.nonempty("http_header_name");
    let use_http_header = config.flag("use_http_header").unwrap_or(false);
    OriginalDst {
        use_http_header,
        http_header_name: name
            .map(|name| name.to_ascii_lowercase())
            .filter(|_| use_http_header),
        upstream_port_override: config
            .number::<u16>("upstream_port_override")
            .map(|port| port.value)
            .filter(|port| *port > 0),
    }
}

/// How the endpoints are found; `None` if that is passed over.
fn discovery(message: &Message<'_, '_>, cluster: &mut Cluster) -> Option<Discovery> {
    match message.one_of(&["type", "cluster_type"]) {
        Some("cluster_type") => dns::cluster_type(message, cluster),
        Some(_) => message.word("type", &TYPES),
        None => Some(Discovery::Static),
    }
}

/// A duration that must not be 0, if it is there.
pub(super) fn positive(message: &Message<'_, '_>, name: &'static str, value: &mut Duration) {
    let Some(given) = message.duration(name) else {
        return;
    };
    if given.is_zero() {
        let text = format!("{} must be more than 0", message.path_of(name));
        message.reader.problem(Problem::new(given.span, text));
    }
    *value = given.value;
}

/// A number of `range`, if it is there.
pub(super) fn number(
    message: &Message<'_, '_>,
    name: &'static str,
    range: RangeInclusive<u32>,
    value: &mut u32,
) {
    let Some(given) = message.number::<u32>(name) else {
        return;
    };
    if !range.contains(&given.value) {
        let (path, first, last) = (message.path_of(name), range.start(), range.end());
        let text = format!("{path} is not from {first} to {last}");
        message.reader.problem(Problem::new(given.span, text));
    }
    *value = given.value;
}

fn tcp_keepalive(message: &Message<'_, '_>) -> Option<TcpKeepalive> {
    let options = message.message("upstream_connection_options")?;
    let given = options.message("tcp_keepalive")?;
    let mut keepalive = TcpKeepalive::default();
    let probes = &mut keepalive.keepalive_probes;
    number(&given, "keepalive_probes", 1..=u32::MAX, probes);
    for (name, time) in [
        ("keepalive_time", &mut keepalive.keepalive_time),
        ("keepalive_interval", &mut keepalive.keepalive_interval),
    ] {
        let mut seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        number(&given, name, 1..=MAX_DURATION_SECONDS, &mut seconds);
        *time = Duration::from_secs(seconds.into());
    }
    Some(keepalive)
}

fn endpoints(assignment: &Message<'_, '_>) -> Vec<ClusterEndpoint> {
    assignment.inert("cluster_name");
    let mut endpoints = Vec::new();
    for locality in assignment.messages("endpoints") {
        locality.inert("locality");
        locality.inert("load_balancing_weight");
        let mut priority = 0;
        number(&locality, "priority", 0..=PRIORITY_MAX, &mut priority);
        for member in locality.messages("lb_endpoints") {
            member.word("health_status", &[("UNKNOWN", 0, ()), ("HEALTHY", 1, ())]);
            let mut weight = 1;
            number(&member, "load_balancing_weight", 1..=u32::MAX, &mut weight);
            let metadata = member.metadata("metadata");
            let Some(endpoint) = member.message("endpoint") else {
                member.missing("endpoint");
                continue;
            };
            let health_check_port = endpoint.message("health_check_config").and_then(|config| {
                let port = config.number::<u16>("port_value");
                port.map(|port| port.value).filter(|port| *port != 0)
            });
            let Some(address) = address::read(&endpoint) else {
                continue;
            };
            let path = endpoint.path_of("address");
            endpoint.reader.native(&path, |problems| {
                check_port(&address.value, address.span, problems);
                if health_check_port.is_some() {
                    check_health_check_port(&address.value, address.span, problems);
                }
            });
            endpoints.push(ClusterEndpoint {
                weight,
                priority,
                health_check_port,
                metadata,
                ..ClusterEndpoint::at(address)
            });
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
