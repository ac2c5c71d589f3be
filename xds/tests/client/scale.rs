//! As much as a large mesh has.

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use weir_xds::{ResourceType, Verdict};

use crate::harness::{Running, any, delta, deltas, run, world, worlds};
use crate::server::ManagementServer;

const ENDPOINTS: ResourceType = ResourceType::Endpoints;
const ASSIGNMENTS: usize = 5_000;

fn names() -> impl Iterator<Item = String> {
    (0..ASSIGNMENTS).map(|number| format!("outbound|80||service-{number}.shop.svc.cluster.local"))
}

/// More bytes than a gRPC message has by default.
#[test]
fn all_endpoints_of_a_large_mesh_come_in_one_message() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(worlds(&server), |s| {
            s.subscribe(ENDPOINTS, names()).unwrap();
        });
        let mut stream = server.world().await;
        assert_eq!(stream.request().await.resource_names.len(), ASSIGNMENTS);
        let resource = |name: String| {
            let mut any = any(ENDPOINTS, &name, "");
            // Four endpoints.
            any.value.extend([0x7a, 0x80, 0x08]);
            any.value.extend([b'e'; 1024]);
            any
        };
        stream.respond(DiscoveryResponse {
            resources: names().map(resource).collect(),
            ..world(ENDPOINTS, "v1", "n1", &[])
        });
        let offer = client.offer(Verdict::Accepted).await;
        assert_eq!(offer.changes.added.len(), ASSIGNMENTS);
        assert_eq!(stream.request().await.version_info, "v1");
        assert!(client.snapshots.current().is_complete(ENDPOINTS));
    });
}

#[test]
fn one_of_many_endpoints_is_one_change() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| {
            s.subscribe(ENDPOINTS, names()).unwrap();
        });
        let mut stream = server.delta().await;
        stream.request().await;
        let first: Vec<_> = names().map(|name| format!("{name}@1")).collect();
        let first: Vec<_> = first.iter().map(String::as_str).collect();
        stream.respond(delta(ENDPOINTS, "n1", &first, &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        let name = names().nth(7).unwrap();
        stream.respond(delta(ENDPOINTS, "n2", &[&format!("{name}@2")], &[]));
        let offer = client.offer(Verdict::Accepted).await;
        assert_eq!(*offer.changes.changed[0].name, name);
        assert_eq!(
            offer.after.changes_since(&offer.before, ENDPOINTS),
            offer.changes
        );
        assert_eq!(stream.request().await.response_nonce, "n2");
    });
}
