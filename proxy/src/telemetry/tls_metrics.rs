//! Handshakes, under Envoy's names.

use super::cell::Counter;
use super::family::{self as f, Family};
use super::page::Page;
use crate::tls::{ConnectErrorKind, HandshakeError, Shown, TlsFacts};

/// Versions of TLS, as [`TlsFacts`] names them.
const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// The handshakes of a listener or cluster on one worker.
#[derive(Debug, Default)]
pub(crate) struct TlsMetrics {
    /// 1 once it speaks TLS: before, it shows nothing.
    spoken: Counter,
    handshakes: Counter,
    resumed: Counter,
    versions: [Counter; VERSIONS.len()],
    /// Without a certificate of the other side.
    anonymous: Counter,
    errors: Counter,
    missing: Counter,
    bad: Counter,
    misnamed: Counter,
    timeouts: Counter,
}

/// The families of a listener, or of a cluster.
struct Families {
    handshakes: &'static Family,
    resumed: &'static Family,
    versions: &'static Family,
    anonymous: &'static Family,
    errors: &'static Family,
    missing: &'static Family,
    bad: &'static Family,
    misnamed: &'static Family,
}

static LISTENER: Families = Families {
    handshakes: &f::LISTENER_SSL_HANDSHAKE,
    resumed: &f::LISTENER_SSL_SESSION_REUSED,
    versions: &f::LISTENER_SSL_VERSIONS,
    anonymous: &f::LISTENER_SSL_NO_CERTIFICATE,
    errors: &f::LISTENER_SSL_CONNECTION_ERROR,
    missing: &f::LISTENER_SSL_FAIL_VERIFY_NO_CERT,
    bad: &f::LISTENER_SSL_FAIL_VERIFY_ERROR,
    misnamed: &f::LISTENER_SSL_FAIL_VERIFY_SAN,
};

static CLUSTER: Families = Families {
    handshakes: &f::CLUSTER_SSL_HANDSHAKE,
    resumed: &f::CLUSTER_SSL_SESSION_REUSED,
    versions: &f::CLUSTER_SSL_VERSIONS,
    anonymous: &f::CLUSTER_SSL_NO_CERTIFICATE,
    errors: &f::CLUSTER_SSL_CONNECTION_ERROR,
    missing: &f::CLUSTER_SSL_FAIL_VERIFY_NO_CERT,
    bad: &f::CLUSTER_SSL_FAIL_VERIFY_ERROR,
    misnamed: &f::CLUSTER_SSL_FAIL_VERIFY_SAN,
};

impl TlsMetrics {
    /// It speaks TLS from now on.
    pub(crate) fn speak(&self) {
        self.spoken.set(1);
    }

    /// A handshake is over.
    pub(crate) fn agreed(&self, facts: &TlsFacts) {
        self.handshakes.add(1);
        if facts.resumed {
            self.resumed.add(1);
        }
        if facts.peer.is_none() {
            self.anonymous.add(1);
        }
        let version = VERSIONS.iter().position(|name| *name == facts.version);
        if let Some(counter) = version.and_then(|place| self.versions.get(place)) {
            counter.add(1);
        }
    }

    /// A client has not come so far.
    pub(crate) fn refused(&self, error: &HandshakeError) {
        match error {
            HandshakeError::Timeout => self.timeouts.add(1),
            HandshakeError::NoCertificate => self.missing.add(1),
            HandshakeError::WrongName => self.misnamed.add(1),
            HandshakeError::Certificate(_) => self.bad.add(1),
            HandshakeError::Tls(_) => self.errors.add(1),
            // One that says nothing, such as a check of whether the port is open.
            HandshakeError::Io(_) => {}
        }
    }

    /// An endpoint has not come so far.
    pub(crate) fn failed(&self, kind: ConnectErrorKind) {
        match kind {
            ConnectErrorKind::WrongName => self.misnamed.add(1),
            ConnectErrorKind::Certificate => self.bad.add(1),
            ConnectErrorKind::Other => self.errors.add(1),
        }
    }

    pub(super) fn show_listener(&self, address: &str, page: &mut Page) {
        self.show(&LISTENER, address, page);
        if self.spoken.get() > 0 {
            page.count(&f::LISTENER_CX_TLS_TIMEOUT, &[address], self.timeouts.get());
        }
    }

    pub(super) fn show_cluster(&self, name: &str, page: &mut Page) {
        self.show(&CLUSTER, name, page);
    }

    fn show(&self, families: &Families, name: &str, page: &mut Page) {
        if self.spoken.get() == 0 {
            return;
        }
        for (family, counter) in [
            (families.handshakes, &self.handshakes),
            (families.resumed, &self.resumed),
            (families.anonymous, &self.anonymous),
            (families.errors, &self.errors),
            (families.missing, &self.missing),
            (families.bad, &self.bad),
            (families.misnamed, &self.misnamed),
        ] {
            page.count(family, &[name], counter.get());
        }
        for (version, counter) in VERSIONS.iter().zip(&self.versions) {
            page.count(families.versions, &[version, name], counter.get());
        }
    }
}

/// A certificate that is shown to others, and by whom.
#[derive(Debug)]
pub(crate) struct ShownBy {
    /// `listener` or `cluster`.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) shown: Shown,
}

/// When certificates end.
pub(super) fn show_certificates(certificates: &[ShownBy], page: &mut Page) {
    for (place, by) in certificates.iter().enumerate() {
        let same = |other: &ShownBy| {
            (other.kind, &other.name, &other.shown.label) == (by.kind, &by.name, &by.shown.label)
        };
        // What is shown twice would add up.
        if certificates[..place].iter().any(same) {
            continue;
        }
        let labels = [by.kind, &by.name, &by.shown.label];
        let not_after = u64::try_from(by.shown.facts.not_after).unwrap_or(0);
        page.level(&f::CERTIFICATE_EXPIRATION, &labels, not_after);
    }
}
