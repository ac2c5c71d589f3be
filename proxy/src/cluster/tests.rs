use super::*;
use crate::discovery::EndpointTable;

/// A worker's part of the cluster that is described by `keys`.
fn cluster(keys: &str) -> Cluster {
    cluster_after(None, keys)
}

/// The same, after a reload.
fn cluster_after(before: Option<&Cluster>, keys: &str) -> Cluster {
    let text = format!(
        "listeners: [{{ name: e, address: 127.0.0.1:0 }}]\nclusters: [{{ name: c, {keys} }}]"
    );
    let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    let before = before.map(|before| &*before.spec);
    let spec = Arc::new(ClusterSpec::new(
        &config.clusters[0],
        ClusterTls::default(),
        before,
        &EndpointTable::default(),
    ));
    Cluster::new(&spec, 1, ClusterMetrics::new("c"))
}

fn ports(cluster: &Cluster, picks: usize) -> Vec<u16> {
    let pick = |_| cluster.pick(&PickContext::default());
    let picked = (0..picks).filter_map(pick);
    picked
        .filter_map(|endpoint| endpoint.address.port())
        .collect()
}

fn count(ports: &[u16], wanted: u16) -> usize {
    ports.iter().filter(|port| **port == wanted).count()
}

/// Marks the endpoint at this port.
fn mark(cluster: &Cluster, port: u16, flag: member::Flag, value: bool) {
    let members = &cluster.spec.members;
    for member in &members.current().members {
        if member.about.address.port() == Some(port) {
            member.set(flag, value);
        }
    }
    members.publish();
}

const EJECTED: member::Flag = member::Flag::FAILED_OUTLIER_CHECK;

#[test]
fn endpoints_are_taken_in_turn() {
    let cluster = cluster("endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]");
    assert_eq!(ports(&cluster, 4), [2, 3, 1, 2]);
}

#[test]
fn weights_count_with_each_policy_that_knows_them() {
    for policy in ["round_robin", "least_request"] {
        let cluster = cluster(&format!(
            "endpoints: [{{ address: 127.0.0.1:1, weight: 3 }}, 127.0.0.1:2], lb_policy: {policy}"
        ));
        let ports = ports(&cluster, 400);
        assert_eq!(count(&ports, 1), 300, "{policy}");
    }
}

#[test]
fn the_one_with_fewer_requests_is_preferred() {
    let cluster = cluster("endpoints: [127.0.0.1:1, 127.0.0.1:2], lb_policy: least_request");
    let busy = cluster.pick(&PickContext::default()).unwrap();
    let _requests: Vec<_> = (0..10).map(|_| cluster.request(&busy)).collect();
    let ports = ports(&cluster, 400);
    // It is drawn alone once in four times.
    let picked = count(&ports, busy.address.port().unwrap());
    assert!((50..150).contains(&picked), "{picked}");
}

#[test]
fn an_endpoint_that_is_not_healthy_is_left_out_unless_too_few_are() {
    let cluster = cluster("endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]");
    mark(&cluster, 2, EJECTED, true);
    assert_eq!(count(&ports(&cluster, 30), 2), 0);
    mark(&cluster, 3, EJECTED, true);
    // A third is less than half.
    let all = ports(&cluster, 30);
    assert_eq!(
        [count(&all, 1), count(&all, 2), count(&all, 3)],
        [10, 10, 10]
    );
    mark(&cluster, 2, EJECTED, false);
    assert_eq!(count(&ports(&cluster, 30), 3), 0);
}

#[test]
fn the_next_priority_takes_what_the_first_cannot() {
    let cluster = cluster(
        "endpoints: [127.0.0.1:1, 127.0.0.1:2, { address: 127.0.0.1:3, priority: 1 }, \
         { address: 127.0.0.1:4, priority: 1 }]",
    );
    let all = ports(&cluster, 100);
    assert_eq!(count(&all, 3) + count(&all, 4), 0);
    mark(&cluster, 1, EJECTED, true);
    let all = ports(&cluster, 2_000);
    // Half of them, times 1.4, is 70 of 100.
    let first = count(&all, 2);
    assert!((1_250..1_550).contains(&first), "{first}");
    mark(&cluster, 2, EJECTED, true);
    let all = ports(&cluster, 100);
    assert_eq!(count(&all, 3) + count(&all, 4), 100);
    mark(&cluster, 1, EJECTED, false);
    mark(&cluster, 2, EJECTED, false);
    let all = ports(&cluster, 100);
    assert_eq!(count(&all, 1) + count(&all, 2), 100);
}

#[test]
fn what_was_tried_is_passed_over_as_long_as_there_is_something_else() {
    for policy in [
        "round_robin",
        "random",
        "least_request",
        "ring_hash",
        "maglev",
    ] {
        let cluster = cluster(&format!(
            "endpoints: [127.0.0.1:1, 127.0.0.1:2], lb_policy: {policy}"
        ));
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port)).into();
        let other = |excluded: &[_]| {
            let context = PickContext {
                hash: None,
                excluded,
                ..PickContext::default()
            };
            cluster.pick(&context).unwrap().address.port().unwrap()
        };
        let others = (0..200).filter(|_| other(&[address(1)]) == 2);
        // Chance may have the same one again, but not often.
        assert!(others.count() > 100, "{policy}");
        assert!(other(&[address(1), address(2)]) > 0, "{policy}");
    }
}

#[test]
fn a_hash_finds_its_endpoint_again() {
    for policy in ["ring_hash", "maglev"] {
        let cluster = cluster(&format!(
            "endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3], lb_policy: {policy}"
        ));
        let find = |n: u32| {
            let context = PickContext {
                hash: Some(hash(&n.to_be_bytes())),
                ..PickContext::default()
            };
            cluster.pick(&context).unwrap().address.port().unwrap()
        };
        let before: Vec<_> = (0..200).map(find).collect();
        assert_eq!(before, (0..200).map(find).collect::<Vec<_>>());
        mark(&cluster, 2, EJECTED, true);
        let now: Vec<_> = (0..200).map(find).collect();
        assert_eq!(count(&now, 2), 0, "{policy}");
        let stayed = before.iter().zip(&now).filter(|(was, is)| was == is);
        let others = before.len() - count(&before, 2);
        assert!(stayed.count() * 4 > others * 3, "{policy}");
        mark(&cluster, 2, EJECTED, false);
        assert_eq!(before, (0..200).map(find).collect::<Vec<_>>());
    }
}

const CHECK: &str = "health_checks: [{ tcp: {}, timeout: 1s, interval: 1s, \
                     unhealthy_threshold: 1, healthy_threshold: 1 }]";

/// The flags of each endpoint.
fn flags(cluster: &Cluster) -> Vec<String> {
    let members = &cluster.spec.members.current().members;
    members.iter().map(|member| member.flags()).collect()
}

#[test]
fn with_other_tls_endpoints_are_as_healthy_as_they_were() {
    let keys = |ca: &str, more: &str| {
        let endpoints = "endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]";
        format!("{endpoints}, {CHECK}, tls: {{ ca: {ca} }}{more}")
    };
    let before = cluster(&keys("a.pem", ""));
    for port in 1..=2 {
        mark(&before, port, member::Flag::PENDING_ACTIVE_HC, false);
        mark(&before, port, member::Flag::FAILED_ACTIVE_HC, false);
    }
    mark(&before, 2, EJECTED, true);
    let expected = [
        "healthy",
        "/failed_outlier_check",
        "/failed_active_hc/pending_active_hc",
    ];
    assert_eq!(flags(&before), expected);
    let after = cluster_after(Some(&before), &keys("b.pem", ""));
    assert_eq!(flags(&after), expected);
    // Another cluster begins anew.
    let other = cluster_after(Some(&before), &keys("a.pem", ", idle_timeout: 1s"));
    assert_eq!(flags(&other), [expected[2]; 3]);
}

#[test]
fn a_logical_endpoint_is_as_healthy_wherever_it_is() {
    let cluster = cluster(&format!(
        "endpoints: ['web.example:80'], type: logical_dns, {CHECK}"
    ));
    let found = |address: &str| {
        let host = Some("web.example".into());
        let endpoint = &cluster.spec.config.endpoints[0];
        let address = weir_config::Address::of_written(address).unwrap();
        let found = member::Description::of(endpoint, address, host);
        cluster.spec.members.replace([found], true);
    };
    found("127.0.0.1:80");
    mark(&cluster, 80, member::Flag::PENDING_ACTIVE_HC, false);
    mark(&cluster, 80, member::Flag::FAILED_ACTIVE_HC, false);
    found("127.0.0.2:80");
    assert_eq!(flags(&cluster), ["healthy"]);
    let members = &cluster.spec.members.current().members;
    assert_eq!(members[0].about.address.to_string(), "127.0.0.2:80");
}
