//! TLS towards clients.

use std::time::Duration;

use super::{ClientCertificates, TlsCertificate, TlsVersions, alpn};
use crate::defaults::TLS_HANDSHAKE_TIMEOUT;
use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`tls` of a listener",
    keys: &[
        ("certificates", "[{ cert: edge.pem, key: edge.key }]"),
        ("alpn", "[h2, http/1.1]"),
        ("min_version", "1.2"),
        ("max_version", "1.3"),
        ("cipher_suites", "[ECDHE-ECDSA-AES128-GCM-SHA256]"),
        ("client_certificates", "{ ca: clients.pem }"),
        ("handshake_timeout", "15s"),
    ],
    not_yet: &[],
    hints: &[
        (
            "cert",
            "certificates",
            "write `certificates: [{ cert: edge.pem, key: edge.key }]`",
        ),
        (
            "key",
            "certificates",
            "write `certificates: [{ cert: edge.pem, key: edge.key }]`",
        ),
        (
            "ca",
            "client_certificates",
            "write `client_certificates: { ca: clients.pem }`",
        ),
    ],
};

/// `listeners[].tls`: connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// `certificates`: which of them a client gets depends on the name it asks for:
    /// one for that name, or else one with a wildcard for it, or else the first.
    /// Required.
    pub certificates: Vec<Spanned<TlsCertificate>>,
    /// `alpn`: protocols that a client can choose from, the preferred one first; a
    /// client that knows none of them is served as if it had asked for none.
    /// Default: what `http.codec` can, and none with `tcp`.
    pub alpn: Option<Vec<String>>,
    /// `min_version` and `max_version`: `1.2` or `1.3`. Default: both. `cipher_suites`:
    /// those of TLS 1.2 that may be used.
    pub versions: TlsVersions,
    /// `client_certificates`: what clients have to show. Default: nothing.
    pub client_certificates: Option<ClientCertificates>,
    /// `handshake_timeout`: how long a client may take until its connection is
    /// encrypted; 0 is without end. Default: 15s.
    pub handshake_timeout: Option<Duration>,
}

impl ListenerTls {
    /// Everything that has a default has it.
    pub(crate) fn of(certificates: Vec<Spanned<TlsCertificate>>) -> Self {
        Self {
            certificates,
            alpn: None,
            versions: TlsVersions::default(),
            client_certificates: None,
            handshake_timeout: Some(TLS_HANDSHAKE_TIMEOUT),
        }
    }
}

impl FromYaml for ListenerTls {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::of(Vec::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let certificates: Spanned<Vec<_>> = fields.required("certificates");
        if fields.node("certificates").is_some_and(Node::is_empty_list) {
            let problem = Problem::new(certificates.span, "TLS needs at least one certificate");
            let help = "for example `certificates: [{ cert: edge.pem, key: edge.key }]`";
            fields.problems.push(problem.help(help));
        }
        Self {
            alpn: alpn(&mut fields),
            versions: TlsVersions::read(&mut fields),
            client_certificates: fields.optional("client_certificates"),
            handshake_timeout: fields.limit("handshake_timeout", Some(TLS_HANDSHAKE_TIMEOUT)),
            ..Self::of(certificates.value)
        }
    }
}
