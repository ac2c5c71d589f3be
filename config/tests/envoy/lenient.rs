//! What is passed over on request, and what is not.

use weir_config::envoy::{self, Leniency};
use weir_config::{Config, RouteAction};

use super::{bootstrap, lenient, parse};

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

#[test]
fn warnings_that_are_not_listed_are_counted() {
    let fields: Vec<String> = (0..130).map(|n| format!("x{n}: 1")).collect();
    let text = bootstrap(&fields.join("\n          "), "");
    let (config, warnings) = envoy::parse("envoy.yaml", &text, Leniency::Lenient);
    assert!(config.is_ok());
    assert_eq!((warnings.iter().count(), warnings.omitted()), (100, 30));
}
