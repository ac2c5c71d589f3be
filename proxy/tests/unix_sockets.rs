//! Listeners, endpoints and the admin on Unix sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use tempfile::TempDir;
use weir_conformance::tls::Authority;
use weir_conformance::{Client, Tunnel, Upstream, Weir, direct, eventually, h2, run, unix};

const FORMAT: &str = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% \
                      %DOWNSTREAM_LOCAL_ADDRESS% [%DOWNSTREAM_LOCAL_PORT%] %UPSTREAM_HOST% \
                      %UPSTREAM_LOCAL_ADDRESS%";

/// A folder for sockets, and its path.
fn folder() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

/// A listener `edge` at `address`, with further keys, before a cluster with these.
fn config(address: &str, listener: &str, cluster: &str) -> String {
    format!(
        "workers: 2
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: '{address}'
  access_log: {{ path: stdout, format: \"{FORMAT}\\n\" }}
  {listener}
clusters: [{{ name: web, {cluster} }}]
"
    )
}

const ROUTE: &str = "routes: [{ match: { prefix: / }, cluster: web }]";

/// A configuration with an answer of the listener's own.
fn answering(address: &str, keys: &str, text: &str) -> String {
    let keys = format!(
        "{{ name: edge, address: '{address}', {keys}, {} }}",
        direct(text)
    );
    format!("workers: 2\nadmin: {{ address: 127.0.0.1:0 }}\nlisteners: [{keys}]\n")
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn inode(path: &str) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn requests_pass_from_socket_to_socket() {
    let (_folder, path) = folder();
    let upstream = Upstream::echo();
    let (edge, web) = (format!("{path}/edge.sock"), format!("{path}/web.sock"));
    unix::serve(&web, upstream.address);
    let listener = format!("mode: 0640\n  http: {{ use_remote_address: true }}\n  {ROUTE}");
    let endpoints = format!("endpoints: ['unix:{web}']");
    let mut weir = Weir::start(&config(&format!("unix:{edge}"), &listener, &endpoints));
    assert_eq!(mode(&edge), 0o640);
    let mut client = weir.connect();
    for _ in 0..3 {
        let text = client.get("/").text();
        // Nobody has an address.
        assert!(!text.contains("x-forwarded-for"), "{text}");
        assert!(!text.contains("x-envoy-external-address"), "{text}");
        assert!(text.contains("x-forwarded-proto: http\n"), "{text}");
    }
    assert_eq!(upstream.connections(), 1);
    let line = format!("{edge} {edge} {edge} [] {web} -\n");
    eventually("the access log", || {
        (weir.stdout() == line.repeat(3)).then_some(())
    });

    let listeners = weir.admin_get("/listeners").text();
    assert_eq!(listeners, format!("edge::{edge}\n"));
    let pipe = |path: &str| format!("{{\"pipe\":{{\"path\":\"{path}\"}}}}");
    let listeners = weir.admin_get("/listeners?format=json").text();
    let listeners = listeners.split_whitespace().collect::<String>();
    assert!(listeners.contains(&pipe(&edge)), "{listeners}");
    let clusters = weir.admin_get("/clusters").text();
    let total = format!("web::{web}::rq_total::3\n");
    assert!(clusters.contains(&total), "{clusters}");
    let clusters = weir.admin_get("/clusters?format=json").text();
    let clusters = clusters.split_whitespace().collect::<String>();
    assert!(clusters.contains(&pipe(&web)), "{clusters}");
    let stats = weir.admin_get("/stats?filter=downstream_cx_total").text();
    let stat = format!("listener.{edge}.downstream_cx_total: ");
    assert!(stats.contains(&stat), "{stats}");

    weir.terminate();
    assert!(weir.wait().success());
    assert!(!Path::new(&edge).exists());
    assert!(Path::new(&web).exists());
}

#[test]
fn what_a_proxy_in_front_tells_counts_on_a_unix_socket() {
    let (_folder, path) = folder();
    let upstream = Upstream::echo();
    let listener = format!(
        "http: {{ use_remote_address: true, xff_num_trusted_hops: 1, \
         append_x_forwarded_port: true }}\n  {ROUTE}"
    );
    let endpoints = format!("endpoints: ['{}']", upstream.address);
    let weir = Weir::start(&config(
        &format!("unix:{path}/edge.sock"),
        &listener,
        &endpoints,
    ));
    let told = [("x-forwarded-for", "8.8.8.8, 10.0.0.7")];
    let text = weir.connect().get_with("/", &told).text();
    assert!(text.contains("\nx-forwarded-for: 8.8.8.8, 10.0.0.7\n"));
    assert!(text.contains("\nx-envoy-external-address: 10.0.0.7\n"));
    assert!(!text.contains("x-forwarded-port"));
    weir.logged(&format!("10.0.0.7:0 {path}/edge.sock {path}/edge.sock [] "));
}

#[test]
fn abstract_sockets_have_no_file() {
    let upstream = Upstream::echo();
    let name = format!("@weir-test-{}", std::process::id());
    let (edge, web) = (format!("{name}-edge"), format!("{name}-web"));
    unix::serve(&web, upstream.address);
    let endpoints = format!("endpoints: ['unix:{web}']");
    let weir = Weir::start(&config(&format!("unix:{edge}"), ROUTE, &endpoints));
    for _ in 0..2 {
        assert_eq!(weir.connect().get("/").status, 200);
    }
    weir.logged(&format!("{edge} {edge} {edge} [] {web} -"));
    assert_eq!(
        weir.admin_get("/listeners").text(),
        format!("edge::{edge}\n")
    );
    let taken = answering(&format!("unix:{edge}"), "direction: inbound", "other");
    let (_folder, text) = refused(&taken);
    assert!(text.contains(&format!("cannot bind {edge}: ")), "{text}");
}

#[test]
fn http2_and_tls_are_spoken_on_unix_sockets() {
    let (_folder, path) = folder();
    let authority = Authority::new("ca");
    let upstream = Upstream::echo();
    let identity = authority.issue(&["web.example"]);
    let tunnel = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let web = format!("{path}/web.sock");
    unix::serve(&web, tunnel.address);
    let listener =
        format!("tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}] }}\n  {ROUTE}");
    let endpoints = format!("endpoints: ['unix:{web}'], tls: {{ ca: ca.pem, sni: web.example }}");
    let config = config(&format!("unix:{path}/edge.sock"), &listener, &endpoints);
    let weir = Weir::start_with(&config, |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    let mut client = authority.client(None);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let tunnel_to_edge = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
    h2::run(async {
        let mut client = h2::connect(tunnel_to_edge.address).await;
        for _ in 0..3 {
            let response = h2::get(&mut client, "/", &[]).await.unwrap();
            assert_eq!(response.status, 200);
        }
    });
    // It is kept for the next request.
    assert_eq!(tunnel.handshakes().len(), 1);
    assert_eq!(tunnel.agreed().server_name.as_deref(), Some("web.example"));
}

#[test]
fn what_a_client_says_first_chooses_the_filter_chain() {
    let (_folder, path) = folder();
    let (authority, edge) = (Authority::new("ca"), format!("{path}/edge.sock"));
    let config = format!(
        "admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 'unix:{edge}'
  filter_chains:
  - {{ match: {{ destination_port: 80 }}, {} }}
  - match: {{ server_names: [shop.example] }}
    tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}] }}
    {}
  - {{ match: {{ application_protocols: [http/1.1], source_type: same_ip_or_loopback }}, {} }}
",
        direct("port"),
        direct("shop"),
        direct("plain")
    );
    let weir = Weir::start_with(&config, |folder| {
        authority.issue(&["shop.example"]).write(folder, "edge");
    });
    let client = authority.client(None);
    let tunnel = Tunnel::encrypt(weir.listener("edge"), "shop.example", client);
    assert_eq!(Client::connect(tunnel.address).get("/").text(), "shop");
    // It is looked at again with each byte.
    let mut client = UnixStream::connect(&edge).unwrap();
    for byte in b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" {
        client.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nplain"), "{answer}");
}

#[test]
fn http2_endpoints_are_reached_by_unix_sockets() {
    let (_folder, path) = folder();
    let upstream = h2::H2Upstream::start(|_, mut reply| async move {
        reply.send_response(http::Response::new(()), true).unwrap();
    });
    let web = format!("{path}/web.sock");
    unix::serve(&web, upstream.address);
    let endpoints = format!("endpoints: ['unix:{web}'], protocol: http2");
    let mut config = config(&format!("unix:{path}/edge.sock"), ROUTE, &endpoints);
    config = config.replace("workers: 2", "workers: 1");
    let weir = Weir::start(&config);
    for _ in 0..3 {
        assert_eq!(weir.connect().get("/").status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn bytes_pass_from_socket_to_socket() {
    let (_folder, path) = folder();
    let upstream = Upstream::echo();
    let web = format!("{path}/web.sock");
    unix::serve(&web, upstream.address);
    let listener = "tcp: { cluster: web }";
    let endpoints = format!("endpoints: ['unix:{web}']");
    let weir = Weir::start(&config(
        &format!("unix:{path}/edge.sock"),
        listener,
        &endpoints,
    ));
    let body = vec![b'x'; 4 << 20];
    let mut client = weir.connect();
    let response = client.request("POST", "/", &[], &body);
    assert!(response.body.ends_with(&body));
    drop(client);
    weir.logged(&format!("{path}/edge.sock [] {web} -"));
}

#[test]
fn an_endpoint_that_is_not_there_is_told_as_by_envoy() {
    let (_folder, path) = folder();
    let missing = format!("{path}/missing.sock");
    let refusing = format!("{path}/refusing.sock");
    drop(UnixListener::bind(&refusing).unwrap());
    for (web, words) in [
        (missing, "No_such_file_or_directory"),
        (refusing, "Connection_refused"),
    ] {
        let endpoints = format!("endpoints: ['unix:{web}']");
        let format = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON%";
        let config = config("127.0.0.1:0", ROUTE, &endpoints).replace(FORMAT, format);
        let weir = Weir::start(&config);
        assert_eq!(weir.connect().get("/").status, 503);
        weir.logged(&format!("UF immediate_connect_error:_{words}"));
    }
}

#[test]
fn health_is_checked_over_unix_sockets() {
    let (_folder, path) = folder();
    let upstream = Upstream::echo();
    let (there, later) = (format!("{path}/there.sock"), format!("{path}/later.sock"));
    unix::serve(&there, upstream.address);
    let times = "timeout: 5s, interval: 50ms, no_traffic_interval: 50ms, \
                 unhealthy_threshold: 1, healthy_threshold: 1";
    for check in ["http: { path: /healthz }", "tcp: {}"] {
        let endpoints = format!(
            "endpoints: ['unix:{there}', 'unix:{later}'], health_checks: [{{ {check}, {times} }}]"
        );
        let weir = Weir::start(&config("127.0.0.1:0", ROUTE, &endpoints));
        let flags = |endpoint: &str, flags: &str| {
            let line = format!("web::{endpoint}::health_flags::{flags}\n");
            eventually(&line, || {
                let clusters = weir.admin_get("/clusters").text();
                clusters.contains(&line).then_some(())
            });
        };
        flags(&there, "healthy");
        flags(&later, "/failed_active_hc");
        assert_eq!(weir.connect().get("/").status, 200);
        unix::serve(&later, upstream.address);
        flags(&later, "healthy");
        std::fs::remove_file(&later).unwrap();
    }
}

/// Runs Weir with a configuration that it cannot serve; gives what it has said.
fn refused(config: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("weir.yaml"), config).unwrap();
    let output = run(folder.path(), &["run", "weir.yaml"]);
    assert!(!output.status.success());
    (folder, String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_socket_is_taken_from_nobody_who_listens() {
    let (_folder, path) = folder();
    let edge = format!("{path}/edge.sock");
    let config = answering(&format!("unix:{edge}"), "direction: inbound", "mine");

    let other = UnixListener::bind(&edge).unwrap();
    let (_kept, text) = refused(&config);
    let place = "weir.yaml:3:36: listener `edge` cannot bind ";
    let why = format!("{place}{edge}: another process listens there");
    assert!(text.contains(&why), "{text}");
    assert!(UnixStream::connect(&edge).is_ok());

    // What it leaves is replaced.
    drop(other);
    let mut weir = Weir::start(&config);
    assert_eq!(weir.connect().get("/").text(), "mine");
    weir.signal("KILL");
    assert!(!weir.wait().success());
    assert!(Path::new(&edge).exists());
    let weir = Weir::start(&config);
    assert_eq!(weir.connect().get("/").text(), "mine");
    drop(weir);

    std::fs::remove_file(&edge).unwrap();
    std::fs::write(&edge, "text").unwrap();
    let (_kept, text) = refused(&config);
    assert!(text.contains("that is not a socket"), "{text}");
    assert_eq!(std::fs::read(&edge).unwrap(), b"text");
}

#[test]
fn a_file_goes_with_its_listener_and_not_before() {
    let (_folder, path) = folder();
    let (edge, more) = (format!("{path}/edge.sock"), format!("{path}/more.sock"));
    let with = |mode: &str, text: &str, more: &str| {
        let config = answering(&format!("unix:{edge}"), &format!("mode: {mode}"), text);
        config.replace(" }]\n", &format!(" }}{more}]\n"))
    };
    let weir = Weir::start(&with("0600", "one", ""));
    let (reached, before) = (weir.listener("edge"), inode(&edge));
    let mut kept = Client::connect(reached);
    assert_eq!(kept.get("/").text(), "one");

    let second = format!(
        ", {{ name: more, address: 'unix:{more}', {} }}",
        direct("more")
    );
    weir.reload_with(&with("0666", "two", &second));
    assert_eq!((inode(&edge), mode(&edge)), (before, 0o666));
    assert_eq!(kept.get("/").text(), "two");
    assert_eq!(Client::connect(reached).get("/").text(), "two");
    assert!(UnixStream::connect(&more).is_ok());

    // One that cannot be opened leaves nothing behind, and changes nothing.
    let fresh = format!("{path}/fresh.sock");
    let third = format!(
        "{second}, {{ name: fresh, address: 'unix:{fresh}', {} }}, \
         {{ name: bad, address: 'unix:{path}/none/bad.sock', {} }}",
        direct("fresh"),
        direct("bad")
    );
    weir.configure(&with("0600", "three", &third));
    let answer = weir.reload();
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("none/bad.sock: "),
        "{}",
        answer.text()
    );
    assert!(!Path::new(&fresh).exists());
    assert_eq!((inode(&edge), mode(&edge)), (before, 0o666));
    assert!(UnixStream::connect(&more).is_ok());

    weir.reload_with(&with("0666", "four", ""));
    assert!(!Path::new(&more).exists());
    assert_eq!(Client::connect(reached).get("/").text(), "four");

    assert_eq!(weir.admin_post("/drain_listeners").status, 200);
    assert!(!Path::new(&edge).exists());
}

#[test]
fn every_worker_accepts_from_the_one_socket() {
    let (_folder, path) = folder();
    let filter = "http_filters: [{ name: first, wasm: { vm_config: { code: { local: \
                  { filename: first.wasm } } } } }]";
    let config = answering(&format!("unix:{path}/edge.sock"), filter, "again");
    let weir = Weir::start_with(&config, |folder| {
        std::fs::write(folder.join("first.wasm"), wat::parse_str(FIRST).unwrap()).unwrap();
    });
    let edge = weir.listener("edge");
    let (mut clients, mut firsts) = (Vec::new(), 0);
    // Which worker is the faster one is luck.
    eventually("both workers have answered", || {
        let mut client = Client::connect(edge);
        firsts += usize::from(client.get("/").status == 201);
        clients.push(client);
        (firsts == 2).then_some(())
    });
}

/// Answers the first request of its VM with 201.
const FIRST: &str = r#"(module
  (import "env" "proxy_send_local_response"
    (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $seen (mut i32) (i32.const 0))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (global.get $seen) (then (return (i32.const 0))))
    (global.set $seen (i32.const 1))
    (drop (call $reply (i32.const 201) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)))
    (i32.const 1)))"#;

#[test]
fn the_admin_is_asked_on_a_unix_socket_by_any_name() {
    let (_folder, path) = folder();
    let admin = format!("{path}/admin.sock");
    let config = answering("127.0.0.1:0", "direction: inbound", "a").replace(
        "{ address: 127.0.0.1:0 }",
        &format!("{{ address: 'unix:{admin}', mode: 0600 }}"),
    );
    let mut weir = Weir::start(&config);
    assert_eq!(mode(&admin), 0o600);
    assert_eq!(weir.admin_get("/ready").text(), "LIVE\n");
    // No browser could be made to ask for it.
    let mut client = Client::connect_as(weir.admin(), "weir");
    assert_eq!(client.request("POST", "/reload", &[], b"").status, 200);
    let site = [("sec-fetch-site", "cross-site")];
    assert_eq!(client.request("POST", "/reload", &site, b"").status, 403);
    weir.terminate();
    assert!(weir.wait().success());
    assert!(!Path::new(&admin).exists());
    let gone = UnixStream::connect(&admin).unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
}
