//! Envoy's bootstrap, read as it is.
//!
//! `envoy/*.yaml` are bootstraps that are refused with the text of their
//! `.txt`; `envoy/full.yaml` is one with everything that is not.
//! `WEIR_UPDATE_GOLDEN=1` writes the texts anew; read them aloud before
//! committing them.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{
    AppendAction, ClientCertDetail, Cluster, Code, Codec, Config, Destination, Discovery,
    DnsLookupFamily, DnsResolver, Endpoint, FailurePolicy, ForwardClientCert, HealthCheckKind,
    HealthCheckMethod, HostRewrite, HttpOptions, LbPolicy, LogFormat, LogPath, PathMatch,
    PortRange, ProxyProtocol, ProxyProtocolVersion, RouteAction, ServerHeader, SourceType,
    Statuses, TransportProtocol, UpstreamProtocol,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/envoy")
}

fn parse(text: &str) -> Config {
    let (config, warnings) = envoy::parse("envoy.yaml", text, Leniency::Strict);
    assert!(warnings.iter().next().is_none(), "{warnings:?}");
    config.unwrap_or_else(|errors| panic!("{errors}"))
}

/// What the lenient reader makes of `text`, and its warnings without paths.
fn lenient(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = envoy::parse("envoy.yaml", text, Leniency::Lenient);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let lines = warnings.iter().map(|warning| {
        let message = warning.message();
        message
            .rsplit(".virtual_hosts[0].")
            .next()
            .unwrap_or(message)
            .to_owned()
    });
    (config, lines.collect())
}

fn full() -> Config {
    parse(&fs::read_to_string(folder().join("full.yaml")).unwrap())
}

/// A bootstrap with a listener whose connection manager has `manager`, and
/// a cluster with `cluster`, each lines of YAML in flow style.
fn bootstrap(manager: &str, cluster: &str) -> String {
    format!(
        r#"
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          {manager}
          route_config:
            virtual_hosts:
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: "" }}, route: {{ cluster: web }} }}] }}
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: web
    {cluster}
    load_assignment:
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 1 }} }} }} }}] }}]
"#
    )
}

#[test]
fn what_is_wrong_is_told_by_path_and_name() {
    let update = std::env::var_os("WEIR_UPDATE_GOLDEN").is_some();
    let mut failures = Vec::new();
    let mut cases: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml" || e == "json"))
        .filter(|path| !path.ends_with("full.yaml"))
        .collect();
    cases.sort();
    assert!(cases.len() > 5);
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let name = case.file_name().unwrap().to_str().unwrap();
        let (Err(errors), _) = envoy::parse(name, &text, Leniency::Strict) else {
            failures.push(format!("{name} is accepted"));
            continue;
        };
        let expected = case.with_extension("txt");
        if update {
            fs::write(&expected, errors.plain()).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != errors.plain() {
            failures.push(format!("{name}:\n{}", errors.plain()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_key_of_the_subset_is_read() {
    let config = full();
    assert_eq!(config.node.id, "edge-1");
    assert_eq!(config.node.metadata["role"], "gateway");
    assert_eq!(config.node.locality.zone, "a");
    assert_eq!(
        config.admin.as_ref().unwrap().address.to_string(),
        "127.0.0.1:9901"
    );

    let edge = &config.listeners[0];
    assert_eq!(edge.buffer_limit, 65536);
    let http = &edge.filter_chains[0].http;
    assert_eq!(
        *http,
        HttpOptions {
            codec: Codec::Http1,
            max_request_headers_bytes: 96 << 10,
            max_headers_count: 200,
            stream_idle_timeout: None,
            idle_timeout: Some(Duration::from_secs(10)),
            request_timeout: Some(Duration::from_secs(2)),
            request_headers_timeout: Some(Duration::from_millis(1500)),
            delayed_close_timeout: Some(Duration::from_millis(500)),
            trailers: true,
            http10: true,
            upgrades: vec!["websocket".to_owned()],
            server_name: "edge".to_owned(),
            server_header: ServerHeader::PassThrough,
            generate_request_id: false,
            preserve_external_request_id: true,
            use_remote_address: true,
            xff_num_trusted_hops: 1,
            skip_xff_append: true,
            normalize_path: true,
            merge_slashes: true,
            envoy_headers: false,
            strip_envoy_headers: true,
            proxy_100_continue: true,
            append_x_forwarded_port: true,
            via: Some("edge".to_owned()),
            ..http.clone()
        }
    );
    assert_eq!(http.http2.max_concurrent_streams, Some(100));
    assert_eq!(http.http2.initial_stream_window_size, Some(65536));

    let paths: Vec<_> = edge.filter_chains[0]
        .access_log
        .iter()
        .map(|log| &log.path.value)
        .collect();
    let file = LogPath::File("/tmp/access.log".into());
    let expected = [&LogPath::Stdout, &LogPath::Stderr, &file, &LogPath::Stdout];
    assert_eq!(paths, expected);
    assert!(
        matches!(&edge.filter_chains[0].access_log[0].format, LogFormat::Text(t) if t.pieces.len() == 31)
    );
    assert!(
        matches!(&edge.filter_chains[0].access_log[1].format, LogFormat::Json(members) if members.len() == 2)
    );

    assert_eq!(edge.filter_chains[0].access_loggers[0].wasm.root_id, "log");

    let wasm = &edge.filter_chains[0].http_filters[0].wasm;
    assert_eq!(
        (wasm.name.as_str(), wasm.root_id.as_str()),
        ("auth", "root")
    );
    assert_eq!(wasm.configuration.value, br#"{"rootId":"x"}"#);
    assert_eq!(wasm.failure_policy, Some(FailurePolicy::Reload));
    assert_eq!(
        wasm.reload_config.backoff.base_interval,
        Duration::from_millis(500)
    );
    assert!(wasm.allow_on_headers_stop_iteration);
    assert!(matches!(&wasm.vm_config.code.value, Code::File(f) if f.ends_with("auth.wasm")));
    let environment = &wasm.vm_config.environment_variables;
    assert_eq!(environment.key_values[0].0.value, "myRegion");
    let names: Vec<_> = edge.filter_chains[0]
        .http_filters
        .iter()
        .map(|f| f.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["envoy.filters.http.wasm", "envoy.filters.http.wasm-2"]
    );

    let hosts = &edge.filter_chains[0].virtual_hosts;
    assert_eq!(hosts[0].domains[1].value, "*.shop.example");
    assert_eq!(hosts[0].routes.len(), 12);
    let RouteAction::DirectResponse(answer) = &hosts[0].routes[10].action else {
        panic!("{:?}", hosts[0].routes[10])
    };
    assert_eq!((answer.status, &answer.body[..]), (200, &[0, 1, 2][..]));
    let api = &hosts[0].routes[0];
    assert_eq!(api.name, "api");
    assert_eq!(api.metadata.namespaces[0].1["tier"], 1);
    assert_eq!(api.buffer_limit, None);
    assert_eq!(api.matches.headers.len(), 9);
    let RouteAction::Forward(forward) = &api.action else {
        panic!("{api:?}")
    };
    assert_eq!(forward.timeout, Duration::ZERO);
    assert_eq!(forward.idle_timeout, Some(Duration::from_secs(3)));
    assert_eq!(
        forward.host_rewrite,
        Some(HostRewrite::Literal("web".to_owned()))
    );
    let retries = forward.retry_policy.as_ref().unwrap();
    assert_eq!(retries.retry_on.to_string(), "5xx,reset");
    assert_eq!((retries.num_retries, retries.buffer_limit), (3, Some(1024)));
    assert_eq!(retries.per_try_timeout, Duration::from_secs(1));
    assert_eq!(retries.retriable_status_codes, [429]);
    let back_off = retries.retry_back_off;
    assert_eq!(back_off.max_interval, Duration::from_secs(1));
    let added = &api.headers.request_add;
    let overwrite = AppendAction::OverwriteIfExistsOrAdd;
    assert!(added.iter().all(|header| header.append_action == overwrite));
    assert_eq!(added[0].value.text, "%PROTOCOL%");
    assert_eq!(api.headers.response_remove[0].value, "x-secret");
    let RouteAction::Forward(weighted) = &hosts[0].routes[3].action else {
        panic!("{:?}", hosts[0].routes[3])
    };
    assert!(matches!(&weighted.destination,
        Destination::Weighted(clusters) if clusters[0].weight == 9 && clusters[1].name.value == "grpc"));
    let template = &hosts[0].routes[5];
    let path = PathMatch::Template("/u/{id}".to_owned());
    assert_eq!(template.matches.path.value, path);
    assert_eq!(template.matches.query_parameters.len(), 3);
    let off: Vec<_> = template.filters.0.iter().map(|f| &*f.name.value).collect();
    assert_eq!(
        off,
        ["envoy.filters.http.wasm", "envoy.filters.http.wasm-2"]
    );
    let cors = template.cors.as_ref().unwrap();
    assert_eq!(cors.max_age, Some(Duration::from_secs(600)));
    assert!(cors.allow_credentials && cors.allow_origin[0].ignore_case);
    let RouteAction::Forward(mirrored) = &template.action else {
        panic!("{template:?}")
    };
    assert_eq!(mirrored.max_stream_duration, Duration::from_secs(5));
    let mirror = &mirrored.request_mirror_policies.as_ref().unwrap()[0];
    assert_eq!(mirror.fraction.millionths(), 12_500);
    assert_eq!(hosts[1].request_mirror_policies.len(), 1);
    assert!(hosts[1].include_request_attempt_count && hosts[1].retry_policy.is_some());

    let [web, grpc, names, one_name, hashed] = &config.clusters[..] else {
        panic!("{:?}", config.clusters)
    };
    what_balances_is_read(web, grpc, hashed);
    assert!(web.trailers);
    assert_eq!(web.buffer_limit, 32768);
    assert_eq!(web.idle_timeout, Some(Duration::from_secs(20)));
    assert_eq!(web.max_requests_per_connection, Some(7));
    assert_eq!(grpc.protocol, UpstreamProtocol::Http2);
    assert_eq!(grpc.http2.max_concurrent_streams, Some(10));
    assert_eq!(names.discovery, Discovery::StrictDns);
    assert_eq!(names.dns_lookup_family, DnsLookupFamily::V4Only);
    assert_eq!(names.dns_refresh_rate, Duration::from_millis(500));
    let rate = names.dns_failure_refresh_rate.unwrap();
    assert_eq!(rate.max_interval, Duration::from_secs(1));
    assert_eq!(names.dns_jitter, Duration::from_millis(200));
    assert!(names.respect_dns_ttl);
    let resolver = DnsResolver {
        resolvers: vec![
            "127.0.0.1:5353".parse().unwrap(),
            "[::1]:53".parse().unwrap(),
        ],
        query_timeout: Some(Duration::from_secs(2)),
        query_tries: Some(3),
        use_tcp_for_dns_lookups: true,
        no_default_search_domain: true,
    };
    assert_eq!(names.dns_resolver, resolver);
    let name = Endpoint::Name {
        host: "localhost".to_owned(),
        port: 9003,
    };
    assert_eq!(names.endpoints[0].address.value, name);
    assert_eq!(one_name.discovery, Discovery::LogicalDns);
    assert_eq!(one_name.dns_lookup_family, DnsLookupFamily::V6Only);
    assert_eq!(one_name.dns_refresh_rate, Duration::from_secs(2));
    assert_eq!(one_name.dns_jitter, Duration::from_millis(100));
    let rate = one_name.dns_failure_refresh_rate.unwrap();
    assert_eq!(rate.max_interval, Duration::from_secs(3));
    assert!(one_name.respect_dns_ttl);
    let resolver = "127.0.0.1:53".parse().unwrap();
    assert_eq!(one_name.dns_resolver.resolvers, [resolver]);
}

fn what_balances_is_read(web: &Cluster, grpc: &Cluster, hashed: &Cluster) {
    assert_eq!(web.lb_policy, LbPolicy::LeastRequest);
    assert_eq!(web.least_request.choice_count, 5);
    assert_eq!(web.slow_start.unwrap().window, Duration::from_secs(60));
    assert_eq!(web.slow_start.unwrap().min_weight_percent, 25);
    assert_eq!(web.healthy_panic_threshold, 30);
    assert!(web.fail_traffic_on_panic);
    assert_eq!(web.overprovisioning_factor, 200);
    let first = &web.endpoints[0];
    assert_eq!((first.weight, first.priority), (3, 0));
    assert_eq!(first.health_check_port, Some(8081));
    assert_eq!(first.metadata.namespaces.len(), 1);
    assert_eq!(web.endpoints[2].priority, 1);
    let check = &web.health_checks[0];
    assert_eq!(check.timeout, Duration::from_secs(1));
    assert_eq!(check.interval_jitter_percent, 10);
    assert_eq!(check.unhealthy_interval, Some(Duration::from_secs(2)));
    let HealthCheckKind::Http(http) = &check.kind else {
        panic!("{check:?}")
    };
    assert_eq!(
        (http.path.as_str(), http.host.as_str()),
        ("/healthz", "web.example")
    );
    assert_eq!(http.method, HealthCheckMethod::Head);
    assert!(Statuses::contain(&http.expected_statuses, 204));
    let outlier = web.outlier_detection.unwrap();
    assert_eq!(outlier.consecutive_5xx, 3);
    assert_eq!(outlier.base_ejection_time, Duration::from_secs(5));
    assert_eq!(outlier.success_rate_stdev_factor, 1900);
    assert_eq!(web.circuit_breakers.max_requests, 10);
    assert_eq!(web.circuit_breakers.max_retries, 3);
    let budget = web.retry_budget.unwrap();
    assert_eq!(budget.budget_percent.to_string(), "12.5%");
    assert_eq!(budget.min_retry_concurrency, 5);
    assert_eq!(
        web.tcp_keepalive.unwrap().keepalive_time,
        Duration::from_secs(30)
    );
    assert!(matches!(
        grpc.health_checks[0].kind,
        HealthCheckKind::Grpc(_)
    ));
    assert_eq!(
        grpc.connection_keepalive.unwrap().timeout,
        Duration::from_secs(3)
    );
    assert_eq!(hashed.lb_policy, LbPolicy::RingHash);
    assert_eq!(hashed.ring_hash.minimum_ring_size, 2048);
    let HealthCheckKind::Tcp(tcp) = &hashed.health_checks[0].kind else {
        panic!("{hashed:?}")
    };
    assert_eq!(
        (&tcp.send[..], &tcp.receive[0][..]),
        (&b"PING"[..], &b"PONG"[..])
    );
}

#[test]
fn the_filter_for_cors_is_not_switched_off_in_silence() {
    let filter = "- { name: c, typed_config: { \"@type\": \
         type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } }\n          \
         - name: router";
    let off = "typed_per_filter_config: { c: { \"@type\": \
         type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true } }, match:";
    let text = bootstrap("", "").replacen("- name: router", filter, 1);
    parse(&text);
    let text = text.replacen("match:", off, 1);
    let (config, _) = envoy::parse("envoy.yaml", &text, Leniency::Lenient);
    let errors = config.map(|_| ()).map_err(|errors| errors.plain());
    let errors = errors.unwrap_err();
    assert!(
        errors.contains("switching `c` off for a route is not supported"),
        "{errors}"
    );
}

#[test]
fn what_is_silent_is_as_in_envoy() {
    let config = parse(&bootstrap("", ""));
    let listener = &config.listeners[0];
    assert_eq!(listener.name.value, "127.0.0.1:0");
    assert_eq!(listener.buffer_limit, 1 << 20);
    let http = &listener.filter_chains[0].http;
    assert_eq!(http.server_name, "envoy");
    assert!(http.generate_request_id && http.envoy_headers);
    assert!(!http.trailers && !http.http10 && http.upgrades.is_empty());
    assert_eq!(http.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(http.stream_idle_timeout, Some(Duration::from_secs(300)));
    let route = listener.filter_chains[0].routes().next().unwrap();
    assert_eq!(
        route.matches.path.value,
        PathMatch::Prefix("/".to_owned()),
        "the empty prefix"
    );
    let web = &config.clusters[0];
    assert!(!web.trailers);
    assert_eq!(web.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(web.connect_timeout, Duration::from_secs(5));
}

#[test]
fn the_imported_form_means_the_same() {
    for config in [full(), parse(&bootstrap("", "")), parse(CONNECTION_FILTERS)] {
        let text = config.to_yaml();
        let again = weir_config::parse("weir.yaml", &text)
            .unwrap_or_else(|errors| panic!("{text}\n{errors}"));
        assert_eq!(again.node, config.node);
        assert_eq!(again.admin, config.admin);
        assert_eq!(again.listeners, config.listeners);
        assert_eq!(again.clusters, config.clusters);
        assert_eq!(again.drain_timeout, config.drain_timeout);
        assert_eq!(again.to_yaml(), text);
    }
}

#[test]
fn what_is_outside_is_passed_over_on_request_with_a_warning() {
    let text = bootstrap(
        "tracing: { provider: {} }\n          rds_typo: 1",
        "eds_cluster_config: {}",
    );
    let (config, _) = envoy::parse("envoy.yaml", &text, Leniency::Strict);
    assert!(config.is_err());
    let (config, warnings) = envoy::parse("envoy.yaml", &text, Leniency::Lenient);
    assert_eq!(config.unwrap().listeners.len(), 1);
    let lines: Vec<String> = warnings.iter().map(envoy::Warning::line).collect();
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    assert_eq!(
        lines,
        [
            format!("envoy.yaml:11:11: {manager}.tracing is not supported: passed over"),
            format!("envoy.yaml:12:11: {manager}.rds_typo is not supported: passed over"),
            "envoy.yaml:21:5: static_resources.clusters[0].eds_cluster_config is not supported: \
             passed over"
                .to_owned(),
        ]
    );
    assert!(
        warnings
            .iter()
            .next()
            .unwrap()
            .plain()
            .starts_with("warning: envoy.yaml:11:11")
    );
}

/// The statuses with which the routes answer; `None` for those that go on.
fn answers(config: &Config) -> Vec<Option<u16>> {
    let answer = |action: &RouteAction| match action {
        RouteAction::DirectResponse(answer) => Some(answer.status),
        _ => None,
    };
    let routes = config.listeners[0].filter_chains[0].routes();
    routes.map(|route| answer(&route.action)).collect()
}

#[test]
fn a_route_that_does_something_unknown_keeps_its_requests() {
    let text = bootstrap("", "").replace(
        "routes: [{",
        "routes: [{ match: { prefix: /a }, route: { cluster_specifier_plugin: x } }, \
         { match: { prefix: /b }, filter_action: {} }, {",
    );
    let (config, warnings) = lenient(&text);
    assert_eq!(answers(&config), [Some(503), Some(503), None]);
    assert_eq!(
        warnings,
        [
            "routes[0] answers with 503",
            "routes[0].route.cluster_specifier_plugin is not supported: passed over",
            "routes[1] answers with 503",
            "routes[1].filter_action is not supported: passed over",
        ]
    );

    let text = bootstrap("", "cluster_type: { name: other }");
    let (config, warnings) = lenient(&text);
    assert_eq!(answers(&config), [Some(503)]);
    assert!(config.clusters.is_empty());
    assert!(
        warnings[0].starts_with("the route to `web`, which is passed over,"),
        "{warnings:?}"
    );
}

#[test]
fn what_keeps_others_out_is_not_passed_over() {
    let text = bootstrap("", "");
    let filter = |name: &str, kind: &str| {
        text.replace(
            "          - name: router",
            &format!(
                "          - name: {name}\n            typed_config: {{ \"@type\": \
                 type.googleapis.com/{kind}, rules: {{}} }}\n          - name: router"
            ),
        )
    };
    let in_route = |fields: &str| text.replace("match: { prefix: \"\"", fields);
    let rbac = "envoy.extensions.filters.http.rbac.v3.RBAC";
    let cases = [
        filter("mine", rbac).replace(
            "rules: {}",
            "rules: { policies: { a: { permissions: [{ any: true }], principals: [{ any: true }], \
             condition: {} } } }",
        ),
        filter("mine", rbac).replace("rules: {}", "matcher: {}"),
        filter("envoy.filters.http.jwt_authn", "other.Type"),
        filter("x", "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"),
        text.replace(
            "    - filters:",
            "    - filter_chain_match: { address_suffix: a }\n      filters:",
        ),
        text.replace(
            "    filter_chains:",
            "    filter_chain_matcher: {}\n    filter_chains:",
        ),
        text.replace("    - filters:", "    - tls_context: {}\n      filters:"),
        text.replace(
            "    - filters:",
            "    - transport_socket: { name: tls }\n      filters:",
        ),
        bootstrap("", "transport_socket: { name: tls }"),
        bootstrap(
            "",
            "transport_socket_matches: [{ name: a, transport_socket: { name: quic } }]",
        ),
        text.replace("name: all,", "name: all, require_tls: ALL,"),
        text.replace(
            "name: all,",
            "name: all, typed_per_filter_config: { x: { \"@type\": \
             type.googleapis.com/envoy.config.route.v3.FilterConfig } },",
        ),
        in_route("match: { prefix: \"\", grpc: {}"),
        in_route("match: { prefix: \"\", headers: [{ name: x, other: 1 }]"),
    ];
    for case in cases {
        assert_ne!(case, text);
        let (config, _) = envoy::parse("envoy.yaml", &case, Leniency::Lenient);
        let errors = config.expect_err(&case);
        assert!(errors.plain().contains("is not supported\n"), "{errors}");
        assert!(errors.plain().contains("help: "), "{errors}");
    }
    let disabled =
        filter("mine", rbac).replace("- name: mine", "- name: mine\n            disabled: true");
    assert!(lenient(&disabled).1.is_empty());
    assert_eq!(
        parse(&disabled).listeners[0].filter_chains[0]
            .http_filters
            .len(),
        0
    );
}

/// Behind `- filters:` of [`bootstrap`]'s chain, or in its cluster.
fn tls(kind: &str, fields: &str) -> String {
    format!(
        "transport_socket: {{ name: tls, typed_config: {{ \"@type\": type.googleapis.com/\
         envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext, {fields} }} }}"
    )
}

#[test]
fn tls_is_read_on_both_sides() {
    let pair = "tls_certificates: [{ certificate_chain: { filename: a.pem }, \
                private_key: { inline_string: \"-----BEGIN PRIVATE KEY-----\" } }]";
    let down = tls(
        "Downstream",
        &format!(
            "require_client_certificate: true, common_tls_context: {{ {pair}, \
             tls_params: {{ tls_minimum_protocol_version: TLSv1_3 }}, alpn_protocols: [h2], \
             validation_context: {{ trusted_ca: {{ filename: ca.pem }}, \
             match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ prefix: 'spiffe://' }} }}] }} }}"
        ),
    );
    let up = tls(
        "Upstream",
        &format!(
            "sni: web.example, common_tls_context: {{ {pair}, validation_context: {{ \
             trusted_ca: {{ inline_bytes: LS0tLS1CRUdJTiA= }} }} }}"
        ),
    );
    let text = bootstrap("", &up).replace(
        "    - filters:",
        &format!("    - transport_socket_connect_timeout: 3s\n      {down}\n      filters:"),
    );
    let config = parse(&text);
    let listener = config.listeners[0].filter_chains[0].tls.as_ref().unwrap();
    let own = "{ certificates: [{ cert: a.pem, key: '-----BEGIN PRIVATE KEY-----' }], \
               alpn: [h2], min_version: 1.3, handshake_timeout: 3s, client_certificates: { \
               ca: ca.pem, match_subject_alt_names: [{ san_type: uri, prefix: 'spiffe://' }] } }";
    let cluster = config.clusters[0].tls.as_ref().unwrap();
    let expected = weir_config::parse(
        "weir.yaml",
        &format!(
            "listeners: [{{ name: e, address: '127.0.0.1:0', tls: {own} }}]\n\
             clusters: [{{ name: web, endpoints: ['127.0.0.1:1'], tls: {{ sni: web.example, \
             verify: chain, ca: '-----BEGIN ', cert: a.pem, key: '-----BEGIN PRIVATE KEY-----' }} }}]"
        ),
    );
    let expected = expected.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        listener,
        expected.listeners[0].filter_chains[0].tls.as_ref().unwrap()
    );
    assert_eq!(cluster, expected.clusters[0].tls.as_ref().unwrap());

    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.listeners, config.listeners, "{written}");
    assert_eq!(again.clusters, config.clusters, "{written}");
}

#[test]
fn what_is_told_of_certificates_is_read() {
    let fields = "forward_client_cert_details: SANITIZE_SET\n          \
                  set_current_client_cert_details: { subject: true, dns: true, cert: false }";
    let config = parse(&bootstrap(fields, ""));
    let http = &config.listeners[0].filter_chains[0].http;
    assert_eq!(
        http.forward_client_cert_details,
        ForwardClientCert::SanitizeSet
    );
    let details = [ClientCertDetail::Subject, ClientCertDetail::Dns];
    assert_eq!(http.set_current_client_cert_details, details);
    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.listeners, config.listeners, "{written}");
}

#[test]
fn the_proxy_protocol_is_read() {
    let filter = "    listener_filters:\n    - { name: a, typed_config: { \"@type\": \
                  type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.\
                  ProxyProtocol } }\n    listener_filters_timeout: 3s\n    filter_chains:";
    let text = bootstrap("", "").replace("    filter_chains:", filter);
    let config = parse(&text);
    let timeout = Some(Duration::from_secs(3));
    assert_eq!(
        config.listeners[0].proxy_protocol,
        Some(ProxyProtocol { timeout })
    );
    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.listeners, config.listeners, "{written}");
}

#[test]
fn an_endpoint_is_verified_as_far_as_envoy_would() {
    let ca = "trusted_ca: { filename: ca.pem }";
    let names = "match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: a } }]";
    for (fields, validation, expected) in [
        ("", String::new(), "{ sni: '', verify: none }"),
        ("", ca.to_owned(), "{ sni: '', verify: chain, ca: ca.pem }"),
        (
            "auto_host_sni: true,",
            ca.to_owned(),
            "{ verify: chain, ca: ca.pem }",
        ),
        (
            "auto_host_sni: true, auto_sni_san_validation: true,",
            ca.to_owned(),
            "{ ca: ca.pem }",
        ),
        (
            "sni: b, auto_sni_san_validation: true,",
            "system_root_certs: {}".to_owned(),
            "{ sni: b }",
        ),
        (
            "",
            format!("{ca}, {names}"),
            "{ sni: '', ca: ca.pem, match_subject_alt_names: [{ san_type: dns, exact: a }] }",
        ),
    ] {
        let context =
            format!("{fields} common_tls_context: {{ validation_context: {{ {validation} }} }}");
        let config = parse(&bootstrap("", &tls("Upstream", &context)));
        let own = format!(
            "listeners: [{{ name: e, address: '127.0.0.1:0' }}]\n\
             clusters: [{{ name: web, endpoints: ['127.0.0.1:1'], tls: {expected} }}]"
        );
        let own = weir_config::parse("weir.yaml", &own).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.clusters[0].tls, own.clusters[0].tls, "{context}");
    }
}

#[test]
fn nothing_of_tls_is_passed_over() {
    for fields in [
        "common_tls_context: { tls_certificates: [{ certificate_chain: { filename: a }, \
         private_key: { filename: b }, other: 1 }] }",
        "common_tls_context: { validation_context: { crl: { filename: a } } }",
        "other: 1",
    ] {
        let text = bootstrap("", &tls("Upstream", fields));
        let (config, _) = envoy::parse("envoy.yaml", &text, Leniency::Lenient);
        let errors = config.expect_err(fields);
        assert!(
            errors.plain().contains("`--lenient` does not pass it over"),
            "{errors}"
        );
    }
}

#[test]
fn warnings_that_are_not_listed_are_counted() {
    let fields: Vec<String> = (0..130).map(|n| format!("x{n}: 1")).collect();
    let text = bootstrap(&fields.join("\n          "), "");
    let (config, warnings) = envoy::parse("envoy.yaml", &text, Leniency::Lenient);
    assert!(config.is_ok());
    assert_eq!((warnings.iter().count(), warnings.omitted()), (100, 30));
}

#[test]
fn what_is_null_or_an_empty_list_is_not_there() {
    let text = bootstrap(
        "tracing: null\n          request_mirrors: []",
        "eds_cluster_config: ~",
    )
    .replace(
        "routes: [{",
        "routes: [{ match: { prefix: /, dynamic_metadata: null, grpc: ~, query_parameters: [], \
         headers: [{ name: x, exact_match: y, other: null }] }, typed_per_filter_config: {}, \
         route: { cluster: web } }, { match: { prefix: /, headers: [] }, \
         route: { cluster: web, weighted_clusters: null } }, {",
    );
    assert_eq!(
        parse(&text).listeners[0].filter_chains[0].routes().count(),
        3
    );

    for wrong in [
        text.replace("grpc: ~", "grpc: {}"),
        text.replacen("cluster: web,", "cluster: null,", 1),
    ] {
        let (config, _) = envoy::parse("envoy.yaml", &wrong, Leniency::Strict);
        assert!(config.is_err());
    }
}

#[test]
fn json_and_camel_case_are_read_alike() {
    let text = bootstrap("generateRequestId: false", "connectTimeout: { seconds: 2 }");
    let config = parse(&text);
    assert!(
        !config.listeners[0].filter_chains[0]
            .http
            .generate_request_id
    );
    assert_eq!(config.clusters[0].connect_timeout, Duration::from_secs(2));
    let json = r#"{"staticResources":{"listeners":[{"name":"edge","address":{"socketAddress":
        {"address":"127.0.0.1","portValue":"8080"}},"filterChains":[{"filters":[{"name":"tcp",
        "typedConfig":{"@type":"type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "statPrefix":"t","cluster":"web","idleTimeout":"0s"}}]}]}],"clusters":[{"name":"web",
        "loadAssignment":{"clusterName":"web","endpoints":[{"lbEndpoints":[{"endpoint":{"address":
        {"socketAddress":{"address":"127.0.0.1","portValue":9}}}}]}]}}]}}"#;
    let config = parse(json);
    let tcp = config.listeners[0].filter_chains[0].tcp.as_ref().unwrap();
    assert_eq!((tcp.cluster.as_str(), tcp.idle_timeout), ("web", None));
    assert_eq!(config.listeners[0].address.port(), Some(8080));
}

/// Wasm filters in front of a TCP proxy, two of one name.
const CONNECTION_FILTERS: &str = r#"{"static_resources":{"listeners":[{"name":"edge","address":
    {"socket_address":{"address":"127.0.0.1","port_value":8080}},"filter_chains":[{"filters":[
    {"name":"wasm","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm","config":
    {"rootId":"one","vm_config":{"code":{"local":{"filename":"a.wasm"}}}}}},
    {"name":"wasm","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm","config":
    {"root_id":"two","vm_config":{"code":{"local":{"filename":"b.wasm"}}}}}},
    {"name":"tcp","typed_config":{"@type":
    "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix":"t","cluster":"web"}}]}]}],"clusters":[{"name":"web",
    "load_assignment":{"cluster_name":"web","endpoints":[{"lb_endpoints":[{"endpoint":{"address":
    {"socket_address":{"address":"127.0.0.1","port_value":9}}}}]}]}}]}}"#;

#[test]
fn wasm_filters_stand_in_front_of_a_tcp_proxy() {
    let config = parse(CONNECTION_FILTERS);
    let filters = &config.listeners[0].filter_chains[0].network_filters;
    let told: Vec<_> = filters
        .iter()
        .map(|filter| (filter.name.as_str(), filter.wasm.root_id.as_str()))
        .collect();
    assert_eq!(told, [("wasm", "one"), ("wasm-2", "two")]);
    assert!(config.listeners[0].filter_chains[0].http_filters.is_empty());
}

#[test]
fn a_wasm_filter_does_not_end_a_chain_of_connections() {
    let proxy = CONNECTION_FILTERS.find(
        r#",
    {"name":"tcp""#,
    );
    let end = CONNECTION_FILTERS.find("]}]}],\"clusters\"");
    let text = [
        &CONNECTION_FILTERS[..proxy.unwrap()],
        &CONNECTION_FILTERS[end.unwrap()..],
    ]
    .concat();
    let (result, _) = envoy::parse("envoy.json", &text, Leniency::Strict);
    let errors = result.unwrap_err().plain();
    assert!(errors.contains("cannot be the last filter"), "{errors}");
}

#[test]
fn a_static_cluster_without_endpoints_answers_nobody() {
    let text = bootstrap("", "type: STATIC");
    let (without, _) = text.split_once("    load_assignment:").unwrap();
    let config = parse(without);
    assert!(config.clusters[0].endpoints.is_empty());
    let (without, _) = bootstrap("", "type: STRICT_DNS")
        .split_once("    load_assignment:")
        .map(|(text, rest)| (text.to_owned(), rest.to_owned()))
        .unwrap();
    let (result, _) = envoy::parse("envoy.yaml", &without, Leniency::Strict);
    let errors = result.unwrap_err().plain();
    assert!(errors.contains("load_assignment is missing"), "{errors}");
}

#[test]
fn a_pipe_is_relative_to_the_working_directory() {
    let endpoint = "load_assignment: { endpoints: [{ lb_endpoints: [{ endpoint: { address: \
                    { pipe: { path: ./run/app.sock } } } }] }] }";
    let text = bootstrap("", endpoint);
    let config = parse(&text);
    let here = std::env::current_dir().unwrap().join("run/app.sock");
    let address = config.clusters[0].endpoints[0].address.to_string();
    assert_eq!(address, format!("unix:{}", here.display()));
}

#[test]
fn a_bootstrap_cut_off_anywhere_is_read_or_refused() {
    let text = fs::read_to_string(folder().join("full.yaml")).unwrap();
    for end in (0..text.len())
        .step_by(7)
        .filter(|end| text.is_char_boundary(*end))
    {
        for leniency in [Leniency::Strict, Leniency::Lenient] {
            if let (Err(errors), _) = envoy::parse("envoy.yaml", &text[..end], leniency) {
                assert!(errors.iter().count() > 0);
            }
        }
    }
}

/// Listeners as a sidecar has them.
const SIDECAR: &str = r#"
static_resources:
  listeners:
  - name: outbound
    address: { socket_address: { address: 0.0.0.0, port_value: 15001 } }
    use_original_dst: true
    transparent: true
    traffic_direction: OUTBOUND
    listener_filters_timeout: 0.1s
    continue_on_listener_filters_timeout: true
    listener_filters:
    - name: original_dst
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst }
    - name: tls_inspector
      filter_disabled: { destination_port_range: { start: 3306, end: 3307 } }
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    - name: http_inspector
      filter_disabled:
        or_match:
          rules:
          - destination_port_range: { start: 3306, end: 3310 }
          - and_match: { rules: [{ destination_port_range: { start: 1, end: 9 } }, { not_match: { destination_port_range: { start: 3, end: 9 } } }] }
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector }
    - name: original_src
      typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc, mark: 1337 }
    filter_chains:
    - name: named
      filter_chain_match:
        destination_port: { value: 443 }
        prefix_ranges: [{ address_prefix: 10.1.2.3, prefix_len: 8 }, { address_prefix: "::", prefix_len: 0 }]
        server_names: [a.example, "*.B.example"]
        transport_protocol: tls
        application_protocols: [istio, h2]
        direct_source_prefix_ranges: [{ address_prefix: 10.0.0.0 }]
        source_type: EXTERNAL
        source_prefix_ranges: [{ address_prefix: 192.0.2.1, prefix_len: 32 }]
        source_ports: [7, "8"]
      filters: &through
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          cluster: passthrough
    - { name: named, filters: *through, filter_chain_match: { application_protocols: [http/1.1] } }
    default_filter_chain: { name: rest, filters: *through, filter_chain_match: { destination_port: 1 } }
  - name: virtual
    address: { socket_address: { address: 10.0.0.1, port_value: 80 } }
    bind_to_port: false
    filter_chains: [{ filters: *through }]
  clusters:
  - name: passthrough
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
    cleanup_interval: 1s
    original_dst_lb_config: { use_http_header: true, upstream_port_override: 81 }
    upstream_bind_config:
      source_address: { address: 127.0.0.6, port_value: 0 }
      extra_source_addresses: [{ address: { address: "::6" } }]
      freebind: true
      socket_options: [{ description: mark, level: 1, name: 36, int_value: 1337, state: STATE_PREBIND }]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: { max_concurrent_streams: 7 } }
"#;

#[test]
fn several_filter_chains_are_read_and_written_again() {
    let config = parse(SIDECAR);
    let [outbound, r#virtual] = config.listeners.as_slice() else {
        panic!("{:?}", config.listeners)
    };
    assert!(outbound.original_dst && outbound.use_original_dst && outbound.transparent);
    // There is no inspector but those that are named.
    assert_eq!(outbound.inspects(), (true, true));
    let texts = |ranges: &[PortRange]| ranges.iter().map(PortRange::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&outbound.inspect.tls_except_ports), ["3306"]);
    assert_eq!(
        texts(&outbound.inspect.http_except_ports),
        ["1-2", "3306-3309"]
    );
    assert_eq!(outbound.original_src.map(|source| source.mark), Some(1337));
    let passthrough = &config.clusters[0];
    assert_eq!(passthrough.protocol, UpstreamProtocol::Downstream);
    assert_eq!(passthrough.http2.max_concurrent_streams, Some(7));
    let bind = &passthrough.bind;
    assert_eq!((bind.freebind, bind.mark), (true, 1337));
    let addresses: Vec<_> = bind.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.6:0", "[::6]:0"]);
    assert!(outbound.inspect.continue_on_timeout);
    assert_eq!(outbound.inspect.timeout, Some(Duration::from_millis(100)));
    let matches = &outbound.filter_chains[0].matches;
    assert_eq!(matches.destination_port, Some(443));
    let ranges: Vec<_> = matches
        .prefix_ranges
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ranges, ["10.0.0.0/8", "::/0"]);
    assert_eq!(matches.server_names, ["a.example", "*.b.example"]);
    assert_eq!(matches.transport_protocol, Some(TransportProtocol::Tls));
    assert_eq!(matches.source_type, SourceType::External);
    assert_eq!(matches.source_ports, [7, 8]);
    assert_eq!(outbound.default_chain().unwrap().name.value, "rest");
    assert!(!r#virtual.bind_to_port && r#virtual.only_chain().is_some());
    let original = config.clusters[0].original_dst.as_ref().unwrap();
    assert_eq!(original.header(), Some("x-envoy-original-dst-host"));
    assert_eq!(original.upstream_port_override, Some(81));

    let again =
        weir_config::parse("weir.yaml", &config.to_yaml()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.listeners, config.listeners);
    assert_eq!(again.clusters, config.clusters);
}

#[test]
fn pipes_are_unix_sockets() {
    let text = bootstrap("", "").replace(
        "socket_address: { address: 127.0.0.1, port_value: 1 }",
        "pipe: { path: '@web', mode: 0600 }",
    );
    let pipe = "pipe: { path: /run/edge.sock, mode: 0660 }";
    let text = text.replace(
        "socket_address: { address: 127.0.0.1, port_value: 0 }",
        pipe,
    );
    let text =
        format!("admin: {{ address: {{ pipe: {{ path: /run/a.sock, mode: 384 }} }} }}\n{text}");
    let config = parse(&text);
    let own = "admin: { address: unix:/run/a.sock, mode: 0600 }\n\
               listeners: [{ name: e, address: unix:/run/edge.sock, mode: 0660 }]\n\
               clusters: [{ name: web, endpoints: ['unix:@web'] }]";
    let own = weir_config::parse("weir.yaml", own).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.admin, own.admin);
    assert_eq!(config.listeners[0].address, own.listeners[0].address);
    assert_eq!(config.listeners[0].mode, own.listeners[0].mode);
    assert_eq!(config.clusters[0].endpoints, own.clusters[0].endpoints);
    let written = config.to_yaml();
    let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.admin, config.admin, "{written}");
    assert_eq!(again.listeners, config.listeners, "{written}");
    assert_eq!(again.clusters, config.clusters, "{written}");
}

#[test]
fn the_proxy_protocol_to_endpoints_is_read_around_tls() {
    let raw = "transport_socket: { name: raw, typed_config: { \"@type\": type.googleapis.com/\
               envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer } }";
    let tls = tls("Upstream", "sni: a");
    for (config, inner, version, has_tls) in [
        ("{}", raw, ProxyProtocolVersion::V1, false),
        ("{ version: V2 }", raw, ProxyProtocolVersion::V2, false),
        ("{ version: V2 }", &tls, ProxyProtocolVersion::V2, true),
    ] {
        let transport = format!(
            "transport_socket: {{ name: any, typed_config: {{ \"@type\": type.googleapis.com/\
             envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport, \
             config: {config}, {inner} }} }}"
        );
        let config = parse(&bootstrap("", &transport));
        let cluster = &config.clusters[0];
        assert_eq!(cluster.proxy_protocol.unwrap().version, version);
        assert_eq!(cluster.tls.is_some(), has_tls);
        let written = config.to_yaml();
        let again = weir_config::parse("weir.yaml", &written).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(again.clusters, config.clusters, "{written}");
    }
}
