//! Resources come, change, go, and are refused.

use serde_json::json;
use weir_conformance::{Client, ControlPlane, Upstream, eventually};

use crate::resources::{cluster, endpoints, gateway, listener, routes};
use crate::{connect, weir, weir_with};

#[test]
fn what_a_server_sends_is_served() {
    for api_type in ["DELTA_GRPC", "GRPC"] {
        let upstream = Upstream::echo();
        let server = ControlPlane::start(&gateway(upstream.address, &[]));
        let weir = weir_with(&server, api_type, &json!({}));
        let mut client = connect(&weir, "edge");
        assert!(client.get("/a").text().starts_with("GET /a\n"));
        eventually("ready", || {
            (weir.admin_get("/ready").status == 200).then_some(())
        });
        for kind in [
            "Cluster",
            "ClusterLoadAssignment",
            "Listener",
            "RouteConfiguration",
        ] {
            server.answer("ack", kind, 1);
        }
        let stats = weir.admin_get("/stats").text();
        for stat in [
            "cluster_manager.cds.update_success: 1",
            "listener_manager.lds.update_success: 1",
            "listener_manager.lds.update_rejected: 0",
            "control_plane.connected_state: 1",
            "server.state: 0",
        ] {
            assert!(stats.lines().any(|line| line == stat), "{stat}\n{stats}");
        }
        let dump = weir.admin_get("/config_dump").text();
        assert!(dump.contains("\"edge\""), "{dump}");
    }
}

#[test]
fn endpoints_change_without_another_configuration() {
    let (old, new) = (Upstream::echo(), Upstream::echo());
    let mut server = ControlPlane::start(&gateway(old.address, &[]));
    let weir = weir(&server);
    let mut client = connect(&weir, "edge");
    client.get("/old");
    let generation = weir.metric("weir_generation");
    server.update(&json!({ "endpoints": [endpoints("web", &[new.address])] }));
    eventually("requests go to the new endpoint", || {
        assert_eq!(client.get("/new").status, 200);
        (!new.requests().is_empty()).then_some(())
    });
    assert_eq!(weir.metric("weir_generation"), generation);
    server.update(&json!({ "endpoints": [endpoints("web", &[])] }));
    eventually("there is no endpoint", || {
        (client.get("/").status == 503).then_some(())
    });
    // Those that are to have no requests are none.
    let mut drained = endpoints("web", &[old.address, new.address]);
    drained["endpoints"][0]["lb_endpoints"][0]["health_status"] = "DRAINING".into();
    server.update(&json!({ "endpoints": [drained] }));
    eventually("there is one again", || {
        (client.get("/").status == 200).then_some(())
    });
    let before = old.requests().len();
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(old.requests().len(), before);
}

#[test]
fn a_route_may_lead_to_a_cluster_that_is_yet_to_come() {
    let upstream = Upstream::echo();
    let mut resources = gateway(upstream.address, &[]);
    resources["routes"] = json!([routes("routes", "later")]);
    let mut server = ControlPlane::start(&resources);
    let weir = weir(&server);
    let mut client = connect(&weir, "edge");
    assert_eq!(client.get("/").status, 503);
    server.update(&json!({
        "clusters": [cluster("later")],
        "endpoints": [endpoints("later", &[upstream.address])],
    }));
    eventually("the cluster is there", || {
        (client.get("/").status == 200).then_some(())
    });
    server.remove(&json!({ "clusters": ["later"], "endpoints": ["later"] }));
    eventually("the cluster has gone", || {
        (client.get("/").status == 503).then_some(())
    });
}

#[test]
fn one_resource_that_is_refused_leaves_the_others() {
    let upstream = Upstream::echo();
    let mut server = ControlPlane::start(&gateway(upstream.address, &[]));
    let weir = weir(&server);
    let mut client = connect(&weir, "edge");
    let lua = json!({
        "name": "script",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua" },
    });
    server.update(&json!({ "listeners": [
        listener("edge", "routes", &[lua]),
        listener("other", "routes", &[]),
    ] }));
    let reason = server.nack("Listener", 1);
    assert!(reason.starts_with("listener `edge`: "), "{reason}");
    assert!(reason.contains("the HTTP filter `script`"), "{reason}");
    assert!(!reason.contains("`other`"), "{reason}");
    assert_eq!(connect(&weir, "other").get("/").status, 200);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(connect(&weir, "edge").get("/").status, 200);
    // Two at one address cannot both be.
    let mut taken = listener("taken", "routes", &[]);
    let address = weir.current_listener("edge").unwrap();
    taken["address"]["socket_address"]["port_value"] = address.port().into();
    server.update(&json!({ "listeners": [taken, listener("third", "routes", &[])] }));
    let reason = server.nack("Listener", 2);
    assert!(reason.contains("listener `taken`: "), "{reason}");
    assert_eq!(connect(&weir, "third").get("/").status, 200);
    assert_eq!(connect(&weir, "edge").get("/").status, 200);
}

#[test]
fn a_listener_that_is_gone_is_closed() {
    let upstream = Upstream::echo();
    let mut resources = gateway(upstream.address, &[]);
    let other = listener("other", "routes", &[]);
    resources["listeners"].as_array_mut().unwrap().push(other);
    let mut server = ControlPlane::start(&resources);
    let weir = weir(&server);
    connect(&weir, "other").get("/");
    server.remove(&json!({ "listeners": ["other"] }));
    eventually("the listener has gone", || {
        weir.current_listener("other").is_none().then_some(())
    });
    assert_eq!(connect(&weir, "edge").get("/").status, 200);
}

#[test]
fn without_a_server_everything_goes_on() {
    let upstream = Upstream::echo();
    let resources = gateway(upstream.address, &[]);
    let server = ControlPlane::start(&resources);
    let weir = weir(&server);
    let mut client = connect(&weir, "edge");
    server.answer("ack", "RouteConfiguration", 1);
    let address = server.address.clone();
    drop(server);
    weir.eventually_metric("envoy_control_plane_connected_state", 0);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(connect(&weir, "edge").get("/").status, 200);
    // The address is free, unless another process has taken it by now.
    let Some(mut server) = ControlPlane::start_at(&address, &[]) else {
        return;
    };
    let mut changed = resources.clone();
    changed["routes"][0]["virtual_hosts"][0]["routes"][0] = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "new" } },
    });
    server.set(&changed);
    eventually("the new server's routes are served", || {
        (client.get("/").text() == "new").then_some(())
    });
    // It was told what is there already.
    let events = server.events();
    let requests = events.iter().filter(|event| event["event"] == "request");
    let known = requests.filter(|event| event["initial_versions"].as_u64() > Some(0));
    assert!(known.count() >= 4, "{events:#?}");
}

#[test]
fn what_does_not_come_is_not_waited_for_without_end() {
    let upstream = Upstream::echo();
    let mut resources = gateway(upstream.address, &[]);
    resources["routes"] = json!([]);
    let mut server = ControlPlane::start(&resources);
    let source = json!({
        "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.500s",
    });
    let more = json!({ "dynamic_resources": { "lds_config": source, "cds_config": source } });
    let weir = weir_with(&server, "GRPC", &more);
    let ready = || (weir.admin_get("/ready").status == 200).then_some(());
    eventually("ready", ready);
    let mut client = connect(&weir, "edge");
    assert_eq!(client.get("/").status, 404);
    server.update(&json!({ "routes": [routes("routes", "web")] }));
    eventually("the routes are there", || {
        (client.get("/").status == 200).then_some(())
    });
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let upstream = Upstream::echo();
    let first = ControlPlane::start(&json!({}));
    let address = first.address.clone();
    drop(first);
    let bootstrap = weir_conformance::xds_bootstrap(&address, "DELTA_GRPC", &json!({}));
    let weir = weir_conformance::Weir::start_envoy(&bootstrap);
    assert_eq!(weir.admin_get("/ready").status, 503);
    let Some(mut server) = ControlPlane::start_at(&address, &[]) else {
        return;
    };
    server.set(&gateway(upstream.address, &[]));
    let address = eventually("edge", || weir.current_listener("edge"));
    assert_eq!(Client::connect(address).get("/").status, 200);
}

#[test]
fn among_many_only_those_are_refused_that_cannot_be_served() {
    let upstream = Upstream::echo();
    let mut resources = gateway(upstream.address, &[]);
    let listeners = resources["listeners"].as_array_mut().unwrap();
    for number in 0..40 {
        listeners.push(listener(&format!("l{number}"), "routes", &[]));
    }
    // Their addresses are somebody else's.
    let taken = [7, 30].map(|number: usize| {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        listeners[number + 1]["address"]["socket_address"]["port_value"] = port.into();
        taken
    });
    let server = ControlPlane::start(&resources);
    let weir = weir(&server);
    for name in ["edge", "l0", "l39"] {
        assert_eq!(connect(&weir, name).get("/").status, 200);
    }
    eventually("all others are served", || {
        let served = (0..40).filter(|n| weir.current_listener(&format!("l{n}")).is_some());
        (served.count() == 38).then_some(())
    });
    for number in [7, 30] {
        assert!(weir.current_listener(&format!("l{number}")).is_none());
    }
    drop(taken);
}
