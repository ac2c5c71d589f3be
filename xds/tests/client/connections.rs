//! Connections: encrypted, behind socket files, refused, lost and made again.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use weir_xds::{
    ClientIdentity, Options, ResourceType, Server, ServerAddress, Service, SubscribeError, Tls,
    Variant, Verdict,
};

use crate::harness::{Running, delta, deltas, options, run, tcp, world};
use crate::server::{ManagementServer, Offers};

const CLUSTER: ResourceType = ResourceType::Cluster;
const SECRET: ResourceType = ResourceType::Secret;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate for `name`, and its key.
fn certificate(authority: &Authority, name: &str) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    Arc::new(roots)
}

/// A server with a certificate for `xds.test`, and who its clients have to be known to.
fn server_config(authority: &Authority, clients: Option<&Authority>) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = clients.map(|clients| {
        let provider = Arc::clone(&provider);
        let builder = WebPkiClientVerifier::builder_with_provider(roots(clients), provider);
        builder.build().unwrap()
    });
    let (certificate, key) = certificate(authority, "xds.test");
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn encrypted(server: &ManagementServer, name: &str, authority: &Authority) -> Options {
    let tls = Tls::trusting(name, authority.pem().as_bytes(), None).unwrap();
    options(Server::encrypted(tcp(server), tls), Variant::Delta)
}

#[test]
fn a_trusted_server_is_spoken_to_by_tls() {
    run(async {
        let authority = authority();
        let mut server = ManagementServer::start_encrypted(server_config(&authority, None)).await;
        let mut client = Running::start(encrypted(&server, "xds.test", &authority), |s| {
            s.subscribe_all(CLUSTER).unwrap();
        });
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.response_nonce, "n1");
    });
}

#[test]
fn a_server_with_another_authority_is_refused_by_name() {
    run(async {
        let server = ManagementServer::start_encrypted(server_config(&authority(), None)).await;
        let mut client = Running::start(encrypted(&server, "xds.test", &authority()), |s| {
            s.subscribe_all(CLUSTER).unwrap();
        });
        let because = client.waits_because().await.to_string();
        let address = server.address;
        let expected = format!("no TLS with `xds.test` at {address}: invalid peer certificate");
        assert!(because.starts_with(&expected), "{because}");
        assert!(!client.counters.is_connected());
    });
}

#[test]
fn a_server_with_another_name_is_refused_by_name() {
    run(async {
        let authority = authority();
        let config = server_config(&authority, None);
        let server = ManagementServer::start_encrypted(config).await;
        let options = encrypted(&server, "other.test", &authority);
        let mut client = Running::start(options, |_| {});
        let because = client.waits_because().await.to_string();
        assert!(
            because.starts_with("no TLS with `other.test` at "),
            "{because}"
        );
        assert!(because.contains("xds.test"), "{because}");
    });
}

#[test]
fn a_server_that_wants_to_know_its_clients_is_shown_a_certificate() {
    run(async {
        let [authority, clients] = [authority(), authority()];
        let config = server_config(&authority, Some(&clients));
        let mut server = ManagementServer::start_encrypted(config).await;
        let mut stranger = Running::start(encrypted(&server, "xds.test", &authority), |s| {
            s.subscribe_all(CLUSTER).unwrap();
        });
        let because = stranger.waits_because().await.to_string();
        assert!(because.contains("CertificateRequired"), "{because}");
        drop(stranger);

        let (certificate, key) = certificate(&clients, "sidecar.test");
        let (certificates, key) = (certificate.pem(), key.serialize_pem());
        let identity = ClientIdentity {
            certificates: certificates.as_bytes(),
            key: key.as_bytes(),
        };
        let pem = authority.pem();
        let tls = Tls::trusting("xds.test", pem.as_bytes(), Some(identity)).unwrap();
        let options = options(Server::encrypted(tcp(&server), tls), Variant::Delta);
        let _client = Running::start(options, |s| s.subscribe_all(CLUSTER).unwrap());
        assert_eq!(server.delta().await.request().await.type_url, CLUSTER.url());
    });
}

#[test]
fn a_server_that_is_not_there_is_told_by_address() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none");
        let server = Server::plain(ServerAddress::Unix(path.clone()));
        let mut client = Running::start(options(server, Variant::Delta), |_| {});
        let because = client.waits_because().await.to_string();
        let expected = format!("cannot connect to {}: ", path.display());
        assert!(because.starts_with(&expected), "{because}");
    });
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    run(async {
        // It never accepts a connection.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ServerAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: silent.local_addr().unwrap().port(),
        };
        let tls = Tls::trusting("xds.test", authority().pem().as_bytes(), None).unwrap();
        let server = Server::encrypted(address.clone(), tls);
        let options = Options {
            connect_timeout: Duration::from_millis(20),
            ..options(server, Variant::Delta)
        };
        let mut client = Running::start(options, |_| {});
        let because = client.waits_because().await.to_string();
        assert_eq!(because, format!("no connection to {address} in time"));
    });
}

#[test]
fn a_server_behind_a_socket_file_is_reached() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xds.sock");
        let mut server = ManagementServer::start_behind(&path, Offers::Everything);
        let address = Server::plain(ServerAddress::Unix(path));
        let options = Options {
            headers: HeaderMap::from_iter([(
                http::header::AUTHORIZATION,
                HeaderValue::from_static("Bearer t"),
            )]),
            ..options(address, Variant::StateOfTheWorld)
        };
        let mut client = Running::start(options, |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.world().await;
        assert_eq!(stream.authorization.as_deref(), Some("Bearer t"));
        stream.request().await;
        stream.respond(world(CLUSTER, "v1", "n1", &["a"]));
        client.offer(Verdict::Accepted).await;
        assert_eq!(stream.request().await.version_info, "v1");
    });
}

#[test]
fn a_service_for_secrets_only_is_asked_for_nothing_else() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sds.sock");
        let mut server = ManagementServer::start_behind(&path, Offers::Secrets);
        let address = Server::plain(ServerAddress::Unix(path));
        let options = Options {
            service: Service::Single(SECRET),
            ..options(address, Variant::StateOfTheWorld)
        };
        let mut client = Running::start(options, |s| s.subscribe(SECRET, ["default"]).unwrap());
        let refused = client.subscriptions.subscribe_all(CLUSTER);
        assert_eq!(refused, Err(SubscribeError::OtherService(CLUSTER)));
        let mut stream = server.world().await;
        assert_eq!(stream.request().await.resource_names, ["default"]);
        stream.respond(world(SECRET, "v1", "n1", &["default"]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        assert_eq!(client.held(SECRET), ["default@v1"]);
    });
}

#[test]
fn what_there_is_stays_while_the_server_is_gone() {
    run(async {
        // Nobody else gets a port of this address meanwhile.
        let mut server = ManagementServer::start_at(([127, 0, 7, 1], 0).into()).await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;

        let address = server.address;
        drop(server);
        client.waits_because().await;
        drop(stream);
        assert!(!client.counters.is_connected());
        assert_eq!(client.held(CLUSTER), ["a@1"]);
        // It is asked for when there is a server again.
        client.subscriptions.subscribe(SECRET, ["s"]).unwrap();

        let mut server = ManagementServer::start_at(address).await;
        client.is_connected().await;
        let mut stream = server.delta().await;
        assert_eq!(stream.request().await.initial_resource_versions.len(), 1);
        assert_eq!(stream.request().await.resource_names_subscribe, ["s"]);
        stream.respond(delta(CLUSTER, "n1", &["b@1"], &["a"]));
        client.offer(Verdict::Accepted).await;
        stream.request().await;
        assert_eq!(client.held(CLUSTER), ["b@1"]);
    });
}

#[test]
fn a_verdict_counts_though_the_stream_has_ended_meanwhile() {
    run(async {
        let mut server = ManagementServer::start().await;
        let mut client = Running::start(deltas(&server), |s| s.subscribe_all(CLUSTER).unwrap());
        let mut stream = server.delta().await;
        stream.request().await;
        stream.respond(delta(CLUSTER, "n1", &["a@1"], &[]));
        let (_, tell) = client.asked().await;
        stream.fail(tonic::Status::aborted("bye"));
        tell.send(Verdict::Accepted).unwrap();
        let mut stream = server.delta().await;
        assert_eq!(stream.request().await.initial_resource_versions.len(), 1);
        assert_eq!(client.held(CLUSTER), ["a@1"]);
    });
}
