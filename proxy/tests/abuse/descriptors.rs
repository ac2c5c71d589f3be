//! More connections than the process has file descriptors for.

use std::time::Duration;

use weir_conformance::{Client, Upstream, Weir, eventually};

use super::serves;

/// A listener `edge` before `upstream`, on one worker.
fn edge(upstream: &Upstream) -> String {
    format!(
        "workers: 1\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  \
         address: 127.0.0.1:0\n  routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    )
}

/// So many connections, of which nothing is known yet.
fn idle(weir: &Weir, count: usize) -> Vec<Client> {
    (0..count).map(|_| weir.connect()).collect()
}

#[test]
fn as_many_descriptors_are_used_as_there_may_be() {
    let upstream = Upstream::echo();
    let weir = Weir::start_limited(&edge(&upstream), 64, 1024);
    let _idle = idle(&weir, 500);
    serves(&weir);
    weir.eventually_metric("envoy_listener_downstream_cx_active", 500);
    let refused = "envoy_listener_downstream_global_cx_overflow";
    assert_eq!(weir.metric(refused), 0);
}

#[test]
fn clients_leave_descriptors_for_endpoints_and_the_admin() {
    let upstream = Upstream::echo();
    let weir = Weir::start_limited(&edge(&upstream), 128, 128);
    let mut first = weir.connect();
    let mut idle = idle(&weir, 200);
    let refused = "envoy_listener_downstream_global_cx_overflow";
    eventually("some are refused", || {
        let (refused, active) = (
            weir.metric(refused),
            weir.metric("envoy_listener_downstream_cx_active"),
        );
        (refused > 0 && refused + active == 201).then_some(())
    });
    // A connection to the endpoint can be made, and the configuration be read.
    assert_eq!(first.get("/").status, 200);
    assert_eq!(weir.reload().status, 200);
    assert_eq!(weir.metric("weir_listener_accept_failures_total"), 0);
    assert!(idle.last_mut().unwrap().is_closed());
    let warnings = weir.log().matches("few file descriptors are left").count();
    assert_eq!(warnings, 1, "{}", weir.log());
    drop(idle);
    weir.eventually_metric("envoy_listener_downstream_cx_active", 1);
    serves(&weir);
}

#[test]
fn a_process_out_of_descriptors_goes_on_and_recovers() {
    let upstream = Upstream::echo();
    let weir = Weir::start(&edge(&upstream));
    let mut first = weir.connect();
    assert_eq!(first.get("/").status, 200);
    // The admin gets no new connection either.
    let mut admin = weir.connect_admin();
    let failures = |admin: &mut Client| {
        let metrics = admin.get("/metrics").text();
        let mut lines = metrics.lines();
        let line = lines.find(|l| l.starts_with("weir_listener_accept_failures_total{"));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(failures(&mut admin), 0);
    let before = weir.cpu();
    weir.limit_descriptors(8);
    let waiting = idle(&weir, 20);
    eventually("connections cannot be accepted", || {
        assert_eq!(first.get("/").status, 200);
        (failures(&mut admin) >= 10).then_some(())
    });
    let busy = weir.cpu() - before;
    assert!(busy < Duration::from_secs(2), "{busy:?} for ten tries");
    let warnings = weir.log().matches("cannot accept a connection").count();
    assert_eq!(warnings, 1, "{}", weir.log());
    // Those that wait are served once there is room.
    weir.limit_descriptors(1024);
    for mut client in waiting {
        assert_eq!(client.get("/").status, 200);
    }
}
