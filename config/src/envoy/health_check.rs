//! Envoy's `core.v3.HealthCheck`.

use std::time::Duration;

use super::cluster::{number, positive};
use super::message::Message;
use crate::any::Base64;
use crate::cluster::{
    GrpcHealthCheck, HealthCheck, HealthCheckKind, HealthCheckMethod, HttpHealthCheck, Statuses,
    TcpHealthCheck, UpstreamProtocol, bytes_of_hexadecimal,
};
use crate::error::Problem;
use crate::read::FromYaml;

const KINDS: [&str; 3] = ["http_health_check", "tcp_health_check", "grpc_health_check"];

/// What every check has; of one of another kind, the kind is what is told.
const REQUIRED: [&str; 4] = [
    "timeout",
    "interval",
    "unhealthy_threshold",
    "healthy_threshold",
];

const METHODS: [(&str, i64, HealthCheckMethod); 9] = [
    ("METHOD_UNSPECIFIED", 0, HealthCheckMethod::Get),
    ("GET", 1, HealthCheckMethod::Get),
    ("HEAD", 2, HealthCheckMethod::Head),
    ("POST", 3, HealthCheckMethod::Post),
    ("PUT", 4, HealthCheckMethod::Put),
    ("DELETE", 5, HealthCheckMethod::Delete),
    ("OPTIONS", 7, HealthCheckMethod::Options),
    ("TRACE", 8, HealthCheckMethod::Trace),
    ("PATCH", 9, HealthCheckMethod::Patch),
];

const PROTOCOLS: [(&str, i64, UpstreamProtocol); 2] = [
    ("HTTP1", 0, UpstreamProtocol::Http1),
    ("HTTP2", 1, UpstreamProtocol::Http2),
];

/// The `health_checks` of a cluster.
pub(super) fn read(cluster: &Message<'_, '_>) -> Vec<HealthCheck> {
    let checks = cluster.messages("health_checks");
    if checks.len() > 1 {
        let path = cluster.path_of("health_checks");
        let text = format!("{path}: a cluster has one health check at most");
        let span = cluster.span_of("health_checks");
        cluster.reader.problem(Problem::new(span, text));
    }
    checks.iter().filter_map(check).collect()
}

fn check(message: &Message<'_, '_>) -> Option<HealthCheck> {
    let Some(kind) = message.one_of(&KINDS) else {
        for name in REQUIRED {
            message.inert(name);
        }
        if !message.has_unknown() {
            message.missing("http_health_check");
        }
        return None;
    };
    let of = message.message(kind)?;
    let mut check = HealthCheck::of(match kind {
        "http_health_check" => HealthCheckKind::Http(http(&of)),
        "tcp_health_check" => HealthCheckKind::Tcp(tcp(&of)),
        _ => HealthCheckKind::Grpc(grpc(&of)),
    });
    for (name, value) in [
        ("timeout", &mut check.timeout),
        ("interval", &mut check.interval),
    ] {
        if message.node(name).is_none() {
            message.missing(name);
        }
        positive(message, name, value);
    }
    for (name, value) in [
        ("unhealthy_threshold", &mut check.unhealthy_threshold),
        ("healthy_threshold", &mut check.healthy_threshold),
    ] {
        if message.node(name).is_none() {
            message.missing(name);
        }
        number(message, name, 1..=u32::MAX, value);
    }
    let percent = &mut check.interval_jitter_percent;
    number(message, "interval_jitter_percent", 0..=u32::MAX, percent);
    let time = |name| message.duration(name).map(|time| time.value);
    check.initial_jitter = time("initial_jitter").unwrap_or_default();
    check.interval_jitter = time("interval_jitter").unwrap_or_default();
    check.reuse_connection = message.flag("reuse_connection").unwrap_or(true);
    check.always_log_health_check_failures = message
        .flag("always_log_health_check_failures")
        .unwrap_or(false);
    positive(
        message,
        "no_traffic_interval",
        &mut check.no_traffic_interval,
    );
    check.no_traffic_healthy_interval = interval(message, "no_traffic_healthy_interval");
    check.unhealthy_interval = interval(message, "unhealthy_interval");
    check.unhealthy_edge_interval = interval(message, "unhealthy_edge_interval");
    check.healthy_edge_interval = interval(message, "healthy_edge_interval");
    Some(check)
}

/// An interval that may be absent, and must not be 0.
fn interval(message: &Message<'_, '_>, name: &'static str) -> Option<Duration> {
    message.node(name)?;
    let mut value = Duration::ZERO;
    positive(message, name, &mut value);
    Some(value)
}

fn http(message: &Message<'_, '_>) -> HttpHealthCheck {
    let path = message.required_text("path");
    message.reader.native(&message.path_of("path"), |problems| {
        HttpHealthCheck::check_path(&path, problems);
    });
    let other = HttpHealthCheck::of(path.value);
    HttpHealthCheck {
        host: message.nonempty("host").unwrap_or_default(),
        method: message.word("method", &METHODS).unwrap_or(other.method),
        protocol: message
            .word("codec_client_type", &PROTOCOLS)
            .unwrap_or(other.protocol),
        expected_statuses: statuses(message, "expected_statuses"),
        retriable_statuses: statuses(message, "retriable_statuses"),
        path: other.path,
    }
}

/// A list of Envoy's `type.v3.Int64Range`.
fn statuses(message: &Message<'_, '_>, name: &'static str) -> Vec<Statuses> {
    let mut all = Vec::new();
    for range in message.messages(name) {
        let start = range.number::<u16>("start");
        let end = range.number::<u16>("end");
        let statuses = Statuses {
            start: start.map_or(0, |start| start.value),
            end: end.map_or(0, |end| end.value),
        };
        range.reader.native(range.path(), |problems| {
            statuses.check(range.at(), problems);
        });
        all.push(statuses);
    }
    all
}

fn tcp(message: &Message<'_, '_>) -> TcpHealthCheck {
    let send = message.message("send");
    let receive = message.messages("receive");
    TcpHealthCheck {
        send: send.map(|send| payload(&send)).unwrap_or_default(),
        receive: receive.iter().map(payload).collect(),
    }
}

fn payload(message: &Message<'_, '_>) -> Vec<u8> {
    message.one_of(&["text", "binary"]);
    if let Some(node) = message.node("binary") {
        let path = message.path_of("binary");
        return message
            .reader
            .native(&path, |problems| Base64::read(node, problems).0);
    }
    let text = message.required_text("text");
    let bytes = bytes_of_hexadecimal(&text);
    if bytes.is_none() && !text.is_empty() {
        let path = message.path_of("text");
        let wrong = format!("{path}: not pairs of hexadecimal digits");
        message.reader.problem(Problem::new(text.span, wrong));
    }
    bytes.unwrap_or_default()
}

fn grpc(message: &Message<'_, '_>) -> GrpcHealthCheck {
    GrpcHealthCheck {
        service_name: message.nonempty("service_name").unwrap_or_default(),
        authority: message.nonempty("authority").unwrap_or_default(),
    }
}
