//! [`UpstreamTls`]: TLS towards the endpoints of a cluster.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use weir_config::{Cluster, ConfigError, Verification};

use super::certificate::CertificateFacts;
use super::connection::TlsConnection;
use super::facts::TlsFacts;
use super::mesh;
use super::names::NameMatcher;
use super::pem::PemReader;
use super::verify::Endpoints;
use super::{Fingerprint, Shown, alpn, provider, provider_with, versions};
use crate::socket::SocketStream;

/// What a cluster needs to speak TLS.
pub(crate) struct UpstreamTls {
    /// No other has it, also none that was there before.
    pub(crate) id: u64,
    /// For messages of HTTP/1, and of HTTP/2.
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// For bytes of which nothing is known.
    raw: Arc<ClientConfig>,
    /// The name that endpoints are asked for, in place of their own.
    sni: Option<ServerName<'static>>,
    /// The certificate of this side.
    local: Option<(Arc<CertificateFacts>, Shown)>,
    /// What it was made from.
    options: weir_config::UpstreamTls,
    /// Of all certificates and keys.
    fingerprint: Fingerprint,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Messages of HTTP/1.
    Http1,
    /// Messages of HTTP/2.
    Http2,
    /// Bytes of which nothing is known.
    Raw,
}

/// Why there is no encrypted connection to an endpoint.
#[derive(Debug)]
pub(crate) struct ConnectError {
    /// In the form that Envoy has for it.
    pub(crate) reason: String,
    pub(crate) kind: ConnectErrorKind,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectErrorKind {
    /// The endpoint's certificate is for somebody else.
    WrongName,
    /// Its certificate is not good.
    Certificate,
    Other,
}

impl UpstreamTls {
    /// What `cluster` says, if it has TLS. What is the same in `previous` is not made
    /// again.
    ///
    /// # Errors
    /// What cannot be read or used, with its place in the configuration.
    pub(crate) fn build(
        cluster: &Cluster,
        tls: &weir_config::UpstreamTls,
        mut reader: PemReader<'_>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, ConfigError> {
        let span = cluster.name.span;
        let given = tls.sni.as_ref().filter(|sni| !sni.is_empty());
        let sni = given.map(|sni| {
            ServerName::try_from(sni.value.clone()).map_err(|_| {
                let message = format!("`{}` is neither a name nor an address", sni.value);
                reader.error(sni.span, message)
            })
        });
        let sni = sni.transpose()?;
        let identity = tls.certificate.as_ref();
        let identity = identity.map(|pair| reader.identity(pair, "cert".to_owned()));
        let identity = identity.transpose()?;
        let verifier = verifier(cluster, tls, &mut reader)?;
        let fingerprint = reader.fingerprint();
        let is_same = |old: &&Arc<Self>| old.options == *tls && old.fingerprint == fingerprint;
        if let Some(same) = previous.filter(is_same) {
            return Ok(Arc::clone(same));
        }
        let refused = |error: rustls::Error| reader.error(span, format!("TLS: {error}"));
        let builder = ClientConfig::builder_with_provider(provider_with(tls.versions.ciphers))
            .with_protocol_versions(&versions(tls.versions))
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let (mut raw, local) = match identity {
            Some(identity) => {
                let key = Arc::new(identity.key);
                let key = Arc::new(rustls::sign::SingleCertAndKey::from(key));
                let local = (identity.facts, identity.shown);
                (builder.with_client_cert_resolver(key), Some(local))
            }
            None => (builder.with_no_client_auth(), None),
        };
        raw.enable_sni = tls.sni.as_ref().is_none_or(|sni| !sni.is_empty());
        let named = tls.alpn.as_deref().map(alpn);
        let with = |protocols: Option<&[u8]>| {
            let mut config = raw.clone();
            config.alpn_protocols = mesh::offered(named.as_deref(), protocols);
            // Sessions of the one are none of the other: they have agreed on a protocol.
            config.resumption = rustls::client::Resumption::default();
            Arc::new(config)
        };
        Ok(Arc::new(Self {
            id: next_id(),
            http1: with(Some(b"http/1.1")),
            http2: with(Some(b"h2")),
            raw: with(None),
            sni,
            local,
            options: tls.clone(),
            fingerprint,
        }))
    }

    /// How HTTP/2 is encrypted.
    pub(crate) fn client_config(&self) -> ClientConfig {
        (*self.http2).clone()
    }

    /// The name that every endpoint is asked for, if there is one.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.sni.as_ref().map(|sni| sni.to_str().into_owned())
    }

    /// What is shown to endpoints.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.local.iter().map(|(_, shown)| shown)
    }

    /// The name that an endpoint is asked for, and that its certificate must be for.
    pub(crate) fn name(&self, host: Option<&str>, address: Option<IpAddr>) -> ServerName<'static> {
        let host = || ServerName::try_from(host?.to_owned()).ok();
        let name = self.sni.clone().or_else(host);
        // A Unix socket without a name has none that is looked at: see `Verification`.
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        name.unwrap_or_else(|| ServerName::IpAddress(address.into()))
    }

    /// Agrees on keys with an endpoint.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) async fn connect(
        &self,
        socket: SocketStream,
        name: ServerName<'static>,
        purpose: Purpose,
    ) -> Result<TlsConnection, ConnectError> {
        let config = match purpose {
            Purpose::Http1 => &self.http1,
            Purpose::Http2 => &self.http2,
            Purpose::Raw => &self.raw,
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector.connect(name, socket).await;
        let stream = stream.map_err(|error| ConnectError::of(&error))?;
        let local = self.local.as_ref().map(|(facts, _)| Arc::clone(facts));
        let facts = TlsFacts::new(stream.get_ref().1, String::new(), local);
        Ok(TlsConnection::new(stream.into(), facts))
    }
}

impl ConnectError {
    /// With these words.
    pub(crate) fn new(reason: &str, kind: ConnectErrorKind) -> Self {
        Self {
            reason: format!("TLS_error:|{reason}:TLS_error_end"),
            kind,
        }
    }

    fn of(error: &io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        let kind = match tls {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure
                | CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. },
            )) => ConnectErrorKind::WrongName,
            Some(rustls::Error::InvalidCertificate(_)) => ConnectErrorKind::Certificate,
            _ => ConnectErrorKind::Other,
        };
        Self::new(&error.to_string(), kind)
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What looks at the certificates of endpoints.
fn verifier(
    cluster: &Cluster,
    tls: &weir_config::UpstreamTls,
    reader: &mut PemReader<'_>,
) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
    let span = tls.ca.as_ref().map_or(cluster.name.span, |ca| ca.span);
    let roots = match (&tls.ca, tls.verify) {
        (_, Verification::None) => None,
        (Some(ca), _) => Some(reader.authorities(ca)?),
        (None, _) => Some(RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        }),
    };
    let roots = roots.map(Arc::new);
    let names = match tls.match_subject_alt_names.as_slice() {
        [] => None,
        names => Some(NameMatcher::build(names, span, reader)?),
    };
    if let (Some(roots), Verification::Full, None) = (&roots, tls.verify, &names) {
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider());
        let verifier = builder
            .build()
            .map_err(|error| reader.error(span, format!("cannot use the authorities: {error}")))?;
        return Ok(verifier);
    }
    Ok(Arc::new(Endpoints {
        provider: provider(),
        roots,
        names,
    }))
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
