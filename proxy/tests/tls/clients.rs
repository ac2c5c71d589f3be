//! Certificates of clients: who is let in by them, and who is told.

use rustls::version::{TLS12, TLS13};
use weir_conformance::tls::{Authority, Identity};
use weir_conformance::{Client, Tunnel, Upstream, Weir, eventually};

use super::config;

/// A listener that asks for certificates of `clients`, with these further keys.
fn asking(upstream: &Upstream, authority: &Authority, clients: &Authority, more: &str) -> Weir {
    let tls = format!(
        "{{ certificates: [{{ cert: edge.pem, key: edge.key }}], \
         client_certificates: {{ ca: clients.pem{more} }} }}"
    );
    Weir::start_with(&config(upstream, &tls, ""), |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("clients.pem"), clients.pem()).unwrap();
    })
}

/// Whether a client that shows `identity` is served.
fn is_served(weir: &Weir, authority: &Authority, identity: Option<&Identity>) -> bool {
    // With TLS 1.3, a client hears of its refusal when it reads.
    let served = [&TLS12, &TLS13].map(|version| {
        let client = authority.client_of(&[version], identity);
        let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", client);
        let mut client = Client::connect(tunnel.address);
        let sent = client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        sent.and_then(|()| client.try_response(false)).is_ok()
    });
    assert_eq!(served[0], served[1]);
    served[0]
}

#[test]
fn a_client_shows_who_it_is() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let clients = Authority::new("clients");
    let client = clients.issue(&["a.clients.example", "spiffe://example/a"]);
    let stranger = authority.issue(&["a.clients.example"]);
    let expired = clients.issue_with(&["a.clients.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
    });

    let weir = asking(&upstream, &authority, &clients, "");
    assert!(is_served(&weir, &authority, Some(&client)));
    assert!(!is_served(&weir, &authority, None));
    weir.eventually_metric("envoy_listener_ssl_fail_verify_no_cert", 2);
    assert!(!is_served(&weir, &authority, Some(&stranger)));
    assert!(!is_served(&weir, &authority, Some(&expired)));
    weir.eventually_metric("envoy_listener_ssl_fail_verify_error", 4);
    assert_eq!(weir.metric("envoy_listener_ssl_handshake"), 2);
    assert_eq!(weir.metric("envoy_listener_ssl_no_certificate"), 0);

    let weir = asking(&upstream, &authority, &clients, ", required: false");
    assert!(is_served(&weir, &authority, Some(&client)));
    assert!(is_served(&weir, &authority, None));
    assert!(!is_served(&weir, &authority, Some(&stranger)));
    assert_eq!(weir.metric("envoy_listener_ssl_no_certificate"), 2);
}

#[test]
fn a_client_has_one_of_the_names_that_are_wanted() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let client = authority.issue(&["*.clients.example", "spiffe://example/a", "192.0.2.1"]);
    for (names, served) in [
        ("[{ exact: a.clients.example }]", true),
        ("[{ exact: a.b.clients.example }]", false),
        ("[{ san_type: uri, exact: a.clients.example }]", false),
        (
            "[{ exact: no }, { san_type: uri, prefix: 'spiffe://example/' }]",
            true,
        ),
        ("[{ san_type: dns, prefix: 'spiffe://example/' }]", false),
        ("[{ san_type: ip_address, exact: 192.0.2.1 }]", true),
        ("[{ suffix: .CLIENTS.example }]", false),
        ("[{ suffix: .CLIENTS.example, ignore_case: true }]", true),
        ("[{ regex: 'spiffe://[a-z]+/.' }]", true),
        ("[{ regex: 'spiffe://[a-z]+' }]", false),
        ("[{ contains: clients }]", true),
    ] {
        let more = format!(", match_subject_alt_names: {names}");
        let weir = asking(&upstream, &authority, &authority, &more);
        assert_eq!(
            is_served(&weir, &authority, Some(&client)),
            served,
            "{names}"
        );
        let refused = if served { 0 } else { 2 };
        weir.eventually_metric("envoy_listener_ssl_fail_verify_san", refused);
    }
}

#[test]
fn clients_that_were_asked_for_less_are_not_served_for_ever() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let clients = Authority::new("clients");
    let weir = asking(&upstream, &authority, &clients, ", required: false");
    let tunnel = Tunnel::encrypt(
        weir.listener("edge"),
        "edge.example",
        authority.client(None),
    );
    let mut client = Client::connect(tunnel.address);
    assert_eq!(client.get("/").status, 200);
    let config = std::fs::read_to_string(weir.path("weir.yaml")).unwrap();
    weir.reload_with(&config.replace("required: false", "required: true"));
    // It is told with the answer to what it asks last.
    let last = client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    if last.is_ok()
        && let Ok(response) = client.try_response(false)
    {
        assert_eq!(response.header("connection"), Some("close"));
    }
    assert!(client.is_closed());
}

#[test]
fn the_access_log_tells_of_clients() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let client = authority.issue(&["a.example", "b.example", "spiffe://example/a"]);
    let tls = "{ certificates: [{ cert: edge.pem, key: edge.key }], \
               client_certificates: { ca: ca.pem } }";
    let operators = [
        "REQUESTED_SERVER_NAME",
        "DOWNSTREAM_TLS_VERSION",
        "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_LOCAL_SUBJECT",
        "DOWNSTREAM_PEER_SUBJECT",
        "DOWNSTREAM_PEER_ISSUER",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_PEER_DNS_SAN",
        "DOWNSTREAM_LOCAL_URI_SAN",
        "UPSTREAM_TLS_VERSION",
    ];
    let format = operators.map(|name| format!("%{name}%")).join(" | ");
    let config = config(&upstream, tls, "").replace(
        "  routes:",
        &format!("  access_log: {{ path: stdout, format: \"{format}\\n\" }}\n  routes:"),
    );
    let weir = Weir::start_with(&config, |folder| {
        authority.issue(&["edge.example"]).write(folder, "edge");
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    });
    let config = authority.client_of(&[&TLS12], Some(&client));
    let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", config);
    assert_eq!(Client::connect(tunnel.address).get("/").status, 200);
    let line = eventually("the line of the access log", || {
        let line = weir.stdout();
        line.ends_with('\n').then_some(line)
    });
    let told: Vec<&str> = line.trim_end().split(" | ").collect();
    assert_eq!(
        told,
        [
            "edge.example",
            "TLSv1.2",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "CN=edge.example,O=Tests",
            "CN=a.example,O=Tests",
            "CN=ca",
            "spiffe://example/a",
            "a.example,b.example",
            "-",
            "-",
        ]
    );
}

#[test]
fn endpoints_are_told_who_the_client_is() {
    let (authority, upstream) = (Authority::new("ca"), Upstream::echo());
    let client = authority.issue(&["a.example", "spiffe://example/a"]);
    let forged = [("x-forwarded-client-cert", "Hash=0")];
    for (way, known, anonymous) in [
        ("sanitize", None, None),
        ("forward_only", Some("Hash=0"), None),
        (
            "append_forward",
            Some("Hash=0,By=spiffe://example/edge;Hash=…"),
            None,
        ),
        (
            "sanitize_set",
            Some("By=spiffe://example/edge;Hash=…"),
            None,
        ),
        ("always_forward_only", Some("Hash=0"), Some("Hash=0")),
    ] {
        let tls = "{ certificates: [{ cert: edge.pem, key: edge.key }], \
                   client_certificates: { ca: ca.pem, required: false } }";
        let http = format!(
            "  http: {{ forward_client_cert_details: {way}, \
             set_current_client_cert_details: [subject, uri, dns] }}\n  routes:"
        );
        let config = config(&upstream, tls, "").replace("  routes:", &http);
        let weir = Weir::start_with(&config, |folder| {
            let names = ["edge.example", "spiffe://example/edge"];
            authority.issue(&names).write(folder, "edge");
            std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        });
        let told = |identity| {
            let config = authority.client(identity);
            let tunnel = Tunnel::encrypt(weir.listener("edge"), "edge.example", config);
            let text = Client::connect(tunnel.address)
                .get_with("/", &forged)
                .text();
            let mut lines = text.lines();
            let told = lines.find_map(|l| l.strip_prefix("x-forwarded-client-cert: "));
            told.map(str::to_owned)
        };
        let digest = {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(&client.der);
            digest
                .iter()
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        };
        let details = format!(
            "Hash={digest};Subject=\"CN=a.example,O=Tests\";URI=spiffe://example/a;DNS=a.example"
        );
        let known = known.map(|known| known.replace("Hash=…", &details));
        assert_eq!(told(Some(&client)), known, "{way}");
        assert_eq!(told(None).as_deref(), anonymous, "{way}");
    }
}
