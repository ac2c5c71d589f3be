//! Sidecars that know each other by SPIFFE identities, as a mesh's control plane
//! configures them, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::net::SocketAddr;

use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{Upstream, Weir};

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";

/// Who one side is, and whom it believes, as secrets.
fn secrets(authority: &Authority, identity: &Identity) -> String {
    // Rust's escapes are YAML's, as far as PEM needs any.
    let Identity { cert, key, .. } = identity;
    format!(
        "  secrets:
  - name: default
    tls_certificate: {{ certificate_chain: {{ inline_string: {cert:?} }}, private_key: {{ inline_string: {key:?} }} }}
  - name: ROOTCA
    validation_context: {{ trusted_ca: {{ inline_string: {:?} }} }}
",
        authority.pem()
    )
}

/// A TLS context with these secrets, for peers with such names.
fn common(alpn: &str, names: &str) -> String {
    format!(
        "common_tls_context: {{ alpn_protocols: {alpn}, \
         tls_params: {{ tls_minimum_protocol_version: TLSv1_2, cipher_suites: [ECDHE-ECDSA-AES256-GCM-SHA384] }}, \
         tls_certificate_sds_secret_configs: [{{ name: default }}], \
         combined_validation_context: {{ default_validation_context: {{ {names} }}, \
         validation_context_sds_secret_config: {{ name: ROOTCA }} }} }}"
    )
}

/// Filters that pass requests on to these clusters, by the beginning of their paths.
fn manager(routes: &[(&str, &str)], more: &str) -> String {
    let routes = routes.iter().map(|(prefix, cluster)| {
        format!("{{ match: {{ prefix: {prefix} }}, route: {{ cluster: {cluster} }} }}")
    });
    let routes = routes.collect::<Vec<_>>().join(", ");
    format!(
        "[{{ name: hcm, typed_config: {{ \"@type\": {MANAGER}, stat_prefix: in, {more} \
         route_config: {{ virtual_hosts: [{{ name: all, domains: ['*'], routes: [{routes}] }}] }}, \
         http_filters: [{{ name: router, typed_config: {{ \"@type\": {ROUTER} }} }}] }} }}]"
    )
}

fn endpoint(address: SocketAddr, more: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "load_assignment: {{ endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: \
         {{ address: {ip}, port_value: {port} }} }} }}{more} }}] }}] }}"
    )
}

fn bootstrap(secrets: &str, listener: &str, clusters: &str) -> String {
    format!(
        "admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }} }}
static_resources:
{secrets}  listeners:
  - name: edge
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
{listener}
  clusters:
{clusters}
"
    )
}

/// A sidecar in front of `service`. What comes without TLS is served only if it is
/// `permissive`.
fn inbound(service: &Upstream, authority: &Authority, permissive: bool) -> Weir {
    let names =
        "match_typed_subject_alt_names: [{ san_type: URI, matcher: { prefix: 'spiffe://mesh/' } }]";
    let told = "forward_client_cert_details: SANITIZE_SET, set_current_client_cert_details: { uri: true },";
    let filters = manager(&[("/", "service")], told);
    let mut chains = format!(
        "    listener_filters: [{{ name: envoy.filters.listener.tls_inspector }}]
    filter_chains:
    - filter_chain_match: {{ transport_protocol: tls, application_protocols: [istio-http/1.1, istio-h2] }}
      transport_socket:
        name: tls
        typed_config: {{ \"@type\": {TLS}.DownstreamTlsContext, require_client_certificate: true, {} }}
      filters: {filters}
",
        common("[h2, http/1.1]", names)
    );
    if permissive {
        chains.push_str(&format!(
            "    - filter_chain_match: {{ transport_protocol: raw_buffer }}\n      filters: {filters}\n"
        ));
    }
    let clusters = format!("  - {{ name: service, {} }}", endpoint(service.address, ""));
    let identity = authority.issue(&["spiffe://mesh/ns/shop/sa/service"]);
    Weir::start_envoy(&bootstrap(
        &secrets(authority, &identity),
        &chains,
        &clusters,
    ))
}

/// A sidecar that passes requests on to the `other` one: by `/mesh` to one that is known to
/// have TLS, with this name, and by `/plain` to one that is not.
fn outbound(other: &Weir, authority: &Authority, identity: &Identity, name: &str) -> Weir {
    let filters = manager(&[("/mesh", "mesh"), ("/plain", "plain"), ("/h2", "h2")], "");
    let listener = format!("    filter_chains: [{{ filters: {filters} }}]");
    let tls = common(
        "[istio-peer-exchange, istio]",
        &format!("match_subject_alt_names: [{{ exact: '{name}' }}]"),
    );
    let matches = format!(
        "transport_socket_matches: [{{ name: tlsMode-istio, match: {{ tlsMode: istio }}, transport_socket: {{ name: tls, \
         typed_config: {{ \"@type\": {TLS}.UpstreamTlsContext, sni: outbound_.80_._.service, {tls} }} }} }}, \
         {{ name: tlsMode-disabled, match: {{}}, transport_socket: {{ name: raw, typed_config: {{ \"@type\": \
         type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer }} }} }}]"
    );
    let address = other.listener("edge");
    let mesh =
        ", metadata: { filter_metadata: { envoy.transport_socket_match: { tlsMode: istio } } }";
    let clusters = format!(
        "  - {{ name: mesh, {matches}, {} }}\n  - {{ name: plain, {matches}, {} }}\n  \
         - {{ name: h2, http2_protocol_options: {{}}, {matches}, {} }}",
        endpoint(address, mesh),
        endpoint(address, ""),
        endpoint(address, mesh),
    );
    Weir::start_envoy(&bootstrap(
        &secrets(authority, identity),
        &listener,
        &clusters,
    ))
}

const SERVICE: &str = "spiffe://mesh/ns/shop/sa/service";

#[test]
fn sidecars_know_each_other_and_serve_others_if_they_may() {
    let (authority, service) = (Authority::new("mesh"), Upstream::echo());
    let web = authority.issue(&["spiffe://mesh/ns/shop/sa/web"]);
    for permissive in [true, false] {
        let inbound = inbound(&service, &authority, permissive);
        let outbound = outbound(&inbound, &authority, &web, SERVICE);
        let mut client = outbound.connect();
        for path in ["/mesh", "/h2"] {
            let response = client.get(path);
            assert_eq!(response.status, 200, "{path}");
            let text = response.text();
            let uri = "URI=spiffe://mesh/ns/shop/sa/web";
            assert!(text.contains(uri), "{path}: {text}");
            assert!(text.contains(&format!("By={SERVICE};")), "{path}: {text}");
        }
        assert_eq!(inbound.metric("envoy_listener_ssl_handshake"), 2);
        let plain = client.get("/plain");
        if permissive {
            assert_eq!(plain.status, 200);
            assert!(!plain.text().contains("x-forwarded-client-cert"));
        } else {
            assert_eq!(plain.status, 503);
            inbound.eventually_metric("envoy_listener_no_filter_chain_match", 1);
        }
    }
}

#[test]
fn sidecars_turn_away_whom_they_do_not_know() {
    let (authority, service) = (Authority::new("mesh"), Upstream::echo());
    let inbound = inbound(&service, &authority, true);
    let web = authority.issue(&["spiffe://mesh/ns/shop/sa/web"]);
    let other_domain = authority.issue(&["spiffe://other/ns/shop/sa/web"]);
    let stranger = Authority::new("stranger");
    let forged = stranger.issue(&["spiffe://mesh/ns/shop/sa/web"]);
    // The other side is not who it should be.
    let wrong = outbound(&inbound, &authority, &web, "spiffe://mesh/ns/shop/sa/else");
    assert_eq!(wrong.connect().get("/mesh").status, 503);
    let metric = "envoy_cluster_ssl_fail_verify_san";
    assert_eq!(wrong.metric_of(metric, "envoy_cluster_name=\"mesh\""), 1);
    // This side is not.
    let wrong = outbound(&inbound, &authority, &other_domain, SERVICE);
    assert_eq!(wrong.connect().get("/mesh").status, 503);
    inbound.eventually_metric("envoy_listener_ssl_fail_verify_san", 1);
    // Or only says so.
    let wrong = outbound(&inbound, &authority, &forged, SERVICE);
    assert_eq!(wrong.connect().get("/mesh").status, 503);
    inbound.eventually_metric("envoy_listener_ssl_fail_verify_error", 1);
    assert_eq!(service.connections(), 0);
}
