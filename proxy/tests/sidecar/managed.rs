//! Sidecars that a management server configures: what Istio's would send, with routes,
//! endpoints, filters and certificates that come by themselves.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use weir_conformance::guests::request_marker;
use weir_conformance::h2 as wire;
use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{
    Answer, Client, ControlPlane, Host, Lan, Upstream, Weir, eventually, xds_bootstrap,
};

use super::mesh::{ECHO, GRPC, HTTP, Pod, both, echo_server, greet, iptables, resources};
use super::tonic_server::GrpcServer;

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// How long the management server is gone.
const OUTAGE: Duration = Duration::from_secs(30);

/// Who the services are.
const A: &str = "spiffe://cluster.local/ns/default/sa/a";
const B: &str = "spiffe://cluster.local/ns/default/sa/b";

struct Managed {
    a: Pod,
    b: Pod,
    server: ControlPlane,
    server_host: Host,
    _lan: Lan,
}

fn ads() -> Json {
    json!({ "ads": {}, "resource_api_version": "V3" })
}

impl Managed {
    /// Two services; `change` makes what the server sends of what a bootstrap would say.
    fn start(change: impl FnOnce(&mut Json)) -> Self {
        let lan = Lan::new();
        let [a, b, server_host] = std::array::from_fn(|_| lan.host());
        let mut sent = resources(&b);
        change(&mut sent);
        let server = server_host.run(|| {
            let server = ControlPlane::start_at("0.0.0.0:18000", &[]);
            let mut server = server.expect("the management server does not start");
            server.set(&sent);
            server
        });
        let admin = json!({ "admin": { "address": { "socket_address": {
            "address": "127.0.0.1", "port_value": 15000,
        } } } });
        let address = format!("{}:18000", server_host.ipv4);
        let bootstrap = xds_bootstrap(&address, "DELTA_GRPC", &admin);
        let pod = |host: Host| {
            let weir = host.run(|| {
                iptables("--apply");
                let weir = Weir::start_as_envoy(&bootstrap, &[], |_| {});
                eventually("the sidecar is ready", || {
                    (weir.admin_get("/ready").status == 200).then_some(())
                });
                weir
            });
            Pod { host, weir }
        };
        Self {
            a: pod(a),
            b: pod(b),
            server,
            server_host,
            _lan: lan,
        }
    }

    fn get(&self, path: &str) -> weir_conformance::Response {
        let to = both(HTTP)[0];
        self.a.host.run(|| Client::connect_as(to, "b").get(path))
    }
}

/// Calls `change` with each HTTP connection manager of these listeners.
fn managers(json: &mut Json, change: &mut impl FnMut(&mut Json)) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| managers(item, change)),
        Json::Object(fields) if fields.contains_key("http_filters") => change(json),
        Json::Object(fields) => fields
            .values_mut()
            .for_each(|value| managers(value, change)),
        _ => {}
    }
}

/// Has every HTTP connection manager have a filter that comes by itself, and those with
/// routes named `8080` have them come, too; endpoints of the service as well.
fn by_themselves(sent: &mut Json, filter: &Json) {
    let mut routes = Vec::new();
    managers(&mut sent["listeners"], &mut |manager| {
        if let Some(filters) = manager["http_filters"].as_array_mut() {
            let mark = json!({
                "name": "mark",
                "config_discovery": { "config_source": ads(), "type_urls": [WASM] },
            });
            filters.insert(0, mark);
        }
        if manager["route_config"]["name"] == "8080" {
            let config = manager["route_config"].take();
            let object = manager.as_object_mut().unwrap();
            object.remove("route_config");
            manager["rds"] = json!({ "route_config_name": "8080", "config_source": ads() });
            if routes.is_empty() {
                routes.push(config);
            }
        }
    });
    sent["routes"] = routes.into();
    let mut endpoints = Vec::new();
    for cluster in sent["clusters"].as_array_mut().unwrap() {
        let name = cluster["name"].as_str().unwrap().to_owned();
        if !name.starts_with("outbound|") {
            continue;
        }
        let mut assignment = cluster["load_assignment"].take();
        cluster.as_object_mut().unwrap().remove("load_assignment");
        cluster["type"] = "EDS".into();
        cluster["eds_cluster_config"] = json!({ "eds_config": ads(), "service_name": name });
        assignment["cluster_name"] = name.into();
        endpoints.push(assignment);
    }
    sent["endpoints"] = endpoints.into();
    sent["extension_configs"] = json!([filter]);
}

fn extension(module: &std::path::Path) -> Json {
    let code = json!({ "local": { "filename": module } });
    let vm = json!({ "runtime": "envoy.wasm.runtime.v8", "code": code });
    json!({ "name": "mark", "typed_config": { "@type": WASM, "config": { "vm_config": vm } } })
}

/// An application that tells the versions of the filters that a request has passed.
fn application() -> Upstream {
    Upstream::start_at(("::", HTTP), |request| {
        let versions = request
            .headers
            .iter()
            .filter(|(name, _)| name == "x-version");
        let versions: Vec<_> = versions.map(|(_, value)| value.as_str()).collect();
        Answer::ok(versions.join(","))
    })
}

#[test]
fn a_filter_is_swapped_on_both_and_an_outage_of_the_server_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let module = |version: &str| {
        let path = folder.path().join(format!("{version}.wasm"));
        std::fs::write(&path, request_marker(version)).unwrap();
        extension(&path)
    };
    let mut mesh = Managed::start(|sent| by_themselves(sent, &module("one")));
    let _application = mesh.b.host.run(application);
    // Both sidecars have it.
    assert_eq!(mesh.get("/").text(), "one,one");
    let (done, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (client, server) = (mesh.a.host.clone(), mesh.server_host.clone());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                client.run(|| {
                    let mut client = Client::connect_as(both(HTTP)[0], "b");
                    while !done.load(Ordering::Relaxed) {
                        let response = client.get("/");
                        assert_eq!(response.status, 200);
                        assert!(response.text().contains(','), "{}", response.text());
                        count.fetch_add(1, Ordering::Relaxed);
                        thread::park_timeout(Duration::from_millis(2));
                    }
                });
            });
        }
        let work = std::panic::AssertUnwindSafe(|| {
            let two = module("two");
            let change = json!({ "extension_configs": [two] });
            mesh.server.update(&change);
            let is = |mesh: &Managed, wanted: &str| (mesh.get("/").text() == wanted).then_some(());
            eventually("both have the second", || is(&mesh, "two,two"));
            let broken = folder.path().join("broken.wasm");
            std::fs::write(&broken, b"\0asm").unwrap();
            let change = json!({ "extension_configs": [extension(&broken)] });
            mesh.server.update(&change);
            for number in 1..=2 {
                let reason = mesh.server.nack("TypedExtensionConfig", number);
                assert!(reason.starts_with("extension `mark`: "), "{reason}");
            }
            assert_eq!(mesh.get("/").text(), "two,two");
            let (address, before) = (mesh.server.address.clone(), count.load(Ordering::Relaxed));
            server.run(|| mesh.server.stop());
            thread::sleep(OUTAGE);
            assert!(count.load(Ordering::Relaxed) > before + 100);
            assert_eq!(mesh.get("/").text(), "two,two");
            let mut sent = resources(&mesh.b.host);
            by_themselves(&mut sent, &module("three"));
            mesh.server = server.run(|| {
                let mut again = ControlPlane::start_at(&address, &[]).unwrap();
                again.set(&sent);
                again
            });
            // Each tries again after half a minute at most.
            let mut waits = 0;
            while is(&mesh, "three,three").is_none() {
                waits += 1;
                assert!(waits < 400, "{}", mesh.get("/").text());
                thread::sleep(Duration::from_millis(100));
            }
        });
        let result = std::panic::catch_unwind(work);
        done.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    // What it sends to the server and to the service is not sent to it once more: one
    // connection of each client.
    assert!(mesh.a.captured(15001) > 0);
    assert_eq!(mesh.b.captured(15001), 0);
}

fn secrets(authority: &Authority, identity: &Identity) -> Json {
    json!([
        {
            "name": "default",
            "tls_certificate": {
                "certificate_chain": { "inline_string": identity.cert },
                "private_key": { "inline_string": identity.key },
            },
        },
        { "name": "ROOTCA", "validation_context": {
            "trusted_ca": { "inline_string": authority.pem() },
        } },
    ])
}

/// What both contexts have in common; `names` the other one may have.
fn common(protocols: &[&str], names: &[&str]) -> Json {
    let secret = |name: &str| json!({ "name": name, "sds_config": ads() });
    let names = names.iter();
    let names = names.map(|name| json!({ "san_type": "URI", "matcher": { "exact": name } }));
    json!({
        "alpn_protocols": protocols,
        "tls_certificate_sds_secret_configs": [secret("default")],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": names.collect::<Vec<_>>(),
            },
            "validation_context_sds_secret_config": secret("ROOTCA"),
        },
    })
}

/// Has the services speak TLS with one another, and nothing else.
fn strict(sent: &mut Json, server: &str) {
    for cluster in sent["clusters"].as_array_mut().unwrap() {
        let protocol = match cluster["name"].as_str().unwrap() {
            name if name.starts_with("outbound|8080|") => "istio-http/1.1",
            name if name.starts_with("outbound|9090|") => "istio-h2",
            name if name.starts_with("outbound|9000|") => "istio",
            _ => continue,
        };
        cluster["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.UpstreamTlsContext"),
                "sni": "outbound_.b.default.svc.cluster.local",
                "common_tls_context": common(&[protocol], &[server]),
            },
        });
    }
    let listeners = sent["listeners"].as_array_mut().unwrap();
    let inbound = listeners
        .iter_mut()
        .find(|listener| listener["name"] == "virtualInbound");
    let chains = inbound.unwrap()["filter_chains"].as_array_mut().unwrap();
    for chain in chains {
        let protocols: &[&str] = match chain["name"].as_str().unwrap() {
            "virtualInbound-catchall-http" => &["istio-http/1.1", "istio-h2"],
            "virtualInbound" => &["istio"],
            _ => continue,
        };
        chain["filter_chain_match"] = json!({
            "transport_protocol": "tls",
            "application_protocols": protocols,
        });
        chain["transport_socket"] = json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": format!("{TLS}.DownstreamTlsContext"),
                "require_client_certificate": true,
                "common_tls_context": common(protocols, &[A]),
            },
        });
    }
}

#[test]
fn services_know_one_another_by_their_certificates() {
    let authority = Authority::new("mesh");
    // Both sidecars get the same, and so have the names of both.
    let identity = authority.issue(&[A, B]);
    let mut mesh = Managed::start(|sent| {
        strict(sent, B);
        sent["secrets"] = secrets(&authority, &identity);
    });
    let _application = mesh.b.host.run(|| {
        echo_server(ECHO, false);
        application()
    });
    assert_eq!(mesh.get("/").status, 200);
    let said = mesh.a.host.run(|| greet(both(ECHO)[0], false));
    assert_eq!(said, "[127.0.0.6]");
    let tonic = mesh
        .b
        .host
        .run(|| GrpcServer::start(("::", GRPC), "/shop/Stream", |message| Ok(message.to_vec())));
    mesh.a.host.run(|| {
        wire::run(async {
            let client = wire::connect(both(GRPC)[0]).await;
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            let mut ready = client.ready().await.unwrap();
            let request = wire::request("POST", "/shop/Order", &headers);
            let (response, mut stream) = ready.send_request(request, false).unwrap();
            let message = b"\0\0\0\0\x03tea"[..].into();
            wire::send_all(&mut stream, message, true).await.unwrap();
            let answer = wire::read(response).await.unwrap();
            assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
        });
    });
    assert_eq!(tonic.count("/shop/Order"), 1);
    // Whoever comes without TLS is not let in.
    let endpoint = std::net::SocketAddr::new(mesh.b.host.ipv4.into(), HTTP);
    let refused = mesh.server_host.run(|| {
        let mut client = Client::connect(endpoint);
        // What is closed may be reset.
        let _ = client.try_send("GET / HTTP/1.1\r\nhost: b\r\n\r\n");
        client.try_response(false).is_err()
    });
    assert!(refused);
    // New certificates are taken while a connection is open.
    let (to, host) = (both(HTTP)[0], mesh.a.host.clone());
    let mut open = host.run(|| Client::connect_as(to, "b"));
    assert_eq!(open.get("/").status, 200);
    let acks = mesh.server.count("ack", "Secret");
    let renewed = json!({ "secrets": secrets(&authority, &authority.issue(&[A, B])) });
    mesh.server.update(&renewed);
    mesh.server.answer("ack", "Secret", acks + 2);
    assert_eq!(open.get("/").status, 200);
    assert_eq!(mesh.get("/").status, 200);
    // A server that is somebody else gets no request.
    let mut sent = json!({ "clusters": [], "listeners": [] });
    let whole = resources(&mesh.b.host);
    sent["clusters"] = whole["clusters"].clone();
    sent["listeners"] = whole["listeners"].clone();
    strict(&mut sent, "spiffe://cluster.local/ns/default/sa/c");
    mesh.server.update(&json!({ "clusters": sent["clusters"] }));
    eventually("the name is another", || {
        (mesh.get("/").status == 503).then_some(())
    });
}
