//! New connections to endpoints, with what comes first on them.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use weir_config::Address;

use super::spec::ClusterSpec;
use super::{Account, Cluster, Endpoint};
use crate::http::{Connection, UpstreamError};
use crate::proxy_protocol::header;
use crate::socket::{Origin, SocketStream, Whose};
use crate::tls::Purpose;

impl ClusterSpec {
    /// Connects to `address`, and says on whose account if the endpoints are to know.
    pub(super) async fn connect(
        &self,
        address: &Address,
        account: &Account,
    ) -> io::Result<SocketStream> {
        let mut socket = match address.inet().zip(self.origin(address, account)) {
            Some((address, origin)) => SocketStream::connect_from(&origin, address).await?,
            None => SocketStream::connect(address).await?,
        };
        socket.set_nodelay();
        if let Some(proxy) = self.config.proxy_protocol {
            let local = socket.local_address();
            let header = header(proxy.version, &account.originator, local.as_ref(), address);
            socket.write_all(&header).await?;
        }
        Ok(socket)
    }

    /// From where to connect to `address`, if that is said.
    fn origin(&self, address: &Address, account: &Account) -> Option<Origin> {
        if let Some(source) = account.source {
            return Some(Origin {
                address: Some(SocketAddr::new(source.ip, 0)),
                whose: Whose::Anyones,
                mark: source.mark,
            });
        }
        let bind = &self.config.bind;
        let whose = if bind.freebind {
            Whose::Free
        } else {
            Whose::Own
        };
        let origin = Origin {
            address: bind.address_for(address.inet()?),
            whose,
            mark: bind.mark,
        };
        (origin.address.is_some() || origin.mark != 0).then_some(origin)
    }
}

impl Endpoint {
    /// A new connection, encrypted if the cluster's are, within its time.
    pub(super) async fn dial(
        &self,
        cluster: &Cluster,
        account: &Account,
        purpose: Purpose,
    ) -> Result<Connection, UpstreamError> {
        let dialled = async {
            let socket = cluster.spec.connect(&self.address, account).await;
            let socket = socket.map_err(|error| {
                UpstreamError::Connect(match self.address {
                    Address::Ip(_) => cause(&error),
                    Address::Unix(_) => immediate(&error),
                })
            })?;
            if let (SocketStream::Tcp(tcp), Some(keepalive)) =
                (&socket, &cluster.spec.tcp_keepalive)
            {
                let keepalive = socket2::TcpKeepalive::new()
                    .with_time(keepalive.idle)
                    .with_interval(keepalive.interval)
                    .with_retries(u32::try_from(keepalive.count).unwrap_or(u32::MAX));
                if let Err(error) = socket2::SockRef::from(tcp).set_tcp_keepalive(&keepalive) {
                    tracing::debug!("SO_KEEPALIVE: {error}");
                }
            }
            match &self.tls {
                Some(tls) => tls
                    .connect(cluster, socket, purpose)
                    .await
                    .map(Connection::from),
                None => Ok(Connection::from(socket)),
            }
        };
        let dialled = timeout(cluster.spec.connect_timeout, dialled).await;
        dialled.unwrap_or(Err(UpstreamError::ConnectTimeout))
    }
}

/// Why there is no connection to a Unix socket, which turns out at once.
fn immediate(error: &io::Error) -> String {
    let words = match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    };
    format!("immediate connect error: {words}")
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
