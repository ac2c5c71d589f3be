//! TLS and the PROXY protocol, towards clients and endpoints.

use std::time::Duration;

use weir_config::envoy::{self, Leniency};
use weir_config::{ClientCertDetail, ForwardClientCert, ProxyProtocol, ProxyProtocolVersion};

use super::{bootstrap, parse};

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
