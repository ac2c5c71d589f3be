//! TLS, towards clients ([`DownstreamTls`]) and endpoints ([`UpstreamTls`]).
//!
//! Both are made of what the configuration names, once a generation, and shared by
//! all workers. What is the same in the next generation stays the same object, so
//! that sessions can be resumed and pooled connections used after a reload.

mod certificate;
mod connection;
mod downstream;
mod facts;
mod mesh;
mod names;
mod pem;
mod upstream;
mod verify;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedProtocolVersion};
use weir_config::{TlsCipher, TlsCiphers, TlsVersion, TlsVersions};

pub(crate) use self::certificate::CertificateFacts;
pub(crate) use self::connection::TlsConnection;
pub(crate) use self::downstream::{DownstreamTls, HandshakeError};
pub(crate) use self::facts::TlsFacts;
pub(crate) use self::mesh::carried;
pub(crate) use self::pem::PemReader;
pub(crate) use self::upstream::{ConnectError, ConnectErrorKind, Purpose, UpstreamTls};

/// SHA-256 over certificates and keys, as they were read.
type Fingerprint = [u8; 32];

/// A certificate that Weir shows to others, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its file, or its place if there is none.
    pub(crate) label: String,
    pub(crate) facts: Arc<CertificateFacts>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// With these suites of TLS 1.2 only.
fn provider_with(ciphers: TlsCiphers) -> Arc<CryptoProvider> {
    use CipherSuite as S;
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        let known = match suite.suite() {
            S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => TlsCipher::EcdsaAes128,
            S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => TlsCipher::EcdsaAes256,
            S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => TlsCipher::EcdsaChacha20,
            S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => TlsCipher::RsaAes128,
            S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => TlsCipher::RsaAes256,
            S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => TlsCipher::RsaChacha20,
            // Of TLS 1.3.
            _ => return true,
        };
        ciphers.contains(known)
    });
    Arc::new(provider)
}

fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let all = [
        (TlsVersion::V13, &rustls::version::TLS13),
        (TlsVersion::V12, &rustls::version::TLS12),
    ];
    let wanted = all
        .iter()
        .filter(|(version, _)| versions.contains(*version));
    wanted.map(|(_, version)| *version).collect()
}

fn alpn(names: &[String]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.clone().into_bytes()).collect()
}
