//! Tunnels that encrypt and decrypt, so that clients and upstreams that know no TLS
//! can be peers that do.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::eventually;

/// What a handshake has come to.
#[derive(Debug, Clone)]
pub struct Agreed {
    pub version: ProtocolVersion,
    pub alpn: Option<String>,
    pub resumed: bool,
    /// What the client has asked for, if this is the server.
    pub server_name: Option<String>,
    /// The other side's certificate.
    pub peer: Option<CertificateDer<'static>>,
}

impl Agreed {
    fn of(connection: &CommonState, server_name: Option<String>) -> Self {
        let peer = connection.peer_certificates().and_then(<[_]>::first);
        let alpn = connection.alpn_protocol();
        Self {
            version: connection.protocol_version().unwrap(),
            alpn: alpn.map(|name| String::from_utf8(name.to_vec()).unwrap()),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name,
            peer: peer.map(|peer| peer.clone().into_owned()),
        }
    }
}

type Handshakes = Arc<Mutex<Vec<Result<Agreed, String>>>>;

/// A running tunnel; it ends with the process.
pub struct Tunnel {
    /// Where it takes connections.
    pub address: SocketAddr,
    handshakes: Handshakes,
}

impl Tunnel {
    /// Encrypts what it takes, and passes it on to `target`, which it asks for `name`.
    pub fn encrypt(target: SocketAddr, name: &str, config: ClientConfig) -> Self {
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        Self::start(move |plain, handshakes| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let tcp = TcpStream::connect(target).await?;
                tcp.set_nodelay(true)?;
                match connector.connect(name, tcp).await {
                    Ok(tls) => {
                        note(&handshakes, Ok(Agreed::of(tls.get_ref().1, None)));
                        pass(plain, tls).await
                    }
                    Err(error) => {
                        note(&handshakes, Err(error.to_string()));
                        Err(error)
                    }
                }
            }
        })
    }

    /// Decrypts what it takes, and passes it on to `target`.
    pub fn decrypt(target: SocketAddr, config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start(move |tcp, handshakes| {
            let acceptor = acceptor.clone();
            async move {
                match acceptor.accept(tcp).await {
                    Ok(tls) => {
                        let connection = tls.get_ref().1;
                        let name = connection.server_name().map(str::to_owned);
                        note(&handshakes, Ok(Agreed::of(connection, name)));
                        let plain = TcpStream::connect(target).await?;
                        plain.set_nodelay(true)?;
                        pass(plain, tls).await
                    }
                    Err(error) => {
                        note(&handshakes, Err(error.to_string()));
                        Err(error)
                    }
                }
            }
        })
    }

    fn start<F>(serve: impl Fn(TcpStream, Handshakes) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let tunnel = Self {
            address: listener.local_addr().unwrap(),
            handshakes: Handshakes::default(),
        };
        let handshakes = Arc::clone(&tunnel.handshakes);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((connection, _)) = listener.accept().await {
                    connection.set_nodelay(true).unwrap();
                    // A connection that breaks is the test's to notice.
                    tokio::spawn(serve(connection, Arc::clone(&handshakes)));
                }
            });
        });
        tunnel
    }

    /// What every handshake has come to so far.
    pub fn handshakes(&self) -> Vec<Result<Agreed, String>> {
        let handshakes = self.handshakes.lock();
        handshakes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the last of `count` handshakes has come to, when there are so many.
    pub fn handshake(&self, count: usize) -> Result<Agreed, String> {
        eventually("the handshake is over", || {
            self.handshakes().get(count - 1).cloned()
        })
    }

    /// What was agreed in the first handshake.
    pub fn agreed(&self) -> Agreed {
        self.handshake(1).unwrap()
    }
}

fn note(handshakes: &Handshakes, result: Result<Agreed, String>) {
    let mut handshakes = handshakes.lock().unwrap_or_else(PoisonError::into_inner);
    handshakes.push(result);
}

async fn pass(
    mut plain: TcpStream,
    mut tls: impl AsyncRead + AsyncWrite + Unpin,
) -> std::io::Result<()> {
    copy_bidirectional(&mut plain, &mut tls).await.map(drop)
}
