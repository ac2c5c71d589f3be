//! [`TlsFacts`]: what was agreed in a handshake.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, CommonState, ProtocolVersion};

use super::certificate::CertificateFacts;

/// What is known of an encrypted connection.
#[derive(Debug)]
pub(crate) struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: &'static str,
    /// In OpenSSL's words.
    pub(crate) cipher: &'static str,
    /// What the client has asked for; empty if nothing.
    pub(crate) server_name: String,
    pub(crate) alpn: Option<Vec<u8>>,
    /// A session of an earlier connection goes on.
    pub(crate) resumed: bool,
    /// The certificate of this side.
    pub(crate) local: Option<Arc<CertificateFacts>>,
    pub(crate) peer: Option<Arc<CertificateFacts>>,
}

impl TlsFacts {
    pub(super) fn new(
        connection: &CommonState,
        server_name: String,
        local: Option<Arc<CertificateFacts>>,
    ) -> Self {
        let peer = connection.peer_certificates().and_then(<[_]>::first);
        let facts = |peer: &CertificateDer<'_>| match CertificateFacts::of(peer) {
            Ok(facts) => Some(Arc::new(facts)),
            Err(error) => {
                tracing::debug!("a peer's certificate: {error}");
                None
            }
        };
        Self {
            version: version(connection.protocol_version()),
            cipher: cipher(
                connection
                    .negotiated_cipher_suite()
                    .map(|suite| suite.suite()),
            ),
            server_name,
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            local,
            peer: peer.and_then(facts),
        }
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    }
}

/// The names that OpenSSL has, and so Envoy.
fn cipher(suite: Option<CipherSuite>) -> &'static str {
    use CipherSuite as S;
    match suite {
        Some(S::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(S::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(S::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => "ECDHE-ECDSA-AES128-GCM-SHA256",
        Some(S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => "ECDHE-ECDSA-AES256-GCM-SHA384",
        Some(S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-ECDSA-CHACHA20-POLY1305",
        Some(S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
        Some(S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
        Some(S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => "ECDHE-RSA-CHACHA20-POLY1305",
        Some(_) | None => "",
    }
}
