//! Servers that say what makes no sense.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use envoy_types::pb::google::protobuf::Any;
use weir_xds::{Options, Rejection, ResourceLimits, ResourceType, Verdict};

use crate::harness::{Running, any, delta, deltas, run, world, worlds};
use crate::server::ManagementServer;

const CLUSTER: ResourceType = ResourceType::Cluster;
const SECRET: ResourceType = ResourceType::Secret;

#[test]
fn types_that_nobody_has_asked_for_are_counted_and_not_answered() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        for _ in 0..20 {
            stream.respond(DeltaDiscoveryResponse {
                type_url: "type.googleapis.com/istio.x.v1.Y".to_owned(),
                nonce: "n1".to_owned(),
                ..Default::default()
            });
        }
        stream.respond(delta(SECRET, "n2", &["a@1"], &[]));
        stream.respond(delta(CLUSTER, "n3", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.response_nonce, "n3");
        assert_eq!(client.counters.unknown(), 21);
        assert!(client.held(SECRET).is_empty());
    });
}

#[test]
fn resources_that_make_no_sense_are_refused_by_name() {
    run(async {
        let mut server = ManagementServer::start().await;
        let client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        let mut other_type = delta(CLUSTER, "n1", &["a@1", "b@1"], &[]);
        other_type.resources[1].resource = Some(any(SECRET, "b", ""));
        let mut empty = delta(CLUSTER, "n2", &["a@1", "b@1"], &[]);
        empty.resources[0].resource = None;
        let twice = delta(CLUSTER, "n3", &["a@1", "a@2"], &[]);
        let both = delta(CLUSTER, "n4", &["a@1"], &["a"]);
        let cases = [
            (
                other_type,
                "cluster `b`: is a `type.googleapis.com/envoy.ext",
            ),
            (empty, "cluster `a`: has no content"),
            (twice, "cluster `a`: is there twice"),
            (both, "cluster `a`: is there, and is removed"),
        ];
        for (response, expected) in cases {
            let nonce = response.nonce.clone();
            stream.respond(response);
            let nack = stream.request().await;
            assert_eq!(nack.response_nonce, nonce);
            let told = nack.error_detail.unwrap().message;
            assert!(told.starts_with(expected), "{told}");
        }
        assert!(!client.has_offer());
        assert_eq!(client.counters.updates(CLUSTER).rejected, 4);
    });
}

#[test]
fn messages_that_cannot_be_read_are_refused_by_place() {
    run(async {
        let mut server = ManagementServer::start().await;
        let _client = Running::start(worlds(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.world().await;
        stream.request().await;
        let mut response = world(CLUSTER, "v1", "n1", &["a", "b"]);
        response.resources[1] = Any {
            type_url: CLUSTER.url().to_owned(),
            value: vec![0x0a, 0xff, 0xff, 0x03],
        };
        stream.respond(response);
        let nack = stream.request().await;
        assert!(nack.version_info.is_empty());
        let told = nack.error_detail.unwrap().message;
        assert!(
            told.starts_with("cluster: number 2 cannot be read"),
            "{told}"
        );
    });
}

#[test]
fn more_than_there_may_be_is_refused() {
    run(async {
        let mut server = ManagementServer::start().await;
        let options = Options {
            limits: ResourceLimits {
                count: 2,
                ..ResourceLimits::default()
            },
            ..deltas(&server)
        };
        let mut client = Running::start(options, |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n2", &["c@1"], &[]));
        let told = stream.request().await.error_detail.unwrap().message;
        assert_eq!(told, "cluster: there would be 3, and 2 are allowed");
        stream.respond(delta(CLUSTER, "n3", &["c@1", "d@1", "e@1"], &[]));
        let told = stream.request().await.error_detail.unwrap().message;
        assert_eq!(told, "cluster: there are 3, and 2 are allowed");
        assert_eq!(client.held(CLUSTER), ["a@1", "b@1"]);
    });
}

#[test]
fn a_message_that_is_too_large_ends_the_stream_and_nothing_else() {
    run(async {
        let mut server = ManagementServer::start().await;
        let options = Options {
            message_bytes: 200,
            ..deltas(&server)
        };
        let mut client = Running::start(options, |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        let long = "b".repeat(120);
        stream.respond(delta(CLUSTER, "n2", &[&format!("{long}@1")], &[]));
        let because = client.waits_because().await.to_string();
        assert!(because.contains("too large"), "{because}");
        let again = server.delta().await.request().await;
        assert_eq!(again.initial_resource_versions.len(), 1);
        assert_eq!(client.held(CLUSTER), ["a@1"]);
    });
}

#[test]
fn what_is_sent_again_after_a_refusal_is_refused_again_and_keeps_nobody_busy() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| {
            s.subscribe_all(CLUSTER).unwrap();
            s.subscribe(SECRET, ["s"]).unwrap();
        });
        let mut stream = server.delta().await;
        stream.request().await;
        stream.request().await;
        let refused = || Verdict::Rejected(vec![Rejection::new("a", "no")]);
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        client.offer(refused()).await;
        assert_eq!(stream.request().await.response_nonce, "n1");
        stream.respond(delta(CLUSTER, "n2", &["a@1"], &[]));
        client.offer(refused()).await;
        // The second refusal waits; other types do not wait for it.
        stream.respond(delta(SECRET, "n3", &["s@1"], &[]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.response_nonce, "n3");
        assert_eq!(stream.request().await.response_nonce, "n2");
    });
}
