//! [`SocketListener`]: what connections are accepted from.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Socket;
use tokio::net::{TcpListener, UnixListener};
use weir_config::Address;

use super::SocketStream;
use crate::limits::LISTEN_BACKLOG;

/// A socket that listens, by TCP or in the file system.
pub(crate) enum SocketListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection that has come, and its two ends.
pub(crate) struct Accepted {
    pub(crate) connection: SocketStream,
    pub(crate) peer: Address,
    pub(crate) local: Address,
}

impl SocketListener {
    /// Begins to listen on a socket that is bound.
    pub(crate) fn listen(socket: Socket) -> io::Result<Self> {
        socket.listen(LISTEN_BACKLOG)?;
        socket.set_nonblocking(true)?;
        if socket.local_addr()?.is_unix() {
            return UnixListener::from_std(socket.into()).map(Self::Unix);
        }
        TcpListener::from_std(socket.into()).map(Self::Tcp)
    }

    /// Waits for the next connection. As in Envoy, the client of a Unix socket has the
    /// name of that socket, whatever it has bound its own to.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(tcp) => {
                let (connection, peer) = tcp.accept().await?;
                Ok(Accepted {
                    local: connection.local_addr()?.into(),
                    connection: SocketStream::Tcp(connection),
                    peer: peer.into(),
                })
            }
            Self::Unix(unix) => {
                let (connection, _) = unix.accept().await?;
                let connection = SocketStream::Unix(connection);
                let local = connection.local_address();
                let local = local.ok_or(io::ErrorKind::AddrNotAvailable)?;
                Ok(Accepted {
                    connection,
                    peer: local.clone(),
                    local,
                })
            }
        }
    }
}

impl AsFd for SocketListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}
