//! Envoy's `config.cluster.v3.Cluster`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::elsewhere::{self, Kind};
use super::listener::buffer_limit;
use super::message::Message;
use super::{
    address, dns, dynamic, health_check, load_balancing, outlier_detection, protocol_options,
    security, transport,
};
use crate::cluster::{
    Bind, Cluster, ClusterEndpoint, Discovery, OriginalDst, PRIORITY_MAX, TcpKeepalive,
    UpstreamProtocol, check_endpoints, check_health_check_port,
};
use crate::endpoint::check_port;
use crate::error::Problem;

const TYPES: [(&str, i64, Discovery); 3] = [
    ("STATIC", 0, Discovery::Static),
    ("STRICT_DNS", 1, Discovery::StrictDns),
    ("LOGICAL_DNS", 2, Discovery::LogicalDns),
];

/// `health_status`: whether requests may go there.
const HEALTH: [(&str, i64, bool); 6] = [
    ("UNKNOWN", 0, true),
    ("HEALTHY", 1, true),
    ("UNHEALTHY", 2, false),
    ("DRAINING", 3, false),
    ("TIMEOUT", 4, false),
    // Not as good as others, and used all the same.
    ("DEGRADED", 5, true),
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
    let kind = kind.map(|kind| kind.value).unwrap_or_default();
    if matches!(kind.as_str(), "ORIGINAL_DST" | "4") {
        cluster.original_dst = Some(original_dst(message));
    }
    load_balancing::read(message, &mut cluster);
    cluster.health_checks = health_check::read(message);
    cluster.outlier_detection = message
        .message("outlier_detection")
        .map(|outlier| outlier_detection::read(&outlier));
    load_balancing::circuit_breakers(message, &mut cluster);
    cluster.tcp_keepalive = tcp_keepalive(message);
    cluster.bind = message
        .message("upstream_bind_config")
        .map_or_else(Bind::default, |config| bind(&config));
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
    if cluster.protocol != UpstreamProtocol::Http1 {
        // The switch is one of HTTP/1.
        cluster.trailers = true;
    }
    if cluster.original_dst.is_some() {
        return Some(cluster);
    }
    let assignment = message.message("load_assignment");
    if matches!(kind.as_str(), "EDS" | "3") {
        eds(message, &mut cluster);
        if let Some(assignment) = assignment {
            // Nobody reads it, in Envoy either.
            assignment.close();
        }
        return Some(cluster);
    }
    let Some(discovery) = discovery(message, &mut cluster) else {
        if let Some(assignment) = assignment {
            assignment.close();
        }
        return None;
    };
    cluster.discovery = discovery;
    let Some(assignment) = assignment else {
        // Where somebody says so, there are none.
        if discovery != Discovery::Static || message.node("type").is_none() {
            message.missing("load_assignment");
        }
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

/// What a cluster of type `EDS` is, whose endpoints come by themselves.
fn eds(message: &Message<'_, '_>, cluster: &mut Cluster) {
    if !message.reader.is_resource() {
        let at = message.span_of("type");
        let what = format!("{}: EDS in a static cluster", message.path());
        message
            .reader
            .never(at, &what, "write `load_assignment`, or have it come by CDS");
    }
    let config = message.message("eds_cluster_config");
    let name = config.as_ref().and_then(|c| c.nonempty("service_name"));
    cluster.service_name = Some(name.unwrap_or_else(|| cluster.name.value.clone()));
    match config
        .as_ref()
        .and_then(|config| config.message("eds_config"))
    {
        Some(source) => dynamic::only_ads(&source),
        None => message.missing("eds_cluster_config.eds_config"),
    }
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

/// Linux: `SOL_SOCKET` and `SO_MARK`.
const MARK_OPTION: (i64, i64) = (1, 36);

fn bind(config: &Message<'_, '_>) -> Bind {
    let own = config.message("source_address");
    let more = config.messages("extra_source_addresses");
    let more = more.iter().filter_map(|more| more.message("address"));
    let all = own.into_iter().chain(more);
    let addresses = all.filter_map(|address| address::own(&address)).collect();
    let mut mark = 0;
    for option in config.messages("socket_options") {
        option.inert("description");
        option.word("state", &[("STATE_PREBIND", 0, ())]);
        let number = |name| option.number::<i64>(name).map_or(0, |number| number.value);
        let value = number("int_value");
        if (number("level"), number("name")) == MARK_OPTION
            && let Ok(value) = u32::try_from(value)
        {
            mark = value;
        } else {
            let what = format!("{}: an option other than `SO_MARK`", option.path());
            option.reader.outside(option.at(), &what, None);
            option.close();
        }
    }
    Bind {
        addresses,
        freebind: config.flag("freebind").unwrap_or(false),
        mark,
    }
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

pub(super) fn endpoints(assignment: &Message<'_, '_>) -> Vec<ClusterEndpoint> {
    assignment.inert("cluster_name");
    let mut endpoints = Vec::new();
    for locality in assignment.messages("endpoints") {
        locality.inert("locality");
        locality.inert("load_balancing_weight");
        let mut priority = 0;
        number(&locality, "priority", 0..=PRIORITY_MAX, &mut priority);
        for member in locality.messages("lb_endpoints") {
            let status = member.word("health_status", &HEALTH);
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
            if status == Some(false) {
                continue;
            }
            endpoints.push(ClusterEndpoint {
                weight,
                priority,
                health_check_port,
                metadata,
                ..ClusterEndpoint::at(address)
            });
        }
    }
    if endpoints.is_empty() && !assignment.has_unknown() && !assignment.reader.is_resource() {
        let text = format!("{} has no endpoint", assignment.path());
        assignment
            .reader
            .problem(Problem::new(assignment.at(), text));
    }
    endpoints
}
