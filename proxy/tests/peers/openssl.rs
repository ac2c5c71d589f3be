//! `openssl s_client`.

use std::io::Write;
use std::process::Stdio;

use weir_conformance::tls::Authority;
use weir_conformance::{Upstream, Weir, program};

use super::config;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: edge.example\r\nconnection: close\r\n\r\n";

/// Starts Weir with this `tls`, for which there are the certificates `edge` and
/// `other` and the authority of clients, `clients`, besides its own, `ca`.
fn weir(upstream: &Upstream, clients: &Authority, tls: &str) -> Weir {
    let authority = Authority::new("ca");
    let listener = format!("  tls: {{ {tls} }}\n");
    Weir::start_with(
        &config(&listener, &upstream.address.to_string(), ""),
        |folder| {
            for (name, host) in [("edge", "edge.example"), ("other", "*.other.example")] {
                authority.issue(&[host]).write(folder, name);
            }
            clients.issue(&["client.example"]).write(folder, "client");
            for (name, authority) in [("ca", &authority), ("clients", clients)] {
                std::fs::write(folder.join(format!("{name}.pem")), authority.pem()).unwrap();
            }
        },
    )
}

const EDGE: &str = "certificates: [{ cert: edge.pem, key: edge.key }]";

/// Makes a request on a connection of its own; gives what it tells of the connection
/// and what it got, and whether it takes that for a success.
fn s_client(weir: &Weir, arguments: &str) -> (bool, String) {
    let mut child = program("openssl")
        .args(["s_client", "-ign_eof", "-CAfile", "ca.pem", "-connect"])
        .arg(weir.listener("edge").to_string())
        .args(arguments.split_whitespace())
        .current_dir(weir.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has ended without a connection does not read it.
    let _ = child.stdin.take().unwrap().write_all(REQUEST);
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// What [`s_client`] tells, which must have got a response.
fn served(weir: &Weir, arguments: &str) -> String {
    let (_, text) = s_client(weir, arguments);
    assert!(text.contains("HTTP/1.1 200 OK"), "{arguments}: {text}");
    text
}

/// The same, which must have got none.
fn refused(weir: &Weir, arguments: &str) -> String {
    let (_, text) = s_client(weir, arguments);
    assert!(!text.contains("HTTP/1.1 "), "{arguments}: {text}");
    text
}

#[test]
fn openssl_agrees_on_a_version_and_a_protocol() {
    let (upstream, clients) = (Upstream::echo(), Authority::new("clients"));
    let weir_of = |versions: &str| weir(&upstream, &clients, &format!("{EDGE}{versions}"));
    let weir = weir_of("");
    let verified = "-verify_return_error -servername edge.example -verify_hostname edge.example";
    for (version, told) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let text = served(&weir, &format!("{version} {verified}"));
        assert!(text.contains(&format!("New, {told}, Cipher is ")), "{text}");
        assert!(text.contains("Verify return code: 0 (ok)"), "{text}");
    }
    // Of the versions that Weir never speaks, with all that openssl still has.
    let old = refused(&weir, "-tls1_1 -cipher DEFAULT@SECLEVEL=0");
    assert!(old.contains("SSL alert number"), "{old}");
    for (versions, refuses, speaks) in [
        (", min_version: 1.3", "-tls1_2", "-tls1_3"),
        (", max_version: 1.2", "-tls1_3", "-tls1_2"),
    ] {
        let weir = weir_of(versions);
        let text = refused(&weir, refuses);
        assert!(text.contains("alert protocol version"), "{text}");
        served(&weir, speaks);
    }
    let told = served(&weir, "-alpn http/1.1");
    assert!(told.contains("ALPN protocol: http/1.1"), "{told}");
    let told = refused(&weir, "-alpn h2,http/1.1");
    assert!(told.contains("ALPN protocol: h2"), "{told}");
    let told = served(&weir, "-alpn unknown");
    assert!(told.contains("No ALPN negotiated"), "{told}");
}

#[test]
fn openssl_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let (upstream, clients) = (Upstream::echo(), Authority::new("clients"));
    let both =
        "certificates: [{ cert: edge.pem, key: edge.key }, { cert: other.pem, key: other.key }]";
    let weir = weir(&upstream, &clients, both);
    for (name, shown) in [
        ("-servername edge.example", "edge.example"),
        ("-servername a.other.example", "*.other.example"),
        ("-servername none.example", "edge.example"),
        ("-noservername", "edge.example"),
    ] {
        let text = served(&weir, name);
        assert!(
            text.contains(&format!("subject=O = Tests, CN = {shown}\n")),
            "{name}: {text}"
        );
    }
}

#[test]
fn openssl_has_to_show_a_certificate_that_is_good() {
    let (upstream, clients) = (Upstream::echo(), Authority::new("clients"));
    let asking = format!("{EDGE}, client_certificates: {{ ca: clients.pem }}");
    let weir = weir(&upstream, &clients, &asking);
    for version in ["-tls1_2", "-tls1_3"] {
        let good = format!("{version} -cert client.pem -key client.key");
        let text = served(&weir, &good);
        assert!(
            text.contains("Acceptable client certificate CA names\nCN = clients\n"),
            "{text}"
        );
        let none = refused(&weir, version);
        assert!(
            none.contains("alert certificate required"),
            "{version}: {none}"
        );
        // Of another authority.
        let wrong = refused(&weir, &format!("{version} -cert edge.pem -key edge.key"));
        assert!(wrong.contains("alert unknown ca"), "{version}: {wrong}");
    }
    weir.eventually_metric("envoy_listener_ssl_fail_verify_no_cert", 2);
    weir.eventually_metric("envoy_listener_ssl_fail_verify_error", 2);
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn openssl_goes_on_with_its_session() {
    let (upstream, clients) = (Upstream::echo(), Authority::new("clients"));
    let weir = weir(&upstream, &clients, EDGE);
    for (reused, version) in (1..).zip(["-tls1_2", "-tls1_3"]) {
        let first = served(&weir, &format!("{version} -sess_out session"));
        assert!(first.contains("\nNew, TLSv"), "{first}");
        let second = served(&weir, &format!("{version} -sess_in session"));
        assert!(second.contains("\nReused, TLSv"), "{version}: {second}");
        assert_eq!(weir.metric("envoy_listener_ssl_session_reused"), reused);
    }
}
