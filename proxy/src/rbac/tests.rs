//! What policies say of subjects.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_abi::HeaderMap;
use weir_config::Address;

use super::{Rbac, Subject, Verdict};
use crate::stream::ConnectionInfo;
use crate::tls::{CertificateFacts, TlsFacts};

/// The policies of a filter with these rules, in YAML's flow style.
fn rbac(rules: &str) -> Arc<Rbac> {
    let text = format!(
        "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n  - name: rbac\n    \
         rbac: {rules}\n"
    );
    let config = weir_config::parse("weir.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
    let filter = &config.listeners[0].filter_chains[0].native_filters[0];
    let rbac = Rbac::build(&config, filter.rbac().unwrap(), filter.name.span);
    Arc::new(rbac.unwrap_or_else(|error| panic!("{}", error.plain())))
}

/// One policy that allows what has one permission.
fn permits(permission: &str) -> Arc<Rbac> {
    rbac(&format!(
        "{{ rules: {{ policies: {{ p: {{ permissions: [{permission}], principals: [{{ any: true }}] }} }} }} }}"
    ))
}

fn connection() -> ConnectionInfo {
    let address = |address: [u8; 4], port| Address::from(SocketAddr::from((address, port)));
    ConnectionInfo {
        id: 1,
        peer: address([198, 51, 100, 7], 50_000),
        direct: address([10, 1, 2, 3], 50_000),
        local: address([192, 0, 2, 1], 8443),
        is_restored: false,
        original_src: None,
        filter_state: Rc::default(),
        tls: None,
        inspected: None,
    }
}

/// Of a client that has shown a certificate with these names.
fn encrypted(uris: &[&str], dns: &[&str], subject: &str) -> ConnectionInfo {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let peer = CertificateFacts {
        subject: subject.to_owned(),
        issuer: String::new(),
        serial: String::new(),
        uri_sans: names(uris),
        dns_sans: names(dns),
        email_sans: Vec::new(),
        ip_sans: Vec::new(),
        common_name: None,
        sha256: String::new(),
        not_before: 0,
        not_after: 0,
    };
    ConnectionInfo {
        tls: Some(Arc::new(TlsFacts {
            version: "TLSv1.3",
            cipher: "",
            server_name: "web.example".to_owned(),
            alpn: None,
            resumed: false,
            local: None,
            peer: Some(Arc::new(peer)),
        })),
        ..connection()
    }
}

fn judge(rbac: &Arc<Rbac>, connection: &ConnectionInfo, path: &str) -> Verdict {
    let request: HeaderMap = [(":path", path), (":method", "GET")]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let client = SocketAddr::from(([203, 0, 113, 9], 0)).into();
    rbac.judge(&Subject {
        connection,
        client: &client,
        request: Some(&request),
        info: None,
        state: &|key| (key == b"role").then(|| Bytes::from_static(b"10.9.9.9")),
    })
}

fn allows(rbac: &Arc<Rbac>, connection: &ConnectionInfo) -> bool {
    judge(rbac, connection, "/a?b=c").is_allowed()
}

#[test]
fn each_address_is_the_one_that_is_meant() {
    for (condition, expected) in [
        ("{ destination_ip: 192.0.2.0/24 }", true),
        ("{ destination_ip: 198.51.100.0/24 }", false),
        ("{ source_ip: 198.51.100.7 }", true),
        ("{ source_ip: 10.0.0.0/8 }", false),
        ("{ direct_remote_ip: 10.0.0.0/8 }", true),
        ("{ direct_remote_ip: 198.51.100.7 }", false),
        ("{ remote_ip: 203.0.113.0/24 }", true),
        ("{ remote_ip: '::/0' }", false),
        ("{ destination_port: 8443 }", true),
        ("{ destination_port: 8444 }", false),
        (
            "{ destination_port_range: { start: 8000, end: 8443 } }",
            false,
        ),
        (
            "{ destination_port_range: { start: 8443, end: 8444 } }",
            true,
        ),
        (
            "{ or: [{ remote_ip: 1.0.0.0/8 }, { remote_ip: 203.0.113.9 }, { remote_ip: 2.0.0.0/8 }] }",
            true,
        ),
        (
            "{ or: [{ remote_ip: 1.0.0.0/8 }, { source_ip: 203.0.113.9 }] }",
            false,
        ),
    ] {
        assert_eq!(
            allows(&permits(condition), &connection()),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn an_address_of_ipv4_in_ipv6_is_one_of_ipv4() {
    let mapped: SocketAddr = "[::ffff:198.51.100.7]:1".parse().unwrap();
    let connection = ConnectionInfo {
        peer: mapped.into(),
        ..connection()
    };
    assert!(allows(
        &permits("{ source_ip: 198.51.100.0/24 }"),
        &connection
    ));
}

#[test]
fn a_principal_is_a_uri_a_name_or_the_subject() {
    let spiffe = "spiffe://cluster.local/ns/shop/sa/web";
    let shown = encrypted(&["spiffe://other", spiffe], &["web.example"], "CN=web");
    let named = |text: &str| {
        permits(&format!(
            "{{ authenticated: {{ principal_name: {text} }} }}"
        ))
    };
    for (text, expected) in [
        ("{ exact: spiffe://cluster.local/ns/shop/sa/web }", true),
        ("{ prefix: 'spiffe://cluster.local/' }", true),
        ("{ suffix: /sa/web }", true),
        ("{ regex: '.*/ns/shop/.*' }", true),
        ("{ regex: 'ns/shop' }", false),
        ("{ exact: web.example }", true),
        ("{ exact: CN=web }", true),
        ("{ exact: spiffe://cluster.local/ns/shop/sa/webs }", false),
    ] {
        assert_eq!(allows(&named(text), &shown), expected, "{text}");
        assert!(!allows(&named(text), &connection()), "{text}");
    }
    assert!(allows(&permits("{ authenticated: {} }"), &shown));
    assert!(!allows(&permits("{ authenticated: {} }"), &connection()));
    let name = permits("{ requested_server_name: { exact: web.example } }");
    assert!(allows(&name, &shown) && !allows(&name, &connection()));
}

#[test]
fn conditions_stand_in_one_another() {
    for (condition, expected) in [
        ("{ any: true }", true),
        ("{ not: { any: true } }", false),
        (
            "{ and: [{ url_path: { exact: /a } }, { header: { name: ':method', exact: GET } }] }",
            true,
        ),
        (
            "{ and: [{ url_path: { exact: /a } }, { not: { header: { name: ':method' } } }] }",
            false,
        ),
        (
            "{ or: [{ not: { any: true } }, { url_path: { suffix: a } }] }",
            true,
        ),
        ("{ url_path: { contains: b } }", false),
        (
            "{ filter_state: { key: role, string: { prefix: '10.' } } }",
            true,
        ),
        (
            "{ filter_state: { key: role, address: [10.9.0.0/16] } }",
            true,
        ),
        (
            "{ filter_state: { key: other, string: { prefix: '' } } }",
            false,
        ),
        (
            "{ metadata: { filter: f, path: [a], value: { present: true } } }",
            false,
        ),
        (
            "{ metadata: { filter: f, path: [a], value: { present: true }, invert: true } }",
            true,
        ),
        (
            "{ metadata: { source: route, filter: f, path: [a], value: { null: true }, invert: true } }",
            false,
        ),
    ] {
        assert_eq!(
            allows(&permits(condition), &connection()),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn a_policy_needs_a_permission_and_a_principal() {
    let policy = |permission: &str, principal: &str| {
        rbac(&format!(
            "{{ rules: {{ policies: {{ p: {{ permissions: [{permission}], principals: [{principal}] }} }} }} }}"
        ))
    };
    let (yes, no) = ("{ any: true }", "{ not: { any: true } }");
    assert!(allows(&policy(yes, yes), &connection()));
    assert!(!allows(&policy(no, yes), &connection()));
    assert!(!allows(&policy(yes, no), &connection()));
}

#[test]
fn the_first_policy_by_name_is_told() {
    let all = "permissions: [{ any: true }], principals: [{ any: true }]";
    let denies = rbac(&format!(
        "{{ rules: {{ action: deny, policies: {{ z: {{ {all} }}, \"a b\": {{ {all} }} }} }} }}"
    ));
    let verdict = judge(&denies, &connection(), "/");
    assert!(!verdict.is_allowed());
    assert_eq!(verdict.details(), "rbac_access_denied_matched_policy[a b]");
    let none = judge(&rbac("{ rules: {} }"), &connection(), "/");
    assert_eq!(none.details(), "rbac_access_denied_matched_policy[none]");
    assert!(judge(&rbac("{}"), &connection(), "/").is_allowed());
    let shadow = judge(&rbac("{ shadow_rules: {} }"), &connection(), "/");
    assert!(shadow.is_allowed() && !shadow.shadow.unwrap().is_allowed);
}
