//! [`PemReader`]: certificates and keys, from files or the configuration itself.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use weir_config::{Config, ConfigError, Pem, Span, Spanned, TlsCertificate};

use super::certificate::CertificateFacts;
use super::{Fingerprint, Shown, provider};
use crate::generation::relative_to;
use crate::modules::small_file;

/// Reads what a `tls` block names, and keeps track of it.
pub(crate) struct PemReader<'a> {
    config: &'a Config,
    folder: &'a Path,
    /// Files that were looked at.
    files: &'a mut Vec<PathBuf>,
    /// Over everything that was read.
    digest: Sha256,
}

/// A certificate with its key, and what it says.
pub(super) struct Identity {
    pub(super) key: CertifiedKey,
    pub(super) facts: Arc<CertificateFacts>,
    pub(super) shown: Shown,
}

impl<'a> PemReader<'a> {
    /// File names are relative to `folder`; `files` gets every file that is read.
    pub(crate) fn new(config: &'a Config, folder: &'a Path, files: &'a mut Vec<PathBuf>) -> Self {
        Self {
            config,
            folder,
            files,
            digest: Sha256::new(),
        }
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> ConfigError {
        self.config.error(span, message.into())
    }

    /// Of everything that was read so far.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.digest.clone().finalize().into()
    }

    /// A certificate with its key. `place` is what it is called if it has no file.
    pub(super) fn identity(
        &mut self,
        pair: &TlsCertificate,
        place: String,
    ) -> Result<Identity, ConfigError> {
        let span = pair.cert.span;
        let chain = self.certificates(&pair.cert)?;
        let key = self.key(&pair.key)?;
        let facts = self.facts(&chain[0], span)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = name(&pair.cert.value);
                let message = format!("this is not the private key of {certificate}");
                self.error(pair.key.span, message)
            }
            error => {
                let key = name(&pair.key.value);
                self.error(pair.key.span, format!("cannot use {key}: {error}"))
            }
        })?;
        let label = match &pair.cert.value {
            Pem::File(path) => path.display().to_string(),
            Pem::Text(_) => place,
        };
        if facts.has_expired() {
            tracing::warn!("the certificate {label} has expired");
        }
        let shown = Shown {
            label,
            facts: Arc::clone(&facts),
        };
        Ok(Identity { key, facts, shown })
    }

    /// The authorities in `pem`.
    pub(super) fn authorities(&mut self, pem: &Spanned<Pem>) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(pem)? {
            roots.add(certificate).map_err(|error| {
                let message = format!("cannot use an authority in {}: {error}", name(pem));
                self.error(pem.span, message)
            })?;
        }
        Ok(roots)
    }

    fn facts(&self, der: &[u8], span: Span) -> Result<Arc<CertificateFacts>, ConfigError> {
        let facts = CertificateFacts::of(der);
        let facts = facts.map_err(|error| self.error(span, format!("not a certificate: {error}")));
        facts.map(Arc::new)
    }

    /// At least one.
    fn certificates(
        &mut self,
        pem: &Spanned<Pem>,
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let text = self.read(pem)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let found = found.map_err(|error| self.malformed(pem, &error))?;
        if found.is_empty() {
            return Err(self.malformed(pem, &"there is no certificate in it"));
        }
        Ok(found)
    }

    fn key(&mut self, pem: &Spanned<Pem>) -> Result<PrivateKeyDer<'static>, ConfigError> {
        let text = self.read(pem)?;
        let encrypted = b"ENCRYPTED PRIVATE KEY";
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound
                if text.windows(encrypted.len()).any(|part| part == encrypted) =>
            {
                let help = "write it without a password: `openssl pkey -in … -out …`";
                self.malformed(pem, &"the key is encrypted").with_help(help)
            }
            rustls::pki_types::pem::Error::NoItemsFound => {
                self.malformed(pem, &"there is no private key in it")
            }
            error => self.malformed(pem, &error),
        })
    }

    fn malformed(&self, pem: &Spanned<Pem>, why: &dyn Display) -> ConfigError {
        self.error(pem.span, format!("cannot use {}: {why}", name(pem)))
    }

    fn read(&mut self, pem: &Spanned<Pem>) -> Result<Vec<u8>, ConfigError> {
        let bytes = match &pem.value {
            Pem::Text(text) => text.clone().into_bytes(),
            Pem::File(path) => {
                let path = self.folder.join(path);
                let read = small_file(&path);
                let shown = path.display().to_string();
                self.files.push(path);
                read.map_err(|error| {
                    self.error(pem.span, format!("cannot read {shown}: {error}"))
                        .with_help(relative_to(self.folder))
                })?
            }
        };
        self.digest.update((bytes.len() as u64).to_be_bytes());
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

/// What a message calls it.
fn name(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Text(_) => "this PEM".to_owned(),
    }
}
