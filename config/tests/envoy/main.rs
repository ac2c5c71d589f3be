//! Envoy's bootstrap, read as it is.
//!
//! `*.yaml` beside this are bootstraps that are refused with the text of their
//! `.txt`; `full.yaml` is one with everything that is not.
//! `WEIR_UPDATE_GOLDEN=1` writes the texts anew; read them aloud before
//! committing them.

#![allow(clippy::unwrap_used)]

mod chains;
mod lenient;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{
    AppendAction, Cluster, Code, Codec, Config, Destination, Discovery, DnsLookupFamily,
    DnsResolver, Endpoint, FailurePolicy, HealthCheckKind, HealthCheckMethod, HostRewrite,
    HttpOptions, LbPolicy, LogFormat, LogPath, PathMatch, RouteAction, ServerHeader, Statuses,
    UpstreamProtocol,
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
    for config in [
        full(),
        parse(&bootstrap("", "")),
        parse(chains::CONNECTION_FILTERS),
    ] {
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
    let text = bootstrap("", "").replace(
        "{ socket_address: { address: 127.0.0.1, port_value: 1 } }",
        "{ pipe: { path: ./run/app.sock } }",
    );
    let config = parse(&text);
    let here = std::env::current_dir().unwrap().join("run/app.sock");
    let address = config.clusters[0].endpoints[0].address.to_string();
    assert_eq!(address, here.display().to_string());
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
