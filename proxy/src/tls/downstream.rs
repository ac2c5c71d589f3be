//! [`DownstreamTls`]: TLS towards the clients of a listener.

use std::io;
use std::sync::Arc;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    Accepted, Acceptor, ClientHello, NoClientAuth, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ServerConfig, SignatureAlgorithm};
use tokio::io::Interest;
use tokio::time::timeout;
use tokio_rustls::StartHandshake;
use weir_config::{Codec, ConfigError, FilterChain, ListenerTls, Span};

use super::certificate::CertificateFacts;
use super::connection::TlsConnection;
use super::facts::TlsFacts;
use super::names::{NameMatcher, is_wildcard_for};
use super::pem::{Identity, PemReader};
use super::verify::NamedClients;
use super::{Fingerprint, Shown, alpn, provider, provider_with, versions};
use crate::limits::{TLS_READ_BYTES, TLS_SESSIONS_MAX};
use crate::socket::SocketStream;

/// What a listener needs to speak TLS.
pub(crate) struct DownstreamTls {
    certificates: Vec<Served>,
    alpn: Vec<Vec<u8>>,
    /// What it was made from.
    options: ListenerTls,
    /// Of all certificates and keys.
    fingerprint: Fingerprint,
    /// Of the authorities that issue certificates to clients.
    authorities: Fingerprint,
}

/// A certificate that clients can get.
struct Served {
    key: Arc<CertifiedKey>,
    facts: Arc<CertificateFacts>,
    shown: Shown,
    /// The names it is for, in lower case.
    names: Vec<String>,
    config: Arc<ServerConfig>,
    /// For a client that knows none of our protocols.
    without_alpn: Arc<ServerConfig>,
}

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the handshake takes too long")]
    Timeout,
    /// The client went away.
    #[error("{0}")]
    Io(io::Error),
    /// It has shown no certificate.
    #[error("no certificate, and one is required")]
    NoCertificate,
    /// Its certificate is for somebody else.
    #[error("the certificate has no name that is wanted")]
    WrongName,
    /// Its certificate is not good.
    #[error("{0}")]
    Certificate(rustls::Error),
    #[error("{0}")]
    Tls(rustls::Error),
}

impl DownstreamTls {
    /// What a filter chain says. What is the same in `previous` is not made again.
    ///
    /// # Errors
    /// What cannot be read or used, with its place in the configuration.
    pub(crate) fn build(
        (chain, span): (&FilterChain, Span),
        tls: &ListenerTls,
        mut reader: PemReader<'_>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, ConfigError> {
        let verifier = verifier(tls, &mut reader)?;
        let authorities = reader.fingerprint();
        let mut identities = Vec::new();
        for (place, pair) in tls.certificates.iter().enumerate() {
            identities.push(reader.identity(pair, format!("certificates[{place}]"))?);
        }
        let alpn = match &tls.alpn {
            Some(names) => alpn(names),
            None if chain.tcp.is_some() => Vec::new(),
            None => default_alpn(chain.http.codec),
        };
        let fingerprint = reader.fingerprint();
        let is_same = |old: &&Arc<Self>| {
            old.options == *tls && old.fingerprint == fingerprint && old.alpn == alpn
        };
        if let Some(same) = previous.filter(is_same) {
            return Ok(Arc::clone(same));
        }
        let refused = |error: rustls::Error| reader.error(span, format!("TLS: {error}"));
        let base = ServerConfig::builder_with_provider(provider_with(tls.versions.ciphers))
            .with_protocol_versions(&versions(tls.versions))
            .map_err(refused)?;
        let ticketer = rustls::crypto::ring::Ticketer::new().map_err(refused)?;
        let sessions = ServerSessionMemoryCache::new(TLS_SESSIONS_MAX);
        let serve = |identity: Identity| {
            let Identity { key, facts, shown } = identity;
            let key = Arc::new(key);
            let mut config = base
                .clone()
                .with_client_cert_verifier(Arc::clone(&verifier))
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&key))));
            config.ticketer = Arc::clone(&ticketer);
            config.session_storage = Arc::clone(&sessions) as _;
            let without_alpn = Arc::new(config.clone());
            config.alpn_protocols.clone_from(&alpn);
            Served {
                key,
                names: facts.server_names(),
                facts,
                shown,
                config: Arc::new(config),
                without_alpn,
            }
        };
        Ok(Arc::new(Self {
            certificates: identities.into_iter().map(serve).collect(),
            alpn,
            options: tls.clone(),
            fingerprint,
            authorities,
        }))
    }

    /// Whether connections that began under `other` can go on here: clients have shown
    /// what is asked of them.
    pub(crate) fn asks_the_same(&self, other: &Self) -> bool {
        self.authorities == other.authorities
            && self.options.client_certificates == other.options.client_certificates
    }

    /// What clients are shown.
    pub(crate) fn shown(&self) -> impl Iterator<Item = &Shown> {
        self.certificates.iter().map(|served| &served.shown)
    }

    /// Agrees on keys with a client.
    pub(crate) async fn accept(
        &self,
        socket: SocketStream,
    ) -> Result<TlsConnection, HandshakeError> {
        // What is moved has room twice in the future that it is moved in.
        let handshake = Box::pin(self.handshake(socket));
        match self.options.handshake_timeout {
            Some(limit) => timeout(limit, handshake)
                .await
                .unwrap_or(Err(HandshakeError::Timeout)),
            None => handshake.await,
        }
    }

    async fn handshake(&self, socket: SocketStream) -> Result<TlsConnection, HandshakeError> {
        let hello = client_hello(socket).await.map_err(HandshakeError::from)?;
        let client = hello.client_hello();
        let server_name = client
            .server_name()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let served = self.choose(&client, &server_name);
        let config = if self.knows_none(&client) {
            &served.without_alpn
        } else {
            &served.config
        };
        let stream = hello.into_stream(Arc::clone(config)).await;
        let stream = stream.map_err(HandshakeError::from)?;
        let local = Some(Arc::clone(&served.facts));
        let facts = TlsFacts::new(stream.get_ref().1, server_name, local);
        // A session that is resumed brings along who the client was.
        let is_stale = |peer: &Arc<CertificateFacts>| facts.resumed && peer.has_expired();
        if facts.peer.as_ref().is_some_and(is_stale) {
            let expired = rustls::CertificateError::Expired.into();
            return Err(HandshakeError::Certificate(expired));
        }
        Ok(TlsConnection::new(stream.into(), facts))
    }

    /// The certificate for a client: one for the name it asks for, or else one with a
    /// wildcard for it, or else the first; of several, one whose kind of key the client
    /// knows, and rather ECDSA than RSA.
    fn choose(&self, client: &ClientHello<'_>, server_name: &str) -> &Served {
        let schemes = client.signature_schemes();
        let usable = |served: &&Served| served.key.key.choose_scheme(schemes).is_some();
        let is_rsa = |served: &&Served| served.key.key.algorithm() == SignatureAlgorithm::RSA;
        let all = || self.certificates.iter();
        let exact = |served: &&Served| served.names.iter().any(|name| name == server_name);
        let wildcard = |served: &&Served| {
            let mut names = served.names.iter();
            names.any(|name| is_wildcard_for(name, server_name))
        };
        let exact = all().filter(exact).filter(usable).min_by_key(is_rsa);
        let wildcard = || all().filter(wildcard).filter(usable).min_by_key(is_rsa);
        // If none will do, the client is told so.
        let any = || all().find(usable).unwrap_or(&self.certificates[0]);
        exact.or_else(wildcard).unwrap_or_else(any)
    }

    /// Whether a client offers protocols, of which there is none here. Envoy goes on as
    /// if it had offered none; rustls would end the connection.
    fn knows_none(&self, client: &ClientHello<'_>) -> bool {
        client.alpn().is_some_and(|mut offered| {
            !offered.any(|name| self.alpn.iter().any(|ours| ours == name))
        })
    }
}

/// Reads what a client says first. That may never come to its end, so rustls is given
/// only what has come: it makes room for 4 KiB more whenever it reads.
async fn client_hello(socket: SocketStream) -> io::Result<StartHandshake<SocketStream>> {
    let mut acceptor = Acceptor::default();
    loop {
        socket.ready(Interest::READABLE).await?;
        match read_hello(&socket, &mut acceptor) {
            Ok(Some(accepted)) => return Ok(StartHandshake::from_parts(accepted, socket)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads once; `None` if that was not all.
fn read_hello(socket: &SocketStream, acceptor: &mut Acceptor) -> io::Result<Option<Accepted>> {
    let mut room = [0; TLS_READ_BYTES];
    let read = socket.try_read(&mut room)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut rest = &room[..read];
    while !rest.is_empty() {
        acceptor.read_tls(&mut rest)?;
    }
    acceptor.accept().map_err(|(error, mut alert)| {
        let mut bytes = Vec::new();
        // To a vector it can always be written. Nothing has been sent before, so there
        // is room for it on the connection.
        if alert.write_all(&mut bytes).is_ok() {
            let _ = socket.try_write(&bytes);
        }
        io::Error::new(io::ErrorKind::InvalidData, error)
    })
}

/// The protocols that a codec can.
fn default_alpn(codec: Codec) -> Vec<Vec<u8>> {
    let names: &[&[u8]] = match codec {
        Codec::Auto => &[b"h2", b"http/1.1"],
        Codec::Http1 => &[b"http/1.1"],
        Codec::Http2 => &[b"h2"],
    };
    names.iter().map(|name| name.to_vec()).collect()
}

/// What looks at the certificates of clients.
fn verifier(
    tls: &ListenerTls,
    reader: &mut PemReader<'_>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let Some(clients) = &tls.client_certificates else {
        return Ok(Arc::new(NoClientAuth));
    };
    let roots = Arc::new(reader.authorities(&clients.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if clients.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let span = clients.ca.span;
    let inner = builder
        .build()
        .map_err(|error| reader.error(span, format!("cannot use the authorities: {error}")))?;
    if clients.match_subject_alt_names.is_empty() {
        return Ok(inner);
    }
    let names = NameMatcher::build(&clients.match_subject_alt_names, span, reader)?;
    Ok(Arc::new(NamedClients { inner, names }))
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|e| e.downcast_ref::<rustls::Error>());
        match tls {
            None => Self::Io(error),
            Some(rustls::Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )) => Self::WrongName,
            Some(error @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(error.clone()),
            Some(error) => Self::Tls(error.clone()),
        }
    }
}

impl std::fmt::Debug for DownstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.shown().collect();
        f.debug_struct("DownstreamTls")
            .field("shown", &shown)
            .finish_non_exhaustive()
    }
}
