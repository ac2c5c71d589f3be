//! Interception that leaves the packets as they are.

use std::net::SocketAddr;

use super::mesh::{BANNER, ECHO, Mesh, at, both, echo_server, greet};

/// The same listeners, of which the inbound one is transparent, and connects from the
/// client's address.
#[allow(clippy::needless_pass_by_value)] // As bootstraps are changed.
fn transparent(bootstrap: String) -> String {
    let source = "    listener_filters:
    - name: envoy.filters.listener.original_src
      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.original_src.v3.OriginalSrc, mark: 1337 }\n";
    let changed = bootstrap
        .replace("transparent: false", "transparent: true")
        .replace("    listener_filters:\n", source);
    assert_ne!(changed, bootstrap);
    changed
}

#[test]
fn an_application_behind_a_transparent_sidecar_sees_its_clients() {
    let mesh = Mesh::start_with("-m TPROXY", transparent, &["net_admin"]);
    mesh.b.host.run(|| {
        echo_server(ECHO, false);
        echo_server(BANNER, true);
    });
    let greeted = |from: &weir_conformance::Host, to: SocketAddr, begins| {
        let said = from.run(|| greet(to, begins));
        let own = from.ip_like(to.ip());
        assert_eq!(said, format!("[{own}]"), "{to}");
    };
    for like in both(0) {
        for (port, begins) in [(ECHO, false), (BANNER, true)] {
            let to = at(&mesh.b.host, like, port);
            greeted(&mesh.outside, to, begins);
            mesh.b
                .logged(&format!("InboundPassthroughCluster {to} {to} - - end"));
            // From a service whose sidecar is in between as well.
            greeted(&mesh.a.host, to, begins);
            mesh.a
                .logged(&format!("PassthroughCluster {to} {to} - - end"));
        }
    }
    assert_eq!(mesh.b.captured(15006), 8);
}

#[test]
fn a_service_reaches_itself_through_a_transparent_sidecar() {
    let mesh = Mesh::start_with("-m TPROXY", transparent, &["net_admin"]);
    mesh.b.host.run(|| echo_server(ECHO, false));
    let (service, own) = (both(ECHO)[0], at(&mesh.b.host, both(0)[0], ECHO));
    let said = mesh.b.host.run(|| greet(service, false));
    assert_eq!(said, format!("[{}]", own.ip()));
    mesh.b.logged(&format!("outbound|9000||b {service} {own}"));
    mesh.b
        .logged(&format!("InboundPassthroughCluster {own} {own} - - end"));
}
