//! Calls from one service to another, through both sidecars.

use std::io::{Read, Write};

use weir_conformance::h2 as wire;
use weir_conformance::{Answer, Client, Host, SIDECAR, Upstream, program};

use super::mesh::{
    BANNER, ECHO, GRPC, HTTP, Mesh, at, both, connect, echo_server, greet, passthrough,
};
use super::tonic_server::GrpcServer;

/// An application by HTTP on every address of the machine that this runs on.
fn application() -> Upstream {
    Upstream::start_at(("::", HTTP), |request| {
        Answer::ok(format!("{} here", request.path))
    })
}

#[test]
fn http_passes_the_sidecars_of_both_services() {
    let mesh = Mesh::start("");
    let application = mesh.b.host.run(application);
    for (number, (to, host)) in both(HTTP).into_iter().zip(["b", "b6"]).enumerate() {
        mesh.a.host.run(|| {
            let mut client = Client::connect_as(to, host);
            for path in ["/one", "/two"] {
                assert_eq!(client.get(path).text(), format!("{path} here"));
            }
        });
        // What each of them has seen: the service, and the endpoint.
        let endpoint = at(&mesh.b.host, to, HTTP);
        mesh.a.logged(&format!(
            "outbound|8080||{host} {to} {endpoint} HTTP/1.1 - end"
        ));
        mesh.b.logged(&format!(
            "InboundPassthroughCluster {endpoint} {endpoint} HTTP/1.1 - end"
        ));
        // What a sidecar sends is not sent to it once more.
        assert_eq!(mesh.a.captured(15001), 1 + number as u64);
        assert_eq!(mesh.b.captured(15006), 1 + number as u64);
        assert_eq!(mesh.b.captured(15001), 0);
    }
    assert_eq!(application.requests().len(), 4);
}

#[test]
fn grpc_passes_as_http2_without_tls() {
    let mesh = Mesh::start("");
    let tonic = mesh
        .b
        .host
        .run(|| GrpcServer::start(("::", GRPC), "/shop/Stream", |message| Ok(message.to_vec())));
    for to in both(GRPC) {
        mesh.a.host.run(|| {
            wire::run(async {
                let client = wire::connect(to).await;
                let headers = [("content-type", "application/grpc"), ("te", "trailers")];
                let mut ready = client.ready().await.unwrap();
                let request = wire::request("POST", "/shop/Order", &headers);
                let (response, mut stream) = ready.send_request(request, false).unwrap();
                let message = b"\0\0\0\0\x03tea"[..].into();
                wire::send_all(&mut stream, message, true).await.unwrap();
                let answer = wire::read(response).await.unwrap();
                assert_eq!(answer.body, b"\0\0\0\0\x03tea");
                let trailers = answer.trailers.unwrap();
                assert_eq!(trailers["grpc-status"], "0");
            });
        });
        mesh.b.logged("HTTP/2 - end");
    }
    assert_eq!(tonic.count("/shop/Order"), 2);
    assert_eq!(tonic.upstream.requests(), 2);
}

#[test]
fn bytes_pass_whoever_speaks_first() {
    let mesh = Mesh::start("");
    mesh.b.host.run(|| {
        echo_server(ECHO, false);
        echo_server(BANNER, true);
    });
    for to in both(ECHO) {
        // The application is connected to by its sidecar.
        let said = mesh.a.host.run(|| greet(to, false));
        assert_eq!(said, "[127.0.0.6]", "{to}");
        mesh.a.logged(&format!("outbound|9000||b {to} "));
    }
    for to in both(BANNER).map(|like| at(&mesh.b.host, like, BANNER)) {
        let said = mesh.a.host.run(|| greet(to, true));
        assert_eq!(said, format!("[{}]", passthrough(to.ip())), "{to}");
        mesh.a
            .logged(&format!("PassthroughCluster {to} {to} - - end"));
        mesh.b
            .logged(&format!("InboundPassthroughCluster {to} {to} - - end"));
    }
}

#[test]
fn what_is_for_others_goes_there() {
    let mesh = Mesh::start("");
    mesh.outside.run(|| echo_server(ECHO, false));
    let _application = mesh.outside.run(application);
    for like in both(0) {
        let to = at(&mesh.outside, like, ECHO);
        let said = mesh.a.host.run(|| greet(to, false));
        let a = mesh.a.host.ip_like(to.ip());
        assert_eq!(said, format!("[{a}]"));
        mesh.a
            .logged(&format!("PassthroughCluster {to} {to} - - end"));
        let to = at(&mesh.outside, like, HTTP);
        let answer = mesh
            .a
            .host
            .run(|| Client::connect_as(to, "elsewhere.example").get("/"));
        assert_eq!(answer.text(), "/ here");
        mesh.a
            .logged(&format!("PassthroughCluster {to} {to} HTTP/1.1 - end"));
    }
}

#[test]
fn a_service_reaches_itself_by_its_name_and_by_its_address() {
    let mesh = Mesh::start("");
    let application = mesh.b.host.run(application);
    let (service, own) = (both(HTTP)[0], at(&mesh.b.host, both(0)[0], HTTP));
    mesh.b.host.run(|| {
        // By its own sidecar, twice: as the client's, and as the server's.
        assert_eq!(Client::connect_as(service, "b").get("/").text(), "/ here");
        // By nobody's.
        assert_eq!(Client::connect(own).get("/").text(), "/ here");
    });
    assert_eq!(application.requests().len(), 2);
    mesh.b
        .logged(&format!("outbound|8080||b {service} {own} HTTP/1.1 - end"));
    mesh.b.logged(&format!(
        "InboundPassthroughCluster {own} {own} HTTP/1.1 - end"
    ));
    assert_eq!(mesh.b.captured(15001), 1);
    assert_eq!(mesh.b.captured(15006), 1);
}

#[test]
fn what_is_excluded_is_not_captured() {
    let mesh = Mesh::start("-d 9000 -x 10.77.0.4/32 -o 3306");
    let (outside, like) = (&mesh.outside, both(0)[0]);
    outside.run(|| echo_server(ECHO, false));
    mesh.b.host.run(|| {
        echo_server(ECHO, false);
        echo_server(BANNER, true);
    });
    let greeted = |from: &Host, to, begins| {
        let said = from.run(|| greet(to, begins));
        assert_eq!(said, format!("[{}]", from.ipv4), "{to}");
    };
    // A range of addresses, a port of others, and one of its own.
    greeted(&mesh.a.host, at(outside, like, ECHO), false);
    assert_eq!(mesh.a.captured(15001), 0);
    greeted(outside, at(&mesh.b.host, like, ECHO), false);
    assert_eq!(mesh.b.captured(15006), 0);
    let to = at(&mesh.b.host, like, BANNER);
    assert_eq!(mesh.a.host.run(|| greet(to, true)), "[127.0.0.6]");
    assert_eq!((mesh.a.captured(15001), mesh.b.captured(15006)), (0, 1));
}

#[test]
fn what_the_sidecars_user_sends_is_not_captured() {
    let mesh = Mesh::start("");
    let _application = mesh.outside.run(application);
    let url = format!("http://{}:{HTTP}/", mesh.outside.ipv4);
    let fetch = |user: u32| {
        let output = mesh.a.host.run(|| {
            let user = user.to_string();
            let user = ["--reuid", &user, "--regid", &user, "--clear-groups"];
            let curl = ["curl", "--silent", "--max-time", "20", &url];
            program("setpriv").args(user).args(curl).output().unwrap()
        });
        assert_eq!(String::from_utf8_lossy(&output.stdout), "/ here");
    };
    fetch(SIDECAR);
    assert_eq!(mesh.a.captured(15001), 0);
    fetch(SIDECAR + 1);
    assert_eq!(mesh.a.captured(15001), 1);
}

#[test]
fn a_connection_for_the_sidecar_itself_does_not_come_back_to_it() {
    let mesh = Mesh::start("");
    // Another address: where it was going differs from where it comes in.
    mesh.b.host.configure("ip addr add 10.77.0.200/24 dev eth0");
    for (to, port, loops) in [
        ("10.77.0.200", 15006, 1),
        (&mesh.b.host.ipv4.to_string(), 15006, 1),
        (&mesh.b.host.ipv4.to_string(), 15001, 1),
    ] {
        let to = format!("{to}:{port}").parse().unwrap();
        mesh.outside.run(|| {
            let mut client = connect(to);
            let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            client.write_all(request).unwrap();
            let mut answer = Vec::new();
            // What is closed may be reset.
            let _ = client.read_to_end(&mut answer);
            let is_refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 503");
            assert!(is_refused, "{to}: {}", String::from_utf8_lossy(&answer));
        });
        let counted = mesh.b.metric("weir_listener_loops_ended_total", "");
        assert_eq!(counted, loops, "{to}");
    }
    mesh.b.logged(":15006 - - UH end");
}
