//! Operators that name TLS.

/// Whose connection is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsOf {
    /// That of the client.
    Downstream,
    /// That to the endpoint.
    Upstream,
}

/// What is told of an encrypted connection; each variant names its operator, behind
/// `DOWNSTREAM_` or `UPSTREAM_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsField {
    /// `TLS_VERSION`
    Version,
    /// `TLS_CIPHER`
    Cipher,
    /// `LOCAL_SUBJECT`
    LocalSubject,
    /// `PEER_SUBJECT`
    PeerSubject,
    /// `PEER_ISSUER`
    PeerIssuer,
    /// `LOCAL_URI_SAN`, with commas.
    LocalUriSan,
    /// `PEER_URI_SAN`, with commas.
    PeerUriSan,
    /// `LOCAL_DNS_SAN`, with commas.
    LocalDnsSan,
    /// `PEER_DNS_SAN`, with commas.
    PeerDnsSan,
    /// `PEER_SERIAL`
    PeerSerial,
    /// `PEER_FINGERPRINT_256`
    PeerFingerprint256,
}

const FIELDS: [(&str, TlsOf, TlsField); 20] = {
    use TlsField as F;
    use TlsOf::{Downstream, Upstream};
    [
        ("DOWNSTREAM_TLS_VERSION", Downstream, F::Version),
        ("DOWNSTREAM_TLS_CIPHER", Downstream, F::Cipher),
        ("DOWNSTREAM_LOCAL_SUBJECT", Downstream, F::LocalSubject),
        ("DOWNSTREAM_PEER_SUBJECT", Downstream, F::PeerSubject),
        ("DOWNSTREAM_PEER_ISSUER", Downstream, F::PeerIssuer),
        ("DOWNSTREAM_LOCAL_URI_SAN", Downstream, F::LocalUriSan),
        ("DOWNSTREAM_PEER_URI_SAN", Downstream, F::PeerUriSan),
        ("DOWNSTREAM_LOCAL_DNS_SAN", Downstream, F::LocalDnsSan),
        ("DOWNSTREAM_PEER_DNS_SAN", Downstream, F::PeerDnsSan),
        ("DOWNSTREAM_PEER_SERIAL", Downstream, F::PeerSerial),
        (
            "DOWNSTREAM_PEER_FINGERPRINT_256",
            Downstream,
            F::PeerFingerprint256,
        ),
        ("UPSTREAM_TLS_VERSION", Upstream, F::Version),
        ("UPSTREAM_TLS_CIPHER", Upstream, F::Cipher),
        ("UPSTREAM_LOCAL_SUBJECT", Upstream, F::LocalSubject),
        ("UPSTREAM_PEER_SUBJECT", Upstream, F::PeerSubject),
        ("UPSTREAM_PEER_ISSUER", Upstream, F::PeerIssuer),
        ("UPSTREAM_LOCAL_URI_SAN", Upstream, F::LocalUriSan),
        ("UPSTREAM_PEER_URI_SAN", Upstream, F::PeerUriSan),
        ("UPSTREAM_LOCAL_DNS_SAN", Upstream, F::LocalDnsSan),
        ("UPSTREAM_PEER_DNS_SAN", Upstream, F::PeerDnsSan),
    ]
};

pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    FIELDS.iter().map(|(name, ..)| *name)
}

pub(super) fn field(name: &str) -> Option<(TlsOf, TlsField)> {
    let found = FIELDS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, of, field)| (*of, *field))
}
