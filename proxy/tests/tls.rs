//! TLS towards clients, through real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "tls/clients.rs"]
mod clients;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
use rustls::version::{TLS12, TLS13};
use weir_conformance::guests::connection_reader;
use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{
    Client, PATIENCE, Tunnel, Upstream, Weir, check, eventually, h2, run_program,
};

/// A listener `edge` with this `tls`, before `upstream`.
fn config(upstream: &Upstream, tls: &str, more: &str) -> String {
    format!(
        "workers: 2
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  tls: {tls}
  routes: [{{ match: {{ prefix: / }}, cluster: web }}]
{more}clusters: [{{ name: web, endpoints: ['{}'] }}]
",
        upstream.address
    )
}

/// The same, with one certificate.
fn weir(upstream: &Upstream, tls: &str, identity: &Identity) -> Weir {
    let tls = format!("{{ certificates: [{{ cert: edge.pem, key: edge.key }}]{tls} }}");
    Weir::start_with(&config(upstream, &tls, ""), |folder| {
        identity.write(folder, "edge");
    })
}

fn alpn(mut config: rustls::ClientConfig, names: &[&str]) -> rustls::ClientConfig {
    config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

#[test]
fn requests_come_in_encrypted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let weir = weir(&upstream, "", &authority.issue(&["edge.example"]));
    let tunnel = Tunnel::encrypt(
        weir.listener("edge"),
        "edge.example",
        authority.client(None),
    );
    let mut client = Client::connect(tunnel.address);
    let response = client.request("POST", "/a", &[], &vec![b'x'; 1 << 20]);
    assert_eq!(response.status, 200);
    assert!(response.text().contains("\nx-forwarded-proto: https\n"));
    assert!(response.body.len() > 1 << 20);
    assert_eq!(client.get("/b").status, 200);
    let agreed = tunnel.agreed();
    assert_eq!((agreed.version, agreed.alpn), (TLSv1_3, None));
    assert_eq!(weir.metric("envoy_listener_ssl_handshake"), 1);
    assert_eq!(weir.metric("envoy_listener_ssl_no_certificate"), 1);
    let version = "envoy_ssl_version=\"TLSv1.3\"";
    assert_eq!(weir.metric_of("envoy_listener_ssl_versions", version), 1);
    let expiration = "weir_tls_certificate_expiration_timestamp_seconds";
    let label = "certificate=\"edge.pem\"";
    // rcgen's default: the end of the year 4096.
    assert!(weir.metric_of(expiration, label) > 60_000_000_000);
}

#[test]
fn a_client_without_tls_is_turned_away() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let weir = weir(&upstream, "", &authority.issue(&["edge.example"]));
    let mut client = weir.connect();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(client.try_response(false).is_err());
    weir.eventually_metric("envoy_listener_ssl_connection_error", 1);
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identities = [
        ("first", authority.issue(&["first.example"])),
        ("exact", authority.issue(&["Exact.wild.example"])),
        ("wildcard", authority.issue(&["*.wild.example"])),
    ];
    let pairs = identities.iter();
    let pairs = pairs.map(|(name, _)| format!("{{ cert: {name}.pem, key: {name}.key }}"));
    let tls = format!(
        "{{ certificates: [{}] }}",
        pairs.collect::<Vec<_>>().join(", ")
    );
    let weir = Weir::start_with(&config(&upstream, &tls, ""), |folder| {
        for (name, identity) in &identities {
            identity.write(folder, name);
        }
    });
    for (asked, expected) in [
        ("first.example", Some(0)),
        ("exact.wild.example", Some(1)),
        ("EXACT.wild.example", Some(1)),
        ("other.wild.example", Some(2)),
        // The first one is for another name, which the client notices.
        ("a.b.wild.example", None),
    ] {
        let tunnel = Tunnel::encrypt(weir.listener("edge"), asked, authority.client(None));
        drop(Client::connect(tunnel.address));
        match expected {
            Some(place) => {
                let shown = tunnel.agreed().peer.unwrap();
                assert_eq!(shown, identities[place].1.der, "{asked}");
            }
            None => {
                let error = tunnel.handshake(1).unwrap_err();
                assert!(error.contains("not valid for name"), "{error}");
                assert!(error.contains("first.example"), "{error}");
            }
        }
    }
}

#[test]
fn what_is_spoken_is_what_was_agreed_on() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let weir = weir(&upstream, "", &authority.issue(&["edge.example"]));
    let tunnel = |offered: &[&str]| {
        let client = alpn(authority.client(None), offered);
        Tunnel::encrypt(weir.listener("edge"), "edge.example", client)
    };
    let both = tunnel(&["http/1.1", "h2"]);
    h2::run(async {
        let mut client = h2::connect(both.address).await;
        let response = h2::get(&mut client, "/", &[]).await.unwrap();
        assert_eq!(response.status, 200);
        assert!(response.text().contains("\nx-forwarded-proto: https\n"));
    });
    assert_eq!(both.agreed().alpn.as_deref(), Some("h2"));

    let http1 = tunnel(&["http/1.1"]);
    assert_eq!(Client::connect(http1.address).get("/").status, 200);
    assert_eq!(http1.agreed().alpn.as_deref(), Some("http/1.1"));

    // Neither is known here; and what begins like HTTP/2 is it.
    for offered in [&["spdy/1"][..], &[]] {
        let other = tunnel(offered);
        assert_eq!(Client::connect(other.address).get("/").status, 200);
        assert_eq!(other.agreed().alpn, None);
        h2::run(async {
            let mut client = h2::connect(other.address).await;
            assert_eq!(h2::get(&mut client, "/", &[]).await.unwrap().status, 200);
        });
    }
}

#[test]
fn the_admin_tells_when_certificates_end() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["a.example"]);
    let weir = weir(&upstream, "", &identity);
    let certs = weir.admin_get("/certs").text();
    let certs: serde_json::Value = serde_json::from_str(&certs).unwrap();
    let shown = &certs["certificates"][0];
    assert_eq!(shown["listener"], "edge");
    let chain = &shown["cert_chain"][0];
    assert_eq!(chain["path"], "edge.pem");
    assert_eq!(chain["subject_alt_names"][0]["dns"], "a.example");
    let days = chain["days_until_expiration"].as_str().unwrap();
    assert!(days.parse::<u64>().unwrap() > 0, "{chain}");
}

#[test]
fn only_versions_that_are_wanted_are_spoken() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["edge.example"]);
    let cases = [
        (", max_version: 1.2", &[&TLS12, &TLS13][..], Some(TLSv1_2)),
        (", min_version: 1.3", &[&TLS12, &TLS13], Some(TLSv1_3)),
        (", min_version: 1.3", &[&TLS12], None),
        (", max_version: '1.2'", &[&TLS13], None),
        ("", &[&TLS12], Some(TLSv1_2)),
    ];
    for (tls, versions, expected) in cases {
        let weir = weir(&upstream, tls, &identity);
        let client = authority.client_of(versions, None);
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        let mut client = Client::connect(tunnel.address);
        match expected {
            Some(version) => {
                assert_eq!(client.get("/").status, 200);
                assert_eq!(tunnel.agreed().version, version, "{tls}");
            }
            None => {
                let error = tunnel.handshake(1).unwrap_err();
                assert!(error.contains("ProtocolVersion"), "{error}");
                weir.eventually_metric("envoy_listener_ssl_connection_error", 1);
            }
        }
    }
}

#[test]
fn sessions_are_resumed_on_any_worker_and_after_a_reload() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["edge.example"]);
    for version in [&TLS12, &TLS13] {
        let weir = weir(&upstream, "", &identity);
        let client = authority.client_of(&[version], None);
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        let mut count = 0;
        let mut resumed = || {
            count += 1;
            assert_eq!(Client::connect(tunnel.address).get("/").status, 200);
            tunnel.handshake(count).unwrap().resumed
        };
        assert!(!resumed());
        assert!((0..8).all(|_| resumed()));
        weir.eventually_metric("envoy_listener_ssl_session_reused", 8);
        assert_eq!(weir.reload().status, 200);
        assert!(resumed());
        // A new key makes new sessions.
        authority
            .issue(&["edge.example"])
            .write(&weir.path(""), "edge");
        assert_eq!(weir.reload().status, 200);
        assert!(!resumed());
    }
}

#[test]
fn a_certificate_is_replaced_under_connections() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let (old, new) = (
        authority.issue(&["edge.example"]),
        authority.issue(&["edge.example"]),
    );
    let weir = weir(&upstream, "", &old);
    let tunnel = || {
        Tunnel::encrypt(
            weir.listener("edge"),
            "edge.example",
            authority.client(None),
        )
    };
    let before = tunnel();
    let mut http1 = Client::connect(before.address);
    assert_eq!(http1.get("/").status, 200);
    h2::run(async {
        let client = alpn(authority.client(None), &["h2"]);
        let encrypted = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        let mut http2 = h2::connect(encrypted.address).await;
        assert_eq!(h2::get(&mut http2, "/", &[]).await.unwrap().status, 200);
        // The files are watched. The key comes later than its certificate: until then,
        // they are refused together.
        weir.replace("edge.pem", new.cert.as_bytes());
        let failed = "weir_config_reloads_total";
        eventually("the halves do not fit", || {
            (weir.metric_of(failed, "result=\"failure\"") == 1).then_some(())
        });
        eventually("the reason is logged", || {
            let log = weir.log();
            log.contains("this is not the private key of edge.pem")
                .then_some(())
        });
        weir.replace("edge.key", new.key.as_bytes());
        eventually("the new certificate is shown", || {
            let tunnel = tunnel();
            drop(Client::connect(tunnel.address));
            assert_eq!(http1.get("/").status, 200);
            (tunnel.agreed().peer.unwrap() == new.der).then_some(())
        });
        assert_eq!(http1.get("/").status, 200);
        assert_eq!(h2::get(&mut http2, "/", &[]).await.unwrap().status, 200);
        assert_eq!(encrypted.handshakes().len(), 1);
    });
    assert_eq!(before.handshakes().len(), 1);
}

#[test]
fn a_bad_certificate_leaves_the_one_that_is_served() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["edge.example"]);
    let weir = weir(&upstream, "", &identity);
    weir.replace(
        "edge.pem",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let response = weir.reload();
    assert_eq!(response.status, 400, "{}", response.text());
    let text = response.text();
    assert!(text.contains("weir.yaml:6:"), "{text}");
    assert!(text.contains("not a certificate"), "{text}");
    let tunnel = Tunnel::encrypt(
        weir.listener("edge"),
        "edge.example",
        authority.client(None),
    );
    assert_eq!(Client::connect(tunnel.address).get("/").status, 200);
    assert_eq!(tunnel.agreed().peer.unwrap(), identity.der);
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let (one, other) = (
        authority.issue(&["a.example"]),
        authority.issue(&["b.example"]),
    );
    let pair =
        |cert: &str, key: &str| format!("{{ certificates: [{{ cert: {cert}, key: {key} }}] }}");
    let clients = |ca: &str| {
        format!(
            "{{ certificates: [{{ cert: a.pem, key: a.key }}], client_certificates: {{ ca: {ca} }} }}"
        )
    };
    for (tls, expected) in [
        (pair("none.pem", "a.key"), "cannot read"),
        (
            pair("a.key", "a.key"),
            "cannot use a.key: there is no certificate in it",
        ),
        (
            pair("a.pem", "a.pem"),
            "cannot use a.pem: there is no private key in it",
        ),
        (
            pair("a.pem", "b.key"),
            "this is not the private key of a.pem",
        ),
        (
            pair("a.pem", "locked.key"),
            "cannot use locked.key: the key is encrypted",
        ),
        (
            clients("a.key"),
            "cannot use a.key: there is no certificate in it",
        ),
    ] {
        let (passed, text) = check(&config(&upstream, &tls, ""), |folder| {
            one.write(folder, "a");
            other.write(folder, "b");
            let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n\
                          -----END ENCRYPTED PRIVATE KEY-----\n";
            std::fs::write(folder.join("locked.key"), locked).unwrap();
        });
        assert!(!passed, "{tls}");
        assert!(text.contains("weir.yaml:6:"), "{text}");
        assert!(text.contains(expected), "{text}");
    }
}

/// Runs openssl in `folder`.
fn openssl(folder: &Path, command: &str) {
    let output = run_program(folder, "openssl", command);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn keys_of_every_form_are_read() {
    let upstream = Upstream::echo();
    let folder = tempfile::tempdir().unwrap();
    let made = |command: &str| openssl(folder.path(), command);
    made("genrsa -traditional -out pkcs1.key 2048");
    made("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pkcs8.key");
    made("ecparam -name prime256v1 -genkey -noout -out sec1.key");
    made("genpkey -algorithm ed25519 -out ed25519.key");
    for (name, begins) in [
        ("pkcs1", "BEGIN RSA PRIVATE KEY"),
        ("pkcs8", "BEGIN PRIVATE KEY"),
        ("sec1", "BEGIN EC PRIVATE KEY"),
        ("ed25519", "BEGIN PRIVATE KEY"),
    ] {
        let key = std::fs::read_to_string(folder.path().join(format!("{name}.key"))).unwrap();
        assert!(key.contains(begins), "{name}");
        made(&format!(
            "req -x509 -new -key {name}.key -subj /CN={name} -days 2 -out {name}.pem"
        ));
        let tls = format!("{{ certificates: [{{ cert: {name}.pem, key: {name}.key }}] }}");
        let (passed, text) = check(&config(&upstream, &tls, ""), |to| {
            for file in [format!("{name}.pem"), format!("{name}.key")] {
                std::fs::copy(folder.path().join(&file), to.join(&file)).unwrap();
            }
        });
        assert!(passed, "{text}");
    }
}

#[test]
fn who_never_ends_the_handshake_is_cut_and_keeps_nobody_waiting() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["edge.example"]);
    let weir = weir(&upstream, ", handshake_timeout: 2s", &identity);
    let address = weir.listener("edge");
    let began = Instant::now();
    let mut silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for half in &mut silent {
        // The beginning of a record.
        half.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    }
    let tunnel = Tunnel::encrypt(address, "edge.example", authority.client(None));
    assert_eq!(Client::connect(tunnel.address).get("/").status, 200);
    for mut silent in silent {
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = silent.read_to_end(&mut rest);
    }
    assert!(began.elapsed() >= Duration::from_secs(2));
    let timeouts = "envoy_listener_downstream_cx_transport_socket_connect_timeout";
    weir.eventually_metric(timeouts, 20);
    weir.eventually_metric("envoy_listener_downstream_cx_active", 0);
}

#[test]
fn connections_of_tcp_are_decrypted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let config = config(
        &upstream,
        "{ certificates: [{ cert: edge.pem, key: edge.key }] }",
        "",
    )
    .replace(
        "routes: [{ match: { prefix: / }, cluster: web }]",
        "tcp: { cluster: web }",
    );
    let weir = Weir::start_with(&config, |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
    });
    let client = alpn(authority.client(None), &["h2", "http/1.1"]);
    let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
    let mut client = Client::connect(tunnel.address);
    let response = client.request("POST", "/a", &[], &vec![b'x'; 1 << 20]);
    assert_eq!(response.status, 200);
    assert!(response.body.len() > 1 << 20);
    assert!(!response.text().contains("x-forwarded-proto"));
    // Nothing is known of what is inside.
    assert_eq!(tunnel.agreed().alpn, None);
}

#[test]
fn filters_of_connections_see_what_was_decrypted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let identity = authority.issue(&["web.example"]);
    let behind = Tunnel::decrypt(upstream.address, authority.server(&identity, false));
    let config = format!(
        "workers: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
- name: edge
  address: 127.0.0.1:0
  buffer_limit: 64KiB
  tls: {{ certificates: [{{ cert: edge.pem, key: edge.key }}] }}
  tcp: {{ cluster: web }}
  network_filters:
  - {{ name: reads, wasm: {{ vm_config: {{ code: {{ local: {{ filename: f.wasm }} }} }} }} }}
clusters:
- {{ name: web, endpoints: ['{}'], tls: {{ ca: ca.pem, sni: web.example }} }}
",
        behind.address
    );
    let weir = Weir::start_with(&config, |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        let module = wat::parse_str(connection_reader()).unwrap();
        std::fs::write(folder.join("f.wasm"), module).unwrap();
    });
    let tunnel = Tunnel::encrypt(
        weir.listener("edge"),
        "edge.example",
        authority.client(None),
    );
    let mut client = Client::connect(tunnel.address);
    for _ in 0..3 {
        // More than any buffer on the way holds.
        let response = client.request("POST", "/a", &[], &vec![b'x'; 8 << 20]);
        assert_eq!(response.status, 200);
        assert!(response.body.len() > 8 << 20);
    }
    let requests = upstream.requests();
    assert_eq!(requests[2].body.len(), 8 << 20);
    // The end of one side is the end of the other.
    client.tcp().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed());
    weir.eventually_metric("envoy_listener_downstream_cx_active", 0);
    assert_eq!(weir.metric("envoy_cluster_ssl_handshake"), 1);
}
