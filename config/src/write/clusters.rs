//! `clusters`.

use std::net::SocketAddr;

use serde_json::Value as Json;

use super::{Object, listeners, tls};
use crate::cluster::{
    Bind, CircuitBreakers, Cluster, ClusterEndpoint, DnsResolver, HealthCheck, HealthCheckKind,
    HttpHealthCheck, LeastRequest, Maglev, OriginalDst, OutlierDetection, RingHash, SlowStart,
    Statuses, TcpHealthCheck, TcpKeepalive,
};
use crate::proxy_protocol::ProxyProtocolVersion;
use crate::read::{Decimal, Word};

pub(super) fn cluster(cluster: &Cluster) -> Json {
    let other = Cluster::named(cluster.name.clone());
    let mut block = Object::default();
    block.set("name", cluster.name.value.as_str());
    block.word("type", cluster.discovery, other.discovery);
    let endpoints = cluster.endpoints.iter();
    block.list("endpoints", endpoints.map(endpoint));
    if let Some(original) = &cluster.original_dst {
        // Even an empty one says something.
        let original = Json::from(original_dst(original));
        block.0.insert("original_dst".to_owned(), original);
    }
    block.word("lb_policy", cluster.lb_policy, other.lb_policy);
    block.set("least_request", least_request(cluster.least_request));
    block.set("ring_hash", ring_hash(cluster.ring_hash));
    let mut maglev = Object::default();
    maglev.number(
        "table_size",
        cluster.maglev.table_size,
        Maglev::default().table_size,
    );
    block.set("maglev", maglev);
    block.set("slow_start", cluster.slow_start.map(slow_start));
    block.number(
        "healthy_panic_threshold",
        cluster.healthy_panic_threshold,
        other.healthy_panic_threshold,
    );
    block.flag(
        "fail_traffic_on_panic",
        cluster.fail_traffic_on_panic,
        false,
    );
    block.number(
        "overprovisioning_factor",
        cluster.overprovisioning_factor,
        other.overprovisioning_factor,
    );
    block.list(
        "health_checks",
        cluster.health_checks.iter().map(health_check),
    );
    if let Some(outlier) = &cluster.outlier_detection {
        // Even an empty one says something.
        let outlier = Json::from(outlier_detection(outlier));
        block.0.insert("outlier_detection".to_owned(), outlier);
    }
    block.set(
        "circuit_breakers",
        circuit_breakers(cluster.circuit_breakers),
    );
    block.duration(
        "connect_timeout",
        cluster.connect_timeout,
        other.connect_timeout,
    );
    block.word("protocol", cluster.protocol, other.protocol);
    if let Some(options) = &cluster.tls {
        // Even an empty one says something.
        let options = tls::upstream(options);
        block.0.insert("tls".to_owned(), options.into());
    }
    let matches = cluster.tls_matches.iter().map(|one| {
        let mut block = Object::default();
        block.set("name", one.name.value.as_str());
        block.set("match", Json::Object(one.matches.clone()));
        if let Some(options) = &one.tls {
            // Even an empty one says something.
            let options = tls::upstream(options);
            block.0.insert("tls".to_owned(), options.into());
        }
        block
    });
    block.list("tls_matches", matches);
    if let Some(options) = cluster.proxy_protocol {
        let mut proxy = Object::default();
        proxy.word("version", options.version, ProxyProtocolVersion::V1);
        // Even an empty one says something.
        block.0.insert("proxy_protocol".to_owned(), proxy.into());
    }
    block.set("http2", listeners::http2(&cluster.http2));
    block.flag("trailers", cluster.trailers, other.trailers);
    block.bytes("buffer_limit", cluster.buffer_limit, other.buffer_limit);
    block.limit("idle_timeout", cluster.idle_timeout, other.idle_timeout);
    block.set(
        "max_requests_per_connection",
        cluster.max_requests_per_connection,
    );
    block.set("bind", bind(&cluster.bind));
    if let Some(keepalive) = cluster.tcp_keepalive {
        let keepalive = Json::from(tcp_keepalive(keepalive));
        block.0.insert("tcp_keepalive".to_owned(), keepalive);
    }
    block.set(
        "connection_keepalive",
        cluster.connection_keepalive.map(|keepalive| {
            let mut block = Object::default();
            block.set("interval", super::duration(keepalive.interval));
            block.set("timeout", super::duration(keepalive.timeout));
            Json::from(block)
        }),
    );
    block.duration(
        "dns_refresh_rate",
        cluster.dns_refresh_rate,
        other.dns_refresh_rate,
    );
    block.set(
        "dns_failure_refresh_rate",
        cluster.dns_failure_refresh_rate.map(|backoff| {
            let mut block = Object::default();
            block.set("base_interval", super::duration(backoff.base_interval));
            block.set("max_interval", super::duration(backoff.max_interval));
            Json::from(block)
        }),
    );
    block.duration("dns_jitter", cluster.dns_jitter, other.dns_jitter);
    block.word(
        "dns_lookup_family",
        cluster.dns_lookup_family,
        other.dns_lookup_family,
    );
    block.flag("respect_dns_ttl", cluster.respect_dns_ttl, false);
    block.duration(
        "dns_min_refresh_rate",
        cluster.dns_min_refresh_rate,
        other.dns_min_refresh_rate,
    );
    block.set("dns_resolver", dns_resolver(&cluster.dns_resolver));
    if let Some(budget) = &cluster.retry_budget {
        let mut limits = Object::default();
        limits.set("budget_percent", budget.budget_percent.to_string());
        limits.set("min_retry_concurrency", budget.min_retry_concurrency);
        block.set("retry_budget", limits);
    }
    block.metadata("metadata", &cluster.metadata);
    block.into()
}

fn original_dst(original: &OriginalDst) -> Object {
    let mut block = Object::default();
    block.flag("use_http_header", original.use_http_header, false);
    let name = original.http_header_name.as_deref();
    block.text("http_header_name", name.unwrap_or_default());
    if let Some(port) = original.upstream_port_override {
        block.set("upstream_port_override", port);
    }
    block
}

fn dns_resolver(resolver: &DnsResolver) -> Object {
    let mut block = Object::default();
    block.list(
        "resolvers",
        resolver.resolvers.iter().map(ToString::to_string),
    );
    block.set("query_timeout", resolver.query_timeout.map(super::duration));
    block.set("query_tries", resolver.query_tries);
    for (key, value) in [
        ("use_tcp_for_dns_lookups", resolver.use_tcp_for_dns_lookups),
        (
            "no_default_search_domain",
            resolver.no_default_search_domain,
        ),
    ] {
        block.flag(key, value, false);
    }
    block
}

fn endpoint(endpoint: &ClusterEndpoint) -> Json {
    let address = endpoint.address.written();
    if *endpoint == ClusterEndpoint::at(endpoint.address.clone()) {
        return address.into();
    }
    let mut block = Object::default();
    block.set("address", address);
    block.number("weight", endpoint.weight, 1);
    block.number("priority", endpoint.priority, 0);
    block.set("health_check_port", endpoint.health_check_port);
    block.metadata("metadata", &endpoint.metadata);
    block.into()
}

fn decimal(block: &mut Object, key: &str, value: Decimal) {
    if value != Decimal::ONE {
        block.set(key, value.value());
    }
}

fn least_request(least_request: LeastRequest) -> Object {
    let mut block = Object::default();
    let other = LeastRequest::default();
    block.number(
        "choice_count",
        least_request.choice_count,
        other.choice_count,
    );
    decimal(
        &mut block,
        "active_request_bias",
        least_request.active_request_bias,
    );
    block
}

fn ring_hash(ring: RingHash) -> Object {
    let mut block = Object::default();
    let other = RingHash::default();
    block.number(
        "minimum_ring_size",
        ring.minimum_ring_size,
        other.minimum_ring_size,
    );
    block.number(
        "maximum_ring_size",
        ring.maximum_ring_size,
        other.maximum_ring_size,
    );
    block
}

fn slow_start(slow_start: SlowStart) -> Json {
    let mut block = Object::default();
    block.set("window", super::duration(slow_start.window));
    decimal(&mut block, "aggression", slow_start.aggression);
    block.number("min_weight_percent", slow_start.min_weight_percent, 10);
    block.into()
}

fn circuit_breakers(breakers: CircuitBreakers) -> Object {
    let mut block = Object::default();
    let other = CircuitBreakers::default();
    block.number(
        "max_connections",
        breakers.max_connections,
        other.max_connections,
    );
    block.number(
        "max_pending_requests",
        breakers.max_pending_requests,
        other.max_pending_requests,
    );
    block.number("max_requests", breakers.max_requests, other.max_requests);
    block.number("max_retries", breakers.max_retries, other.max_retries);
    block
}

fn bind(bind: &Bind) -> Object {
    let mut block = Object::default();
    let address = |address: &SocketAddr| match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    };
    let addresses: Vec<_> = bind.addresses.iter().map(address).collect();
    block.set("addresses", addresses);
    block.flag("freebind", bind.freebind, false);
    block.number("mark", bind.mark, 0);
    block
}

fn tcp_keepalive(keepalive: TcpKeepalive) -> Object {
    let mut block = Object::default();
    let other = TcpKeepalive::default();
    block.number(
        "keepalive_probes",
        keepalive.keepalive_probes,
        other.keepalive_probes,
    );
    block.duration(
        "keepalive_time",
        keepalive.keepalive_time,
        other.keepalive_time,
    );
    block.duration(
        "keepalive_interval",
        keepalive.keepalive_interval,
        other.keepalive_interval,
    );
    block
}

fn health_check(check: &HealthCheck) -> Json {
    let mut block = Object::default();
    let other = HealthCheck::of(check.kind.clone());
    let (key, kind) = match &check.kind {
        HealthCheckKind::Http(http) => ("http", http_check(http)),
        HealthCheckKind::Tcp(tcp) => ("tcp", tcp_check(tcp)),
        HealthCheckKind::Grpc(grpc) => {
            let mut block = Object::default();
            block.text("service_name", &grpc.service_name);
            block.text("authority", &grpc.authority);
            ("grpc", block)
        }
    };
    // Even an empty one says something.
    block.0.insert(key.to_owned(), kind.into());
    block.set("timeout", super::duration(check.timeout));
    block.set("interval", super::duration(check.interval));
    block.duration("initial_jitter", check.initial_jitter, other.initial_jitter);
    block.duration(
        "interval_jitter",
        check.interval_jitter,
        other.interval_jitter,
    );
    block.number(
        "interval_jitter_percent",
        check.interval_jitter_percent,
        other.interval_jitter_percent,
    );
    block.set("unhealthy_threshold", check.unhealthy_threshold);
    block.set("healthy_threshold", check.healthy_threshold);
    block.flag("reuse_connection", check.reuse_connection, true);
    block.duration(
        "no_traffic_interval",
        check.no_traffic_interval,
        other.no_traffic_interval,
    );
    for (key, interval) in [
        (
            "no_traffic_healthy_interval",
            check.no_traffic_healthy_interval,
        ),
        ("unhealthy_interval", check.unhealthy_interval),
        ("unhealthy_edge_interval", check.unhealthy_edge_interval),
        ("healthy_edge_interval", check.healthy_edge_interval),
    ] {
        block.set(key, interval.map(super::duration));
    }
    block.flag(
        "always_log_health_check_failures",
        check.always_log_health_check_failures,
        false,
    );
    block.into()
}

fn http_check(http: &HttpHealthCheck) -> Object {
    let mut block = Object::default();
    let other = HttpHealthCheck::of(String::new());
    block.set("path", http.path.as_str());
    block.text("host", &http.host);
    if http.method != other.method {
        block.set("method", http.method.word());
    }
    block.word("protocol", http.protocol, other.protocol);
    block.list(
        "expected_statuses",
        http.expected_statuses.iter().map(statuses),
    );
    block.list(
        "retriable_statuses",
        http.retriable_statuses.iter().map(statuses),
    );
    block
}

fn statuses(statuses: &Statuses) -> Json {
    let mut block = Object::default();
    block.set("start", statuses.start);
    block.set("end", statuses.end);
    block.into()
}

fn tcp_check(tcp: &TcpHealthCheck) -> Object {
    let mut block = Object::default();
    if !tcp.send.is_empty() {
        block.set("send", payload(&tcp.send));
    }
    block.list("receive", tcp.receive.iter().map(|bytes| payload(bytes)));
    block
}

fn payload(bytes: &[u8]) -> Json {
    let mut block = Object::default();
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    block.set("text", digits);
    block.into()
}

fn outlier_detection(outlier: &OutlierDetection) -> Object {
    let mut block = Object::default();
    let other = OutlierDetection::default();
    block.number(
        "consecutive_5xx",
        outlier.consecutive_5xx,
        other.consecutive_5xx,
    );
    block.number(
        "consecutive_gateway_failure",
        outlier.consecutive_gateway_failure,
        other.consecutive_gateway_failure,
    );
    block.number(
        "consecutive_local_origin_failure",
        outlier.consecutive_local_origin_failure,
        other.consecutive_local_origin_failure,
    );
    block.duration("interval", outlier.interval, other.interval);
    block.duration(
        "base_ejection_time",
        outlier.base_ejection_time,
        other.base_ejection_time,
    );
    block.duration(
        "max_ejection_time",
        outlier.max_ejection_time,
        other.max_ejection_time,
    );
    block.duration(
        "max_ejection_time_jitter",
        outlier.max_ejection_time_jitter,
        other.max_ejection_time_jitter,
    );
    block.number(
        "max_ejection_percent",
        outlier.max_ejection_percent,
        other.max_ejection_percent,
    );
    block.flag(
        "always_eject_one_host",
        outlier.always_eject_one_host,
        other.always_eject_one_host,
    );
    block.number(
        "enforcing_consecutive_5xx",
        outlier.enforcing_consecutive_5xx,
        other.enforcing_consecutive_5xx,
    );
    block.number(
        "enforcing_consecutive_gateway_failure",
        outlier.enforcing_consecutive_gateway_failure,
        other.enforcing_consecutive_gateway_failure,
    );
    block.number(
        "enforcing_consecutive_local_origin_failure",
        outlier.enforcing_consecutive_local_origin_failure,
        other.enforcing_consecutive_local_origin_failure,
    );
    block.number(
        "enforcing_success_rate",
        outlier.enforcing_success_rate,
        other.enforcing_success_rate,
    );
    block.number(
        "enforcing_local_origin_success_rate",
        outlier.enforcing_local_origin_success_rate,
        other.enforcing_local_origin_success_rate,
    );
    block.number(
        "success_rate_minimum_hosts",
        outlier.success_rate_minimum_hosts,
        other.success_rate_minimum_hosts,
    );
    block.number(
        "success_rate_request_volume",
        outlier.success_rate_request_volume,
        other.success_rate_request_volume,
    );
    block.number(
        "success_rate_stdev_factor",
        outlier.success_rate_stdev_factor,
        other.success_rate_stdev_factor,
    );
    block.number(
        "enforcing_failure_percentage",
        outlier.enforcing_failure_percentage,
        other.enforcing_failure_percentage,
    );
    block.number(
        "enforcing_failure_percentage_local_origin",
        outlier.enforcing_failure_percentage_local_origin,
        other.enforcing_failure_percentage_local_origin,
    );
    block.number(
        "failure_percentage_threshold",
        outlier.failure_percentage_threshold,
        other.failure_percentage_threshold,
    );
    block.number(
        "failure_percentage_minimum_hosts",
        outlier.failure_percentage_minimum_hosts,
        other.failure_percentage_minimum_hosts,
    );
    block.number(
        "failure_percentage_request_volume",
        outlier.failure_percentage_request_volume,
        other.failure_percentage_request_volume,
    );
    block.flag(
        "split_external_local_origin_errors",
        outlier.split_external_local_origin_errors,
        other.split_external_local_origin_errors,
    );
    block.flag(
        "successful_active_health_check_uneject_host",
        outlier.successful_active_health_check_uneject_host,
        other.successful_active_health_check_uneject_host,
    );
    block
}
