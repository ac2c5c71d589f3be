//! Endpoints that fail under load are ejected, and come back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use weir_conformance::server::{Failure, Server, endpoints};
use weir_conformance::{Client, Weir, eventually};

use super::{bodies, config, count};

/// Clients that send one request after the other.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

const CLIENTS: usize = 4;

/// Requests that an ejection costs at most: five in a row, and those that are sent
/// until the thread that ejects has had its turn on a busy machine. Without ejection,
/// it would be a third of thousands in a second.
const FEW: usize = 100;

impl Load {
    fn start(weir: &Weir) -> Self {
        let (stop, sent, failed) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self {
            stop,
            sent,
            failed,
            clients: Vec::new(),
        };
        for _ in 0..CLIENTS {
            let address = weir.listener("edge");
            let stop = Arc::clone(&load.stop);
            let (sent, failed) = (Arc::clone(&load.sent), Arc::clone(&load.failed));
            load.clients.push(thread::spawn(move || {
                let mut client = Client::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    let status = client.get("/").status;
                    sent.fetch_add(1, Ordering::SeqCst);
                    if status != 200 {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }));
        }
        load
    }

    fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    /// Waits for so many more requests.
    fn more(&self, requests: usize) {
        let wanted = self.sent.load(Ordering::SeqCst) + requests;
        eventually("requests are answered", || {
            (self.sent.load(Ordering::SeqCst) >= wanted).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

const DETECTION: &str = "outlier_detection: { consecutive_5xx: 5, interval: 100ms, \
                         base_ejection_time: 500ms, max_ejection_percent: 50 }";

fn three() -> Vec<Server> {
    ["a", "b", "c"].map(Server::start).into()
}

/// One of three fails in this way under load, and recovers.
fn is_ejected_and_comes_back(failure: Failure) {
    let mut servers = three();
    let keys = format!(
        "  endpoints: {}\n  connect_timeout: 2s\n  {DETECTION}",
        endpoints(&servers)
    );
    let weir = Weir::start(&config(2, ", timeout: 2s", &keys));
    let load = Load::start(&weir);
    load.more(200);
    assert_eq!(load.failed(), 0);

    servers[1].fail(failure);
    weir.eventually_metric("envoy_cluster_outlier_detection_ejections_active", 1);
    let ejections = || {
        let name = "envoy_cluster_outlier_detection_ejections_enforced_total";
        usize::try_from(weir.metric(name)).unwrap()
    };
    // Each time it is tried again, it costs as much.
    let first = load.failed();
    let most = ejections() * FEW;
    assert!(first <= most, "{first} failed");
    eventually("it is ejected again", || (ejections() >= 3).then_some(()));
    let ejections = ejections();
    let failed = load.failed();
    assert!(failed <= (ejections + 1) * FEW, "{failed} failed");
    assert!(weir.log().contains("consecutive_5xx"), "{}", weir.log());

    servers[1].recover();
    weir.eventually_metric("envoy_cluster_outlier_detection_ejections_active", 0);
    let before = servers[1].requests();
    eventually("it gets requests again", || {
        (servers[1].requests() > before + 20).then_some(())
    });
    let settled = load.failed();
    load.more(300);
    assert_eq!(load.failed(), settled);
    load.end();
}

/// With retries, nobody notices that one of three fails under load, nor that it comes
/// back.
fn costs_no_request(failure: Failure) {
    let mut servers = three();
    let keys = format!(
        "  endpoints: {}\n  connect_timeout: 2s\n  {DETECTION}\n  \
         circuit_breakers: {{ max_retries: 100 }}\n  \
         health_checks: [{{ interval: 200ms, timeout: 2s, no_traffic_interval: 200ms, unhealthy_threshold: 2, \
         healthy_threshold: 1, http: {{ path: /healthz }} }}]",
        endpoints(&servers)
    );
    let retry = ", timeout: 20s, retry_policy: { retry_on: '5xx,reset,connect-failure', \
                 num_retries: 3, per_try_timeout: 2s }";
    let weir = Weir::start(&config(2, retry, &keys));
    let healthy = "envoy_cluster_membership_healthy";
    weir.eventually_metric(healthy, 3);
    let load = Load::start(&weir);
    load.more(100);
    servers[1].fail(failure);
    weir.eventually_metric(healthy, 2);
    load.more(100);
    assert!(weir.metric("envoy_cluster_upstream_rq_retry") > 0);
    servers[1].recover();
    let before = servers[1].requests();
    eventually("it gets requests again", || {
        (servers[1].requests() > before + 20).then_some(())
    });
    weir.eventually_metric(healthy, 3);
    assert_eq!(load.failed(), 0);
    load.end();
}

#[test]
fn a_killed_endpoint_costs_no_request_that_may_be_retried() {
    costs_no_request(Failure::Killed);
}

#[test]
fn a_stalled_endpoint_costs_no_request_that_may_be_retried() {
    costs_no_request(Failure::Stalled);
}

#[test]
fn a_black_holed_endpoint_costs_no_request_that_may_be_retried() {
    costs_no_request(Failure::BlackHoled);
}

#[test]
fn an_endpoint_that_is_killed_is_ejected_and_comes_back() {
    is_ejected_and_comes_back(Failure::Killed);
}

#[test]
fn an_endpoint_that_stalls_is_ejected_and_comes_back() {
    is_ejected_and_comes_back(Failure::Stalled);
}

#[test]
fn an_endpoint_that_is_black_holed_is_ejected_and_comes_back() {
    is_ejected_and_comes_back(Failure::BlackHoled);
}

#[test]
fn no_more_are_ejected_than_may_be() {
    let servers = three();
    let keys = format!("  endpoints: {}\n  {DETECTION}", endpoints(&servers));
    let weir = Weir::start(&config(1, "", &keys));
    servers[0].answer(500);
    servers[1].answer(500);
    eventually("an ejection overflows", || {
        weir.connect().get("/");
        let name = "envoy_cluster_outlier_detection_ejections_overflow";
        (weir.metric(name) > 0).then_some(())
    });
    let name = "envoy_cluster_outlier_detection_ejections_active";
    assert!(weir.metric(name) <= 1);
}

#[test]
fn the_default_ejects_none_of_three_unless_one_always_may_be() {
    let servers = three();
    for (more, ejected) in [("", 0), ("always_eject_one_host: true, ", 1)] {
        let keys = format!(
            "  endpoints: {}\n  outlier_detection: {{ {more}interval: 60s }}",
            endpoints(&servers)
        );
        servers[0].answer(503);
        let weir = Weir::start(&config(1, "", &keys));
        let name = "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx";
        eventually("it is noticed", || {
            weir.connect().get("/");
            (weir.metric(name) > 0).then_some(())
        });
        let name = "envoy_cluster_outlier_detection_ejections_active";
        assert_eq!(weir.metric(name), ejected);
    }
}

#[test]
fn a_low_success_rate_is_ejected_after_an_interval() {
    let servers: Vec<_> = (0..5).map(|n| Server::start(&n.to_string())).collect();
    servers[3].answer(500);
    let keys = format!(
        "  endpoints: {}\n  outlier_detection: {{ interval: 200ms, success_rate_request_volume: 10, \
         max_ejection_percent: 20, enforcing_consecutive_5xx: 0 }}",
        endpoints(&servers)
    );
    let weir = Weir::start(&config(2, "", &keys));
    let load = Load::start(&weir);
    let name = "envoy_cluster_outlier_detection_ejections_enforced_success_rate";
    weir.eventually_metric(name, 1);
    load.end();
    let counts = bodies(&weir, 20);
    assert_eq!(count(&counts, "500"), 0, "{counts:?}");
}

#[test]
fn an_ejection_outlives_a_reload_that_leaves_the_cluster() {
    let servers = three();
    let keys = |timeout: &str| {
        format!(
            "  endpoints: {}\n  idle_timeout: {timeout}\n  outlier_detection: \
             {{ max_ejection_percent: 50, base_ejection_time: 60s }}",
            endpoints(&servers)
        )
    };
    servers[2].answer(500);
    let weir = Weir::start(&config(2, "", &keys("10s")));
    let ejected = || weir.metric("envoy_cluster_outlier_detection_ejections_active");
    eventually("it is ejected", || {
        weir.connect().get("/");
        (ejected() == 1).then_some(())
    });
    weir.reload_with(&config(2, ", timeout: 1s", &keys("10s")));
    assert_eq!(ejected(), 1);
    let counts = bodies(&weir, 30);
    assert_eq!(count(&counts, "500"), 0, "{counts:?}");
    // Another cluster begins anew.
    weir.reload_with(&config(2, "", &keys("20s")));
    assert_eq!(ejected(), 0);
}

#[test]
fn what_does_not_come_from_the_endpoint_can_count_apart() {
    let mut servers = three();
    let keys = format!(
        "  endpoints: {}\n  outlier_detection: {{ split_external_local_origin_errors: true, \
         consecutive_local_origin_failure: 2, consecutive_5xx: 3, max_ejection_percent: 70, \
         base_ejection_time: 60s }}",
        endpoints(&servers)
    );
    let weir = Weir::start(&config(2, "", &keys));
    servers[0].fail(Failure::Killed);
    servers[1].answer(500);
    let enforced = |kind: &str| {
        let start = "envoy_cluster_outlier_detection_ejections_enforced";
        weir.metric(&format!("{start}_{kind}"))
    };
    eventually("both are ejected", || {
        weir.connect().get("/");
        (enforced("total") == 2).then_some(())
    });
    assert_eq!(enforced("consecutive_local_origin_failure"), 1);
    assert_eq!(enforced("consecutive_5xx"), 1);
}
