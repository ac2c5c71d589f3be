//! TLS, towards clients ([`DownstreamTls`]) and endpoints ([`UpstreamTls`]).
//!
//! Both are made of what the configuration names, once a generation, and shared by
//! all workers. What is the same in the next generation stays the same object, so
//! that sessions can be resumed and pooled connections used after a reload.

mod certificate;
mod connection;
mod downstream;
mod facts;
mod names;
mod pem;
mod upstream;
mod verify;

use std::sync::Arc;

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use weir_config::{TlsVersion, TlsVersions};

pub(crate) use self::certificate::CertificateFacts;
pub(crate) use self::connection::TlsConnection;
pub(crate) use self::downstream::{DownstreamTls, HandshakeError};
pub(crate) use self::facts::TlsFacts;
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
