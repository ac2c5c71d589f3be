//! [`Connection`]: the bytes of one connection, whatever carries them.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// What carries a connection's bytes.
enum Transport {
    Tcp(TcpStream),
    /// Made by one of pingora's connectors.
    Pingora(pingora_core::protocols::Stream),
}

/// One connection. Bytes that were read to tell its protocol are read again.
pub(crate) struct Connection {
    prefix: Bytes,
    transport: Transport,
    hang_up: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl From<TcpStream> for Connection {
    fn from(tcp: TcpStream) -> Self {
        Self::new(Transport::Tcp(tcp))
    }
}

impl From<pingora_core::protocols::Stream> for Connection {
    fn from(stream: pingora_core::protocols::Stream) -> Self {
        Self::new(Transport::Pingora(stream))
    }
}

impl Connection {
    fn new(transport: Transport) -> Self {
        Self {
            prefix: Bytes::new(),
            transport,
            hang_up: None,
        }
    }

    /// Has these bytes read first.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }

    /// The connection in pingora's form, if that is how it came.
    pub(crate) fn into_pingora(self) -> Option<pingora_core::protocols::Stream> {
        match self.transport {
            Transport::Pingora(stream) => Some(stream),
            Transport::Tcp(_) => None,
        }
    }

    /// Waits until the other side has closed or broken the connection, and reads
    /// nothing. The kernel tells it by a mark on the socket, also when data
    /// waits in front.
    pub(crate) fn poll_hang_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Transport::Tcp(tcp) = &self.transport else {
            return Poll::Pending;
        };
        let hang_up = match &mut self.hang_up {
            Some(hang_up) => hang_up,
            none => {
                // A second descriptor, since the readiness of the first belongs
                // to whoever reads.
                let watched = tcp.as_fd().try_clone_to_owned();
                let watched = watched.and_then(|fd| TcpStream::from_std(fd.into()));
                match watched {
                    Ok(watched) => none.insert(Box::pin(hung_up(watched))),
                    Err(error) => {
                        tracing::debug!("cannot watch a connection: {error}");
                        return Poll::Pending;
                    }
                }
            }
        };
        hang_up.as_mut().poll(context)
    }
}

/// Returns once the other side has closed or broken the connection.
async fn hung_up(watched: TcpStream) {
    // An error is an end, too.
    while let Ok(ready) = watched.ready(Interest::READABLE).await {
        if ready.is_read_closed() || ready.is_error() {
            return;
        }
        // Waits for the next change instead of for data to be read.
        let _ = watched.try_io(Interest::READABLE, || {
            io::Result::<()>::Err(io::ErrorKind::WouldBlock.into())
        });
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.has_remaining() {
            let n = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(n));
            return Poll::Ready(Ok(()));
        }
        match &mut self.transport {
            Transport::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Transport::Pingora(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Transport::Pingora(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(context, slices),
            Transport::Pingora(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Tcp(tcp) => tcp.is_write_vectored(),
            Transport::Pingora(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Transport::Pingora(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Transport::Pingora(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
