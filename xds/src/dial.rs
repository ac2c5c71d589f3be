//! Connections to a server.

use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::server::{Server, ServerAddress};

/// A connection, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

pub(crate) type Connection = Pin<Box<dyn Io>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody can be reached there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where.
        address: ServerAddress,
        /// What the system says.
        source: io::Error,
    },
    /// There is somebody, who is not trusted, does not trust this proxy or speaks no TLS.
    #[error("no TLS with `{name}` at {address}: {source}")]
    Tls {
        /// Whom the certificate is to be for.
        name: String,
        /// Where.
        address: ServerAddress,
        /// What is wrong.
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to {address} in time")]
    Time {
        /// Where.
        address: ServerAddress,
    },
    /// There is somebody who speaks no HTTP/2.
    #[error("no HTTP/2 with {address}: {why}")]
    Http {
        /// Where.
        address: ServerAddress,
        /// What is wrong.
        why: String,
    },
}

/// Connects to a server.
pub(crate) async fn dial(server: &Server) -> Result<Connection, DialError> {
    let address = &server.address;
    let refused = |source| DialError::Connect {
        address: address.clone(),
        source,
    };
    match address {
        ServerAddress::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port));
            let stream = stream.await.map_err(refused)?;
            // Requests are small, and each is waited for.
            stream.set_nodelay(true).map_err(refused)?;
            encrypt(server, stream).await
        }
        ServerAddress::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(refused)?;
            encrypt(server, stream).await
        }
    }
}

async fn encrypt(
    server: &Server,
    stream: impl Io + Unpin + 'static,
) -> Result<Connection, DialError> {
    let Some(tls) = &server.tls else {
        return Ok(Box::pin(stream));
    };
    let connector = TlsConnector::from(tls.config.clone());
    let encrypted = connector.connect(tls.name.clone(), stream).await;
    let encrypted = encrypted.map_err(|source| DialError::Tls {
        name: tls.name.to_str().into_owned(),
        address: server.address.clone(),
        source,
    })?;
    Ok(Box::pin(encrypted))
}
