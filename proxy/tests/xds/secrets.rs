//! Certificates and authorities that come by themselves.

use serde_json::{Value as Json, json};
use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{Client, ControlPlane, Tunnel, Upstream, eventually};

use crate::resources::{ads, gateway};
use crate::{connect, weir};

const DOWNSTREAM: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

fn certificate(identity: &Identity) -> Json {
    json!({
        "name": "default",
        "tls_certificate": {
            "certificate_chain": { "inline_string": identity.cert },
            "private_key": { "inline_string": identity.key },
        },
    })
}

#[test]
fn a_certificate_is_replaced_under_connections() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let secret = |name: &str| json!({ "name": name, "sds_config": ads() });
    let mut resources = gateway(upstream.address, &[]);
    resources["listeners"][0]["filter_chains"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": DOWNSTREAM,
            "require_client_certificate": true,
            "common_tls_context": {
                "tls_certificate_sds_secret_configs": [secret("default")],
                "combined_validation_context": {
                    "default_validation_context": { "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": "client.example" } },
                    ] },
                    "validation_context_sds_secret_config": secret("ROOTCA"),
                },
            },
        },
    });
    let root = json!({
        "name": "ROOTCA",
        "validation_context": { "trusted_ca": { "inline_string": authority.pem() } },
    });
    let first = authority.issue(&["edge.example"]);
    resources["secrets"] = json!([certificate(&first), root]);
    let mut server = ControlPlane::start(&resources);
    let weir = weir(&server);
    connect(&weir, "edge");
    let address = weir.current_listener("edge").unwrap();
    let client = authority.issue(&["client.example"]);
    let tunnel = |identity: &Identity| {
        Tunnel::encrypt(address, "edge.example", authority.client(Some(identity)))
    };
    let open = tunnel(&client);
    let mut kept = Client::connect(open.address);
    assert_eq!(kept.get("/").status, 200);
    let shown = |tunnel: &Tunnel| tunnel.agreed().peer;
    let before = shown(&open);
    let second = authority.issue(&["edge.example"]);
    server.update(&json!({ "secrets": [certificate(&second)] }));
    eventually("the certificate is another", || {
        let tunnel = tunnel(&client);
        assert_eq!(Client::connect(tunnel.address).get("/").status, 200);
        (shown(&tunnel) != before).then_some(())
    });
    assert_eq!(kept.get("/").status, 200);
    // One that nobody signed, or for somebody else, comes to nothing.
    let other = tunnel(&authority.issue(&["other.example"]));
    let mut refused = Client::connect(other.address);
    refused.send("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    assert!(refused.try_response(false).is_err());
    // What is no key is refused, and the one before stays.
    let mut broken = certificate(&first);
    broken["tls_certificate"]["private_key"]["inline_string"] = "no key".into();
    server.update(&json!({ "secrets": [broken] }));
    let reason = server.nack("Secret", 1);
    assert!(reason.starts_with("secret `default`: "), "{reason}");
    assert!(!reason.contains("no key"), "{reason}");
    assert_eq!(kept.get("/").status, 200);
    assert_eq!(
        Client::connect(tunnel(&client).address).get("/").status,
        200
    );
}

#[test]
fn secrets_from_nowhere_are_refused() {
    let upstream = Upstream::echo();
    let source = json!({ "api_config_source": {
        "api_type": "GRPC",
        "grpc_services": [{ "envoy_grpc": { "cluster_name": "nowhere" } }],
    } });
    let mut resources = gateway(upstream.address, &[]);
    resources["listeners"][0]["filter_chains"][0]["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": DOWNSTREAM,
            "common_tls_context": {
                "tls_certificate_sds_secret_configs": [{ "name": "a", "sds_config": source }],
            },
        },
    });
    let server = ControlPlane::start(&resources);
    let _weir = weir(&server);
    let reason = server.nack("Listener", 1);
    assert_eq!(
        reason,
        "listener `edge`: there is no static cluster `nowhere`"
    );
}
