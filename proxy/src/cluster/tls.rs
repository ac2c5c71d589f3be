//! Encrypted connections to endpoints.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_config::UpstreamProtocol;

use super::{Cluster, Endpoint};
use crate::http::{Connection, UpstreamError};
use crate::tls::{ConnectError, ConnectErrorKind, Purpose, TlsConnection, UpstreamTls};

/// What an endpoint is to be, for its connections to be encrypted.
pub(super) struct EndpointTls {
    tls: Arc<UpstreamTls>,
    pub(super) name: ServerName<'static>,
}

impl EndpointTls {
    pub(super) fn new(tls: &Arc<UpstreamTls>, host: Option<&str>, address: SocketAddr) -> Self {
        Self {
            tls: Arc::clone(tls),
            name: tls.name(host, address.ip()),
        }
    }

    /// Agrees on keys with the endpoint.
    async fn connect(
        &self,
        cluster: &Cluster,
        tcp: TcpStream,
        purpose: Purpose,
    ) -> Result<TlsConnection, UpstreamError> {
        let connected = self.tls.connect(tcp, self.name.clone(), purpose).await;
        let connected = connected.and_then(|connection| {
            let chosen = connection.facts().alpn.as_deref();
            let fits = match cluster.spec.protocol {
                UpstreamProtocol::Http1 => chosen != Some(b"h2"),
                UpstreamProtocol::Http2 => chosen != Some(b"http/1.1"),
            };
            if fits || purpose == Purpose::Raw {
                return Ok(connection);
            }
            let reason = "the endpoint has chosen a protocol that the cluster does not speak";
            Err(ConnectError::new(reason, ConnectErrorKind::Other))
        });
        let metrics = &cluster.metrics.tls;
        match connected {
            Ok(connection) => {
                metrics.agreed(connection.facts());
                Ok(connection)
            }
            Err(error) => {
                metrics.failed(error.kind);
                Err(UpstreamError::Connect(error.reason))
            }
        }
    }
}

impl Endpoint {
    /// A new connection, encrypted if the cluster's are, within its time.
    pub(super) async fn dial(
        &self,
        cluster: &Cluster,
        purpose: Purpose,
    ) -> Result<Connection, UpstreamError> {
        let dialled = async {
            let tcp = TcpStream::connect(self.address).await;
            let tcp = tcp.map_err(|error| UpstreamError::Connect(cause(&error)))?;
            if let Err(error) = tcp.set_nodelay(true) {
                tracing::debug!("TCP_NODELAY: {error}");
            }
            if let Some(keepalive) = &cluster.spec.tcp_keepalive {
                let keepalive = socket2::TcpKeepalive::new()
                    .with_time(keepalive.idle)
                    .with_interval(keepalive.interval)
                    .with_retries(u32::try_from(keepalive.count).unwrap_or(u32::MAX));
                let socket = socket2::SockRef::from(&tcp);
                if let Err(error) = socket.set_tcp_keepalive(&keepalive) {
                    tracing::debug!("SO_KEEPALIVE: {error}");
                }
            }
            match &self.tls {
                Some(tls) => tls
                    .connect(cluster, tcp, purpose)
                    .await
                    .map(Connection::from),
                None => Ok(Connection::from(tcp)),
            }
        };
        let dialled = timeout(cluster.spec.connect_timeout, dialled).await;
        dialled.unwrap_or(Err(UpstreamError::ConnectTimeout))
    }
}

/// Why there is no connection, in the system's words, as Envoy has them.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => super::pool::REFUSED.to_owned(),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            super::pool::UNREACHABLE.to_owned()
        }
        _ => error.to_string(),
    }
}
