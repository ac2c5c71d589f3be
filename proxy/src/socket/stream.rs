//! [`SocketStream`]: a connection, by TCP or a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use weir_config::{Address, UnixName};

use super::{Origin, system_address};

/// A connection, by TCP or a Unix socket.
#[derive(Debug)]
pub(crate) enum SocketStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl SocketStream {
    /// Connects to `address`.
    pub(crate) async fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Ip(address) => TcpStream::connect(address).await.map(Self::Tcp),
            Address::Unix(name) => {
                // That is a matter of this machine: it waits for nobody.
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                socket.connect(&system_address(name)?)?;
                UnixStream::from_std(socket.into()).map(Self::Unix)
            }
        }
    }

    /// Connects to `address` from `origin`.
    pub(crate) async fn connect_from(origin: &Origin, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::from_std_stream(origin.socket(address)?.into());
        socket.connect(address).await.map(Self::Tcp)
    }

    /// The address of this end, if it has one: a client of a Unix socket has none.
    pub(crate) fn local_address(&self) -> Option<Address> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok().map(Address::Ip),
            Self::Unix(unix) => name(&unix.local_addr().ok()?.into()).map(Address::Unix),
        }
    }

    /// Sends small pieces at once.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Tcp(tcp) = self
            && let Err(error) = tcp.set_nodelay(true)
        {
            tracing::debug!("TCP_NODELAY: {error}");
        }
    }

    /// Has the connection end by a reset when it is dropped, where there are resets.
    pub(crate) fn reset_on_drop(&self) {
        if let Self::Tcp(tcp) = self
            && let Err(error) = tcp.set_zero_linger()
        {
            tracing::debug!("SO_LINGER: {error}");
        }
    }

    /// The same connection with a readiness of its own.
    pub(crate) fn watched(&self) -> io::Result<Self> {
        let fd = self.as_fd().try_clone_to_owned()?;
        match self {
            Self::Tcp(_) => TcpStream::from_std(fd.into()).map(Self::Tcp),
            Self::Unix(_) => UnixStream::from_std(fd.into()).map(Self::Unix),
        }
    }

    /// Waits until it is ready for `interest`.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(tcp) => tcp.ready(interest).await,
            Self::Unix(unix) => unix.ready(interest).await,
        }
    }

    /// Reads what is there.
    pub(crate) fn try_read(&self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read(room),
            Self::Unix(unix) => unix.try_read(room),
        }
    }

    /// Writes as much as there is room for.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Unix(unix) => unix.try_write(bytes),
        }
    }

    /// Takes note that it is not ready after all, if `io` would block.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        io: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(tcp) => tcp.try_io(interest, io),
            Self::Unix(unix) => unix.try_io(interest, io),
        }
    }
}

/// The name of a Unix socket, if it has one.
fn name(address: &UnixAddr) -> Option<UnixName> {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        let name = format!("@{}", String::from_utf8_lossy(name));
        return Some(UnixName::of_system(name));
    }
    let path = address.as_pathname()?;
    Some(UnixName::of_system(path.to_string_lossy().into_owned()))
}

impl AsFd for SocketStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
        }
    }
}

impl AsRawFd for SocketStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Self::Unix(unix) => Pin::new(unix).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Unix(unix) => unix.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Unix(unix) => Pin::new(unix).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(context),
        }
    }
}
