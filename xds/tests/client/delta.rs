//! Streams of deltas.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tonic::Status;
use weir_xds::{Rejection, ResourceType, Verdict};

use crate::harness::{Running, delta, deltas, run, within};
use crate::server::ManagementServer;

const CLUSTER: ResourceType = ResourceType::Cluster;
const ENDPOINTS: ResourceType = ResourceType::Endpoints;

fn refusal(request: &DeltaDiscoveryRequest) -> Option<&str> {
    request.error_detail.as_ref().map(|e| e.message.as_str())
}

#[test]
fn an_accepted_delta_is_acknowledged_by_its_nonce() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        let first = stream.request().await;
        let node = first.node.unwrap();
        assert_eq!((&*node.id, &*node.cluster), ("sidecar~1", "shop"));
        assert_eq!(node.user_agent_name, "weir");
        assert_eq!(first.type_url, CLUSTER.url());
        assert!(first.resource_names_subscribe.is_empty());
        assert!(first.response_nonce.is_empty());
        assert!(!client.snapshots.current().is_complete(CLUSTER));

        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@1"], &[]));
        let offer = client.offer(Verdict::Accepted).await;
        assert_eq!(offer.changes.added.len(), 2);
        assert_eq!(offer.before.count(CLUSTER), 0);
        assert_eq!(offer.after.count(CLUSTER), 2);
        let ack = stream.request().await;
        assert_eq!(
            (&*ack.type_url, &*ack.response_nonce),
            (CLUSTER.url(), "n1")
        );
        assert_eq!((refusal(&ack), &ack.node), (None, &None));
        assert_eq!(client.held(CLUSTER), ["a@1", "b@1"]);
        assert!(client.snapshots.current().is_complete(CLUSTER));
        assert_eq!(client.counters.updates(CLUSTER).success, 1);
        assert!(client.counters.is_connected());
    });
}

#[test]
fn a_refused_delta_is_told_why_and_changes_nothing() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;

        stream.respond(delta(CLUSTER, "n2", &["a@2", "b@1"], &[]));
        let why = Rejection::new("a", "no type `X`");
        let offer = client.offer(Verdict::Rejected(vec![why])).await;
        assert_eq!(&*offer.changes.changed[0].name, "a");
        let nack = stream.request().await;
        assert_eq!(nack.response_nonce, "n2");
        assert_eq!(refusal(&nack), Some("cluster `a`: no type `X`"));
        assert_eq!(client.held(CLUSTER), ["a@1"]);
        assert_eq!(client.counters.updates(CLUSTER).rejected, 1);

        stream.respond(delta(CLUSTER, "n3", &["a@3"], &[]));
        client.offer(Verdict::Accepted).await;
        let ack = stream.request().await;
        assert_eq!((&*ack.response_nonce, refusal(&ack)), ("n3", None));
        assert_eq!(client.held(CLUSTER), ["a@3"]);
    });
}

#[test]
fn what_is_refused_in_part_is_told_and_the_rest_is_taken() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@1"], &[]));
        let why = Rejection::new("b", "RBAC is not supported");
        client.offer(Verdict::Partly(vec![why])).await;
        let nack = stream.request().await;
        assert_eq!(refusal(&nack), Some("cluster `b`: RBAC is not supported"));
        assert_eq!(client.held(CLUSTER), ["a@1"]);
    });
}

#[test]
fn names_are_added_and_removed_while_the_stream_is_up() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| {
            s.subscribe(ENDPOINTS, ["x"]).unwrap();
        });
        let mut stream = server.delta().await;
        assert_eq!(stream.request().await.resource_names_subscribe, ["x"]);
        stream.respond(delta(ENDPOINTS, "n1", &["x@1"], &[]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.response_nonce, "n1");

        client.subscriptions.subscribe(ENDPOINTS, ["y"]).unwrap();
        assert_eq!(client.awaited(ENDPOINTS), ["y"]);
        let more = stream.request().await;
        assert_eq!(more.resource_names_subscribe, ["y"]);
        assert!(more.initial_resource_versions.is_empty());
        // A server may say that there is no such thing.
        stream.respond(delta(ENDPOINTS, "n2", &[], &["y"]));
        assert_eq!(stream.request().await.response_nonce, "n2");
        assert!(client.snapshots.current().is_complete(ENDPOINTS));
        assert!(!client.has_offer());

        client.subscriptions.unsubscribe(ENDPOINTS, ["x"]).unwrap();
        let less = stream.request().await;
        assert_eq!(less.resource_names_unsubscribe, ["x"]);
        assert!(client.held(ENDPOINTS).is_empty());
        // The server has sent it before it knew.
        stream.respond(delta(ENDPOINTS, "n3", &["x@2"], &[]));
        assert_eq!(stream.request().await.response_nonce, "n3");
        assert!(client.held(ENDPOINTS).is_empty());
    });
}

#[test]
fn what_is_removed_is_gone_when_the_judge_agrees() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.respond(delta(CLUSTER, "n2", &[], &["a"]));
        let still = Rejection::new("a", "a route leads to it");
        let offer = client.offer(Verdict::Rejected(vec![still])).await;
        assert_eq!(offer.changes.removed, ["a".into()]);
        stream.respond(delta(CLUSTER, "n3", &[], &["b"]));
        client.offer(Verdict::Accepted).await;
        for nonce in ["n1", "n2", "n3"] {
            assert_eq!(stream.request().await.response_nonce, nonce);
        }
        assert_eq!(client.held(CLUSTER), ["a@1"]);
    });
}

#[test]
fn another_stream_goes_on_where_the_last_one_was() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| {
            s.subscribe_all(CLUSTER).unwrap();
            s.subscribe(ENDPOINTS, ["x", "y"]).unwrap();
        });
        let mut stream = server.delta().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@7"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.respond(delta(ENDPOINTS, "n2", &["x@3"], &[]));
        client.offer(Verdict::Accepted).await;
        while stream.request().await.response_nonce != "n2" {}
        stream.fail(Status::unavailable("restarting"));

        let because = client.waits_because().await.to_string();
        assert_eq!(because, "Unavailable: restarting");
        let mut stream = server.delta().await;
        let clusters = stream.request().await;
        assert_eq!(clusters.node.unwrap().id, "sidecar~1");
        let versions = [("a", "1"), ("b", "7")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(clusters.initial_resource_versions, HashMap::from(versions));
        assert!(clusters.response_nonce.is_empty());
        let endpoints = stream.request().await;
        assert_eq!(endpoints.resource_names_subscribe, ["x", "y"]);
        assert_eq!(endpoints.initial_resource_versions.len(), 1);
        assert_eq!(endpoints.node, None);
        assert_eq!(client.held(CLUSTER), ["a@1", "b@7"]);
        assert_eq!(client.counters.updates(CLUSTER).failure, 1);
    });
}

#[test]
fn types_are_asked_for_in_the_order_in_which_they_need_each_other() {
    run(async {
        let mut server = ManagementServer::start().await;
        let _client = Running::start(deltas(&server), |s| {
            for kind in ResourceType::ALL.into_iter().rev() {
                s.subscribe(kind, ["a"]).unwrap();
            }
        });
        let mut stream = server.delta().await;
        for kind in ResourceType::ALL {
            assert_eq!(stream.request().await.type_url, kind.url());
        }
    });
}

#[test]
fn what_is_asked_for_while_a_judge_thinks_is_awaited() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        let (_, tell) = client.asked().await;
        client.subscriptions.subscribe(ENDPOINTS, ["a"]).unwrap();
        tell.send(Verdict::Accepted).unwrap();
        // The answer comes first: the server may order what it sends by it.
        assert_eq!(stream.request().await.response_nonce, "n1");
        assert_eq!(stream.request().await.type_url, ENDPOINTS.url());
        assert_eq!(client.awaited(ENDPOINTS), ["a"]);
        stream.respond(delta(ENDPOINTS, "n2", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        let complete = client.snapshots.wait_for(|s| s.is_complete(ENDPOINTS));
        assert_eq!(within(complete).await.unwrap().count(ENDPOINTS), 1);
    });
}

#[test]
fn names_instead_of_all_take_another_stream() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1", "b@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        client.subscriptions.set(CLUSTER, ["b", "c"]).unwrap();
        stream.ended().await;
        let mut stream = server.delta().await;
        let first = stream.request().await;
        assert_eq!(first.resource_names_subscribe, ["b", "c"]);
        let versions = HashMap::from([("b".to_owned(), "1".to_owned())]);
        assert_eq!(first.initial_resource_versions, versions);
        assert_eq!(client.held(CLUSTER), ["b@1"]);
    });
}
