//! Streams of the state of the world.

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tonic::Status;
use weir_xds::{Rejection, ResourceType, Verdict};

use crate::harness::{Running, run, world, worlds};
use crate::server::ManagementServer;

const LISTENER: ResourceType = ResourceType::Listener;
const ROUTES: ResourceType = ResourceType::Routes;

/// Version, nonce, and why something was refused.
fn facts(request: &DiscoveryRequest) -> (&str, &str, Option<&str>) {
    let refusal = request.error_detail.as_ref().map(|e| e.message.as_str());
    (&request.version_info, &request.response_nonce, refusal)
}

#[test]
fn responses_are_answered_by_version_and_nonce() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(worlds(&server), |s| s.subscribe_all(LISTENER).unwrap());
        let mut stream = server.world().await;
        let first = stream.request().await;
        assert_eq!(facts(&first), ("", "", None));
        assert_eq!(first.type_url, LISTENER.url());
        assert!(first.resource_names.is_empty());
        assert_eq!(first.node.unwrap().id, "sidecar~1");

        stream.respond(world(LISTENER, "v1", "n1", &["a", "b"]));
        client.offer(Verdict::Accepted).await;
        let ack = stream.request().await;
        assert_eq!((facts(&ack), &ack.node), (("v1", "n1", None), &None));

        stream.respond(world(LISTENER, "v2", "n2", &["a", "b"]));
        let why = Rejection::new("b", "has no filter chain");
        client.offer(Verdict::Rejected(vec![why])).await;
        let told = Some("listener `b`: has no filter chain");
        assert_eq!(facts(&stream.request().await), ("v1", "n2", told));
        assert_eq!(client.held(LISTENER), ["a@v1", "b@v1"]);

        stream.respond(world(LISTENER, "v3", "n3", &["a", "b"]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(facts(&stream.request().await), ("v3", "n3", None));
        assert_eq!(client.snapshots.current().version(LISTENER), "v3");
    });
}

#[test]
fn a_listener_that_is_not_there_any_more_is_removed() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(worlds(&server), |s| s.subscribe_all(LISTENER).unwrap());
        let mut stream = server.world().await;
        stream.request().await;
        stream.respond(world(LISTENER, "v1", "n1", &["a", "b"]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        stream.respond(world(LISTENER, "v2", "n2", &["b"]));
        let offer = client.offer(Verdict::Accepted).await;
        assert_eq!(offer.changes.removed, ["a".into()]);
        stream.request().await;
        assert_eq!(client.held(LISTENER), ["b@v2"]);
    });
}

#[test]
fn every_request_has_all_names_and_no_response_removes_routes() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(worlds(&server), |s| s.subscribe(ROUTES, ["x"]).unwrap());
        let mut stream = server.world().await;
        assert_eq!(stream.request().await.resource_names, ["x"]);
        stream.respond(world(ROUTES, "v1", "n1", &["x"]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.resource_names, ["x"]);

        client.subscriptions.subscribe(ROUTES, ["y"]).unwrap();
        let more = stream.request().await;
        assert_eq!(more.resource_names, ["x", "y"]);
        assert_eq!(facts(&more), ("v1", "n1", None));
        stream.respond(world(ROUTES, "v2", "n2", &["y"]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        assert_eq!(client.held(ROUTES), ["x@v1", "y@v2"]);

        client.subscriptions.set(ROUTES, ["y"]).unwrap();
        assert_eq!(stream.request().await.resource_names, ["y"]);
        assert_eq!(client.held(ROUTES), ["y@v2"]);
        // Of what is sent beyond that, nothing is kept, and nobody is asked.
        stream.respond(world(ROUTES, "v2", "n3", &["y", "z"]));
        assert_eq!(facts(&stream.request().await), ("v2", "n3", None));
        assert_eq!(client.held(ROUTES), ["y@v2"]);
        assert!(!client.has_offer());
    });
}

#[test]
fn another_stream_goes_on_from_the_version_of_each_type() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(worlds(&server), |s| {
            s.subscribe_all(LISTENER).unwrap();
            s.subscribe(ROUTES, ["x"]).unwrap();
        });
        let mut stream = server.world().await;
        stream.respond(world(LISTENER, "v1", "n1", &["a"]));
        client.offer(Verdict::Accepted).await;
        stream.respond(world(ROUTES, "w1", "n2", &["x"]));
        client.offer(Verdict::Accepted).await;
        while stream.request().await.response_nonce != "n2" {}
        stream.fail(Status::aborted("bye"));

        let mut stream = server.world().await;
        let listeners = stream.request().await;
        assert_eq!(facts(&listeners), ("v1", "", None));
        assert_eq!(listeners.node.unwrap().id, "sidecar~1");
        assert_eq!(facts(&stream.request().await), ("w1", "", None));
        // With a version, the server would say nothing of a name that is new.
        client.subscriptions.subscribe(ROUTES, ["y"]).unwrap();
        assert_eq!(stream.request().await.resource_names, ["x", "y"]);
        stream.fail(Status::aborted("bye"));
        let mut stream = server.world().await;
        stream.request().await;
        assert_eq!(facts(&stream.request().await), ("", "", None));
        assert_eq!(client.held(ROUTES), ["x@w1"]);
    });
}
