//! Encrypted connections to endpoints.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use weir_config::Address;

use super::Cluster;
use crate::http::UpstreamError;
use crate::socket::SocketStream;
use crate::tls::{ConnectError, ConnectErrorKind, Purpose, TlsConnection, UpstreamTls, carried};

/// What an endpoint is to be, for its connections to be encrypted.
pub(super) struct EndpointTls {
    tls: Arc<UpstreamTls>,
    name: ServerName<'static>,
}

impl EndpointTls {
    pub(super) fn new(tls: &Arc<UpstreamTls>, host: Option<&str>, address: &Address) -> Self {
        Self {
            tls: Arc::clone(tls),
            name: tls.name(host, address.ip()),
        }
    }

    /// Tells its connections from those that are encrypted otherwise.
    pub(super) fn pool_key(&self) -> String {
        format!("{}#{}", self.name.to_str(), self.tls.id)
    }

    /// Agrees on keys with the endpoint.
    pub(super) async fn connect(
        &self,
        cluster: &Cluster,
        socket: SocketStream,
        purpose: Purpose,
    ) -> Result<TlsConnection, UpstreamError> {
        let connected = self.tls.connect(socket, self.name.clone(), purpose).await;
        let connected = connected.and_then(|connection| {
            let chosen = connection.facts().alpn.as_deref().and_then(carried);
            let fits = match purpose {
                Purpose::Http1 => chosen != Some(b"h2"),
                Purpose::Http2 => chosen != Some(b"http/1.1"),
                Purpose::Raw => true,
            };
            if fits {
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
