//! Weir where Istio's agent starts Envoy, and without an agent.

use std::net::SocketAddr;
use std::process::Stdio;

use weir_conformance::{Answer, Client, Namespace, Response, Upstream, Weir, command, eventually};

/// What the agent writes.
const BOOTSTRAP: &str = include_str!("agent.json");

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn get(port: u16, path: &str) -> Response {
    Client::connect_as(at(port), "localhost").get(path)
}

/// With a server where the agent is, and without a management server.
fn with_agent(test: impl FnOnce(&Weir) + Send) {
    let mut bootstrap: serde_json::Value = serde_json::from_str(BOOTSTRAP).unwrap();
    bootstrap
        .as_object_mut()
        .unwrap()
        .remove("dynamic_resources");
    Namespace::new().run(|| {
        let _agent = Upstream::start_at(at(15020), |request| Answer::ok(&request.path));
        let weir = Weir::start_as_envoy(&bootstrap.to_string(), &[], |_| {});
        test(&weir);
    });
}

#[test]
fn what_the_agent_asks_for_is_answered() {
    with_agent(|weir| {
        // What the agent is asked for, and what of Weir others are to see.
        assert_eq!(get(15021, "/healthz/ready").text(), "/healthz/ready");
        assert_eq!(get(15021, "/other").status, 404);
        let numbers = get(15090, "/stats/prometheus");
        assert!(
            numbers.text().contains("envoy_server_live"),
            "{}",
            numbers.text()
        );
        assert_eq!(get(15090, "/quitquitquit").status, 404);
        let stats = |filter: &str| {
            let path = format!("/stats?usedonly&filter={filter}");
            weir.admin_get(&path).text()
        };
        assert_eq!(
            stats("^(server\\.state|listener_manager\\.workers_started)"),
            "listener_manager.workers_started: 1\nserver.state: 0\n"
        );
        let _open = std::net::TcpStream::connect(at(15021)).unwrap();
        let path = "/stats?usedonly&filter=downstream_cx_active$&format=json";
        eventually("the connection is counted", || {
            let json = weir.admin_get(path).text();
            json.contains("downstream_cx_active").then_some(())
        });
        for path in [
            "/ready",
            "/server_info",
            "/config_dump",
            "/clusters?format=json",
            "/certs",
            "/listeners?format=json",
        ] {
            assert_eq!(weir.admin_get(path).status, 200, "{path}");
        }
        let info = weir.admin_get("/server_info").text();
        assert!(info.contains("sidecar~10.0.0.7~reviews-1.books"), "{info}");
        assert!(info.contains("\"concurrency\": 2"), "{info}");
    });
}

#[test]
fn the_agent_has_weir_say_that_it_leaves_and_serve_on() {
    with_agent(|weir| {
        assert_eq!(weir.admin_post("/drain_listeners?skip_exit").status, 400);
        let mut kept = Client::connect_as(at(15021), "localhost");
        assert_eq!(kept.get("/healthz/ready").status, 200);
        let path = "/drain_listeners?graceful&skip_exit";
        assert_eq!(weir.admin_post(path).status, 200);
        eventually("connections are told to end", || {
            let answer = get(15021, "/healthz/ready");
            assert_eq!(answer.status, 200);
            (answer.header("connection") == Some("close")).then_some(())
        });
        assert_eq!(weir.admin_post("/healthcheck/fail").status, 200);
        assert_eq!(weir.admin_get("/ready").status, 503);
        assert_eq!(get(15021, "/healthz/ready").status, 200);
    });
}

#[test]
fn what_is_passed_over_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bootstrap.json");
    std::fs::write(&file, BOOTSTRAP).unwrap();
    let check = |arguments: &[&str]| {
        let output = command()
            .arg("envoy")
            .args(["--mode", "validate", "-c"])
            .arg(&file)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = check(&["--allow-unknown-static-fields", "-l", "error"]);
    assert_eq!(code, Some(0), "{said}");
    for warning in [
        "layered_runtime is not supported: passed over",
        "the bootstrap extension `envoy.bootstrap.internal_listener`",
        "stats_config is not supported: passed over",
        "tracing is not supported: passed over",
        "admin.profile_path is not supported: passed over",
    ] {
        assert!(said.contains(warning), "{warning}: {said}");
    }
    let (code, said) = check(&["-l", "error"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("layered_runtime is not supported"), "{said}");
    // More of it, as the agent passes it on.
    let more = r#"{"node": {"id": 7}, "staticResources": {"clusters": [{"name": "agent"}]}}"#;
    let (code, said) = check(&["--allow-unknown-static-fields", "--config-yaml", more]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("`agent`"), "{said}");
}

#[test]
fn arguments_are_those_of_envoy() {
    let run = |arguments: &[&str]| {
        let output = command().arg("envoy").args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = run(&["-c", "/nowhere", "--no-such-argument"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("--no-such-argument"), "{said}");
    let (code, said) = run(&["-c", "/nowhere", "--restart-epoch", "1"]);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = run(&["-c", "/nowhere", "--base-id", "1", "--log-format", "%v"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("--base-id has no effect"), "{said}");
    assert!(said.contains("cannot read /nowhere"), "{said}");
    // Under the name of what it stands for.
    let folder = tempfile::tempdir().unwrap();
    let envoy = folder.path().join("envoy");
    std::os::unix::fs::symlink(command().get_program(), &envoy).unwrap();
    let output = std::process::Command::new(envoy)
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn without_an_agent_a_sidecar_says_itself_whether_it_is_ready() {
    Namespace::new().run(|| {
        let mut weir = command()
            .args(["sidecar", "--discovery-address", "127.0.0.1:15010"])
            .env("INSTANCE_IP", "10.0.0.7")
            .env("POD_NAME", "reviews-1")
            .env("POD_NAMESPACE", "books")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = eventually("the sidecar answers", || {
            let connection = std::net::TcpStream::connect(at(15021)).ok()?;
            drop(connection);
            Some(get(15021, "/healthz/ready"))
        });
        let info = get(15000, "/server_info").text();
        let numbers = Client::connect_as(at(15090), "reviews.books").get("/stats/prometheus");
        weir.kill().unwrap();
        weir.wait().unwrap();
        // It waits for what the management server says.
        assert_eq!(
            (ready.status, ready.text()),
            (503, "INITIALIZING\n".to_owned())
        );
        let id = "sidecar~10.0.0.7~reviews-1.books~books.svc.cluster.local";
        assert!(info.contains(id), "{info}");
        assert_eq!(numbers.status, 200);
    });
}
