//! [`Tls`]: how connections to a server are encrypted.

use std::borrow::Cow;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

/// What TLS agrees on (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

/// How connections to a server are encrypted.
#[derive(Debug, Clone)]
pub struct Tls {
    pub(crate) name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// Certificate and key to show to a server, in PEM.
#[derive(Clone, Copy)]
pub struct ClientIdentity<'a> {
    /// The certificate, followed by those that lead to an authority.
    pub certificates: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// What the certificate is to be for is neither a name nor an address.
    #[error("`{0}` is neither a name nor an address")]
    Name(String),
    /// PEM cannot be read.
    #[error("cannot read {what}: {why}")]
    Pem {
        /// Whose PEM it is.
        what: &'static str,
        /// What is wrong with it.
        why: rustls::pki_types::pem::Error,
    },
    /// There is nothing in a PEM.
    #[error("there is no certificate in {0}")]
    Empty(&'static str),
    /// Certificate, key or authority cannot be used.
    #[error("cannot use {what}: {why}")]
    Unusable {
        /// What cannot be used.
        what: &'static str,
        /// Why.
        why: rustls::Error,
    },
}

const AUTHORITIES: &str = "the authorities for the management server";
const IDENTITY: &str = "the certificate for the management server to see";
const KEY: &str = "the private key of that certificate";

impl Tls {
    /// Connections that are made as `config` says, to a server whose certificate is for
    /// `name`.
    ///
    /// # Errors
    /// `name` is neither a name nor an address.
    pub fn new(name: &str, mut config: ClientConfig) -> Result<Self, TlsError> {
        let parsed = ServerName::try_from(name.to_owned());
        let name = parsed.map_err(|_| TlsError::Name(name.to_owned()))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            name,
            config: Arc::new(config),
        })
    }

    /// Connections to a server whose certificate is for `name` and from one of the
    /// `authorities`, a PEM.
    ///
    /// # Errors
    /// `name` is none, or a PEM cannot be used.
    pub fn trusting(
        name: &str,
        authorities: &[u8],
        identity: Option<ClientIdentity<'_>>,
    ) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(AUTHORITIES, authorities)? {
            let what = AUTHORITIES;
            let added = roots.add(certificate);
            added.map_err(|why| TlsError::Unusable { what, why })?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |why| TlsError::Unusable {
            what: IDENTITY,
            why,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(IDENTITY, identity.certificates)?;
                let key = PrivateKeyDer::from_pem_slice(identity.key);
                let key = key.map_err(|why| TlsError::Pem { what: KEY, why })?;
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(unusable)?
            }
        };
        Self::new(name, config)
    }

    #[cfg(test)]
    pub(crate) fn trusting_nobody() -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    }

    /// What the server is called, as in a URL.
    pub(crate) fn host(&self) -> String {
        match self.name.to_str() {
            Cow::Borrowed(name) => name.to_owned(),
            Cow::Owned(address) if address.contains(':') => format!("[{address}]"),
            Cow::Owned(address) => address,
        }
    }
}

/// At least one.
fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|why| TlsError::Pem { what, why })?;
    if found.is_empty() {
        return Err(TlsError::Empty(what));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told() {
        let told = |name: &str, pem: &[u8]| match Tls::trusting(name, pem, None) {
            Ok(_) => panic!("{name} can be used"),
            Err(error) => error.to_string(),
        };
        let expected = "there is no certificate in the authorities for the management server";
        assert_eq!(told("xds.test", b""), expected);
        let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let broken = told("xds.test", broken);
        assert!(
            broken.starts_with("cannot read the authorities"),
            "{broken}"
        );
    }
}
