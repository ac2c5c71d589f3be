//! What Istio's control plane sends, and policies in both forms.
#![allow(clippy::unwrap_used, clippy::panic)] // A failed unwrap is a failed test.

use weir_config::envoy::{self, Leniency};
use weir_config::{Config, Native, RbacAction, RbacCondition, SanType, TlsCipher};

const SIDECAR: &str = include_str!("istio/sidecar.yaml");

/// What the strict reader makes of `text`, and its warnings.
fn read(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = envoy::parse("envoy.yaml", text, Leniency::Strict);
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let warnings = warnings.iter().map(|warning| warning.message().to_owned());
    (config, warnings.collect())
}

fn refused(text: &str) -> String {
    let (config, _) = envoy::parse("envoy.yaml", text, Leniency::Lenient);
    match config {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors.plain(),
    }
}

#[test]
fn a_sidecar_is_read_as_a_whole() {
    let (config, warnings) = read(SIDECAR);
    let chains = &config.listeners[0].filter_chains;
    let tls = chains[0].tls.as_ref().unwrap();
    let clients = tls.client_certificates.as_ref().unwrap();
    assert!(clients.required);
    assert_eq!(
        clients.match_subject_alt_names[0].san_type,
        Some(SanType::Uri)
    );
    assert_eq!(tls.alpn.as_deref().unwrap(), ["h2", "http/1.1"]);
    assert!(tls.versions.ciphers.contains(TlsCipher::RsaAes128));
    assert!(!tls.versions.ciphers.contains(TlsCipher::RsaChacha20));
    let names: Vec<_> = chains[0]
        .native_filters
        .iter()
        .map(|filter| filter.name.value.as_str())
        .collect();
    let rbac = "envoy.filters.http.rbac";
    assert_eq!(
        names,
        [rbac, "envoy.filters.http.rbac-2", "envoy.filters.http.cors"]
    );
    let denies = chains[0].native_filters[0].rbac().unwrap();
    assert_eq!(denies.rules.as_ref().unwrap().action, RbacAction::Deny);
    assert_eq!(denies.shadow_rules_stat_prefix, "istio_dry_run_allow_");
    assert!(chains[1].tls.is_none(), "permissive");
    let tcp = &chains[2].native_network_filters[0];
    assert_eq!(
        tcp.rbac().unwrap().stat_prefix.as_ref().unwrap().value,
        "tcp"
    );
    let ratings = &config.clusters[2];
    let mesh = ratings.tls_matches[0].tls.as_ref().unwrap();
    assert_eq!(mesh.alpn.as_deref().unwrap(), ["istio"]);
    assert!(mesh.ca.is_some() && mesh.certificate.is_some());
    assert_eq!(mesh.match_subject_alt_names.len(), 1);
    assert!(ratings.tls_matches[1].tls.is_none());
    assert!(chains[0].istio.stats.is_some() && chains[2].istio.stats.is_some());
    assert!(chains[0].istio.peer_metadata.is_some());
    for passed_over in [
        "the HTTP filter `envoy.filters.http.fault`",
        "the HTTP filter `envoy.filters.http.grpc_stats`",
        "the network filter `istio.metadata_exchange`",
        "the bootstrap extension `envoy.bootstrap.internal_listener`",
        "AES256-GCM-SHA384 is not supported",
        ".tracing is passed over",
    ] {
        let told = warnings.iter().any(|warning| warning.contains(passed_over));
        assert!(told, "{passed_over}: {warnings:#?}");
    }
}

#[test]
fn a_sidecar_is_the_same_in_the_other_form() {
    let (config, _) = read(SIDECAR);
    let text = config.to_yaml();
    let again =
        weir_config::parse("weir.yaml", &text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    assert_eq!(again.listeners, config.listeners);
    assert_eq!(again.clusters, config.clusters);
    assert_eq!(again.to_yaml(), text);
}

#[test]
fn what_would_open_or_change_something_is_refused_by_name() {
    let filter = "          - { name: envoy.filters.http.fault, typed_config: { \"@type\": \
                  type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } }";
    assert!(SIDECAR.contains(filter));
    let with = |kind: &str, fields: &str| {
        let other = format!(
            "          - {{ name: x, typed_config: {{ \"@type\": type.googleapis.com/{kind}{fields} }} }}"
        );
        SIDECAR.replace(filter, &other)
    };
    for (kind, fields) in [
        (
            "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "",
        ),
        ("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", ""),
        (
            "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "",
        ),
        ("envoy.extensions.filters.http.lua.v3.Lua", ""),
        (
            "envoy.extensions.filters.http.fault.v3.HTTPFault",
            ", abort: { http_status: 500 }",
        ),
    ] {
        let errors = refused(&with(kind, fields));
        let words = format!("the HTTP filter `x` ({kind}) is not supported\n");
        assert!(errors.contains(&words), "{errors}");
    }
}

#[test]
fn secrets_that_are_not_there_are_named() {
    let certificate = "  - name: default\n    tls_certificate";
    assert!(SIDECAR.contains(certificate));
    let other = certificate.replace("default", "defaults");
    let errors = refused(&SIDECAR.replace(certificate, &other));
    let words = "there is no secret `default` with a `tls_certificate`\n";
    assert!(errors.contains(words), "{errors}");
    let help = "help: did you mean `defaults`?";
    assert!(errors.contains(help), "{errors}");
}

#[test]
fn what_policies_cannot_be_is_refused_by_its_path() {
    let rbac = |rules: &str| {
        let path = "url_path: { path: { prefix: /admin } }";
        assert!(SIDECAR.contains(path));
        refused(&SIDECAR.replace(path, rules))
    };
    for (rule, words) in [
        (
            "matcher: { name: x }",
            "rules[0].or_rules.rules[0].matcher is not supported",
        ),
        (
            "source_ip: { address_prefix: 10.0.0.0, prefix_len: 8 }",
            "rules[0].source_ip is not supported",
        ),
        (
            "destination_port_range: { start: 9, end: 9 }",
            "there are no ports from 9 up to 9",
        ),
        (
            "destination_ip: { address_prefix: x }",
            "`x/0` is no range of addresses",
        ),
        (
            "url_path: { path: { safe_regex: { regex: \"(\" } } }",
            "not a regular expression",
        ),
        ("any: false", "any: false is not supported"),
        ("not_rule: {}", "not_rule.any is missing"),
        (
            "metadata: { filter: x, path: [{ key: a }], value: { double_match: { exact: 1 } } }",
            "value.double_match is not supported",
        ),
    ] {
        let errors = rbac(rule);
        assert!(errors.contains(words), "{words}\n{errors}");
    }
    let any = "principals:\n                    - and_ids: { ids: [{ any: true }] }";
    assert!(SIDECAR.contains(any));
    let state = any.replace(
        "any: true",
        "filter_state: { key: io.istio.peer_principal, string_match: { prefix: x } }",
    );
    let errors = refused(&SIDECAR.replace(any, &state));
    assert!(
        errors.contains("`io.istio.peer_principal` is not supported\n"),
        "{errors}"
    );
    let condition = format!("condition: {{}}\n                    {any}");
    let errors = refused(&SIDECAR.replace(any, &condition));
    assert!(errors.contains(".condition is not supported\n"), "{errors}");
}

/// The filters of a listener in Weir's own form.
fn own(filters: &str, more: &str) -> Result<Config, String> {
    let text = format!(
        "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n{filters}\n{more}"
    );
    weir_config::parse("weir.yaml", &text).map_err(|errors| errors.plain())
}

#[test]
fn policies_are_asked_in_the_order_of_their_names() {
    let all = "{ permissions: [{ any: true }], principals: [{ any: true }] }";
    let filter = format!(
        "  - {{ name: rbac, rbac: {{ rules: {{ policies: {{ b: {all}, a: {all} }} }} }} }}"
    );
    let config = own(&filter, "").unwrap();
    let filter = &config.listeners[0].filter_chains[0].native_filters[0];
    let policies = &filter.rbac().unwrap().rules.as_ref().unwrap().policies;
    let names: Vec<_> = policies.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(policies[0].permissions, [RbacCondition::Any]);
}

#[test]
fn filters_of_both_kinds_keep_their_places() {
    let wasm = |name: &str| {
        format!(
            "  - {{ name: {name}, wasm: {{ vm_config: {{ code: {{ local: {{ filename: a.wasm }} }} }} }} }}\n"
        )
    };
    let filters = [
        "  - { name: one, rbac: {} }\n".to_owned(),
        wasm("a"),
        "  - { name: two, rbac: {} }\n  - { name: cors, cors: true }\n".to_owned(),
        wasm("b"),
        "  - { name: three, rbac: {} }".to_owned(),
    ];
    let config = own(&filters.concat(), "").unwrap();
    let chain = &config.listeners[0].filter_chains[0];
    let places: Vec<_> = chain.native_filters.iter().map(|f| f.place).collect();
    assert_eq!(places, [0, 1, 1, 2]);
    assert_eq!(chain.native_filters[2].kind, Native::Cors);
    let again = weir_config::parse("weir.yaml", &config.to_yaml()).unwrap();
    assert_eq!(again.listeners, config.listeners);
}

#[test]
fn what_filters_of_policies_cannot_be_is_told() {
    for (filters, more, words) in [
        (
            "  - { name: a, rbac: {}, wasm: {} }",
            "",
            "`wasm` and `rbac` cannot both be set",
        ),
        (
            "  - { name: a, rbac: { stat_prefix: x } }",
            "",
            "`stat_prefix` has no effect on requests",
        ),
        (
            "  - { name: a, rbac: {} }\n  - { name: a, rbac: {} }",
            "",
            "another filter of this listener is called `a` already",
        ),
        (
            "  - { name: a, cors: true }\n  - { name: b, cors: true }",
            "",
            "`cors` has a place already",
        ),
        (
            "  - { name: a, cors: false }",
            "",
            "`cors` can only be `true`",
        ),
        (
            "  - { name: a, rbac: { rules: { policies: { p: { permissions: [], principals: [{}] } } } } }",
            "",
            "`permissions` is empty: the policy would match nothing",
        ),
        (
            "  - { name: a, rbac: { rules: { policies: { p: { permissions: [{}], principals: [{ any: true }] } } } } }",
            "",
            "a condition of `rbac` is empty",
        ),
        (
            "  - { name: a, rbac: {} }",
            "  routes: [{ match: { prefix: / }, direct_response: { status: 200 }, filters: { a: { configuration: x } } }]",
            "filter `a` has no `configuration`",
        ),
        (
            "  - { name: a, cors: true }",
            "  routes: [{ match: { prefix: / }, direct_response: { status: 200 }, filters: { a: { disabled: true } } }]",
            "filter `a` is as it is for all routes",
        ),
        (
            "    []",
            "  network_filters: [{ name: a, rbac: { rules: { policies: { p: { permissions: [{ url_path: { prefix: / } }], principals: [{ any: true }] } } } } }]",
            "filter `a` is for connections, which have no `url_path`",
        ),
    ] {
        let errors = own(filters, more).err().unwrap_or_default();
        assert!(errors.contains(words), "{words}\n{errors}");
    }
}
