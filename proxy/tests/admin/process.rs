//! What the admin does to the process: whether it is ready, how it drains and ends.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_conformance::{Upstream, eventually};

use super::{json, start};

#[test]
fn readiness_is_what_the_admin_is_told() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    assert_eq!(weir.admin_post("/healthcheck/fail").text(), "OK\n");
    let ready = weir.admin_get("/ready");
    assert_eq!((ready.status, ready.text()), (503, "DRAINING\n".to_owned()));
    assert_eq!(weir.admin_get("/live").status, 200);
    assert_eq!(weir.metric("envoy_server_state"), 1);
    assert_eq!(json(&weir.admin_get("/server_info"))["state"], "DRAINING");
    assert_eq!(weir.connect().get("/").status, 200);
    weir.admin_post("/healthcheck/ok");
    assert_eq!(weir.admin_get("/ready").status, 200);
}

#[test]
fn the_process_is_not_ready_before_its_listeners_close() {
    let upstream = Upstream::echo();
    let delay = Duration::from_secs(4);
    let mut weir = start(&upstream, "", "drain_delay: 4s");
    let began = Instant::now();
    weir.terminate();
    eventually("it is not ready", || {
        (weir.admin_get("/ready").status == 503).then_some(())
    });
    assert!(began.elapsed() < delay);
    let answer = weir.connect().get("/");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert!(weir.wait().success());
    assert!(began.elapsed() >= delay);
}

#[test]
fn a_second_signal_does_not_wait_for_the_delay() {
    let upstream = Upstream::echo();
    let mut weir = start(&upstream, "", "drain_delay: 1h");
    weir.terminate();
    eventually("it is not ready", || {
        (weir.admin_get("/ready").status == 503).then_some(())
    });
    weir.terminate();
    weir.wait();
}

#[test]
fn the_admin_ends_the_process_which_drains() {
    let (upstream, held) = Upstream::slow();
    let mut weir = start(&upstream, "", "");
    let mut client = weir.connect();
    client.send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n");
    held.arrived();
    assert_eq!(weir.admin_post("/quitquitquit").status, 200);
    assert_eq!(weir.admin_get("/ready").status, 503);
    let address = weir.listener("edge");
    eventually("nobody accepts", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    held.release();
    assert_eq!(client.response().status, 200);
    assert!(weir.wait().success());
}

#[test]
fn the_admin_answers_before_it_ends_a_process_that_has_nothing_to_do() {
    let upstream = Upstream::echo();
    let mut weir = start(&upstream, "", "");
    assert_eq!(weir.admin_post("/quitquitquit").text(), "OK\n");
    assert!(weir.wait().success());
}

#[test]
fn listeners_are_drained_and_the_process_stays() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "");
    let mut client = weir.connect();
    assert_eq!(client.get("/").status, 200);
    let report = weir.admin_post("/drain_listeners?inboundonly");
    assert_eq!(
        (report.status, report.text()),
        (200, "closed edge\n".to_owned())
    );
    let (edge, other) = (weir.listener("edge"), weir.listener("other"));
    eventually("nobody accepts", || {
        TcpStream::connect(edge).is_err().then_some(())
    });
    assert!(TcpStream::connect(other).is_ok());
    assert_eq!(client.get("/").status, 200);
    let refused = weir.reload();
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("only a restart"),
        "{}",
        refused.text()
    );
    assert_eq!(
        weir.admin_post("/drain_listeners").text(),
        "closed edge, other\n"
    );
    eventually("nobody accepts", || {
        TcpStream::connect(other).is_err().then_some(())
    });
}

#[test]
fn listeners_that_drain_gracefully_accept_meanwhile() {
    let upstream = Upstream::echo();
    let weir = start(&upstream, "", "drain_timeout: 4s");
    let began = Instant::now();
    let mut client = weir.connect();
    assert_eq!(client.get("/").header("connection"), None);
    let report = weir
        .admin_post("/drain_listeners?graceful&inboundonly")
        .text();
    assert!(report.starts_with("draining edge"), "{report}");
    let told = || {
        let answer = weir.connect().get("/");
        assert_eq!(answer.status, 200);
        answer.header("connection") == Some("close")
    };
    eventually("connections are told to end", || told().then_some(()));
    assert!(began.elapsed() < Duration::from_secs(4));
    let edge = weir.listener("edge");
    eventually("nobody accepts", || {
        TcpStream::connect(edge).is_err().then_some(())
    });
}
