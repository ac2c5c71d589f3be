//! [`Connection`]: the bytes of one connection, whatever carries them.

use std::any::Any;
use std::cell::OnceCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use weir_config::Address;

use crate::socket::SocketStream;
use crate::tls::{TlsConnection, TlsFacts};

/// What carries a connection's bytes.
enum Transport {
    Plain(SocketStream),
    Tls(Box<TlsConnection>),
    /// Made by one of pingora's connectors.
    Pingora(pingora_core::protocols::Stream),
}

/// One connection. Bytes that were read to tell its protocol are read again.
pub(crate) struct Connection {
    prefix: Bytes,
    transport: Transport,
    hang_up: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Its own end, once somebody has asked for it.
    local: OnceCell<Option<Address>>,
    /// Exchanges that it has carried, or carries.
    exchanges: u32,
    /// Goes when the connection does.
    guard: Option<Guard>,
}

/// Something that lives as long as a connection, whoever has it.
pub(crate) type Guard = Box<dyn Any>;

impl From<SocketStream> for Connection {
    fn from(socket: SocketStream) -> Self {
        Self::new(Transport::Plain(socket))
    }
}

impl From<TlsConnection> for Connection {
    fn from(tls: TlsConnection) -> Self {
        Self::new(Transport::Tls(Box::new(tls)))
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
            local: OnceCell::new(),
            exchanges: 0,
            guard: None,
        }
    }

    /// Has these bytes read first.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.prefix = bytes;
    }

    /// Keeps `guard` as long as the connection is there.
    pub(crate) fn hold(&mut self, guard: Guard) {
        self.guard = Some(guard);
    }

    /// What was agreed on it, if it is encrypted.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        match &self.transport {
            Transport::Tls(tls) => Some(tls.facts()),
            Transport::Plain(_) | Transport::Pingora(_) => None,
        }
    }

    /// Another exchange begins on it.
    pub(crate) fn begin_exchange(&mut self) {
        self.exchanges = self.exchanges.saturating_add(1);
    }

    /// Exchanges that have begun on it.
    pub(crate) fn exchanges(&self) -> u32 {
        self.exchanges
    }

    /// Its own end.
    pub(crate) fn local_address(&self) -> Option<Address> {
        let find = || match &self.transport {
            Transport::Plain(socket) => socket.local_address(),
            Transport::Tls(tls) => tls.local_address(),
            Transport::Pingora(stream) => {
                let digest = stream.get_socket_digest();
                digest.and_then(|d| d.local_addr()?.as_inet().copied().map(Address::Ip))
            }
        };
        self.local.get_or_init(find).clone()
    }

    /// The socket, unless one of pingora's connectors has it.
    pub(crate) fn socket(&self) -> Option<&SocketStream> {
        match &self.transport {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(tls) => Some(tls.socket()),
            Transport::Pingora(_) => None,
        }
    }

    /// Reads what is there; `WouldBlock` if nothing is, of which [`Self::socket`] tells
    /// when that is over.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(buffer);
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_read(&mut context, &mut read) {
            Poll::Ready(Ok(())) => Ok(read.filled().len()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes as much as there is room for; `WouldBlock` if there is none.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_write(&mut context, bytes) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Has what was written go out, as far as there is room; whether it has.
    pub(crate) fn try_flush(&mut self) -> io::Result<bool> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_flush(&mut context) {
            Poll::Ready(flushed) => flushed.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Ends this side's half, as far as there is room; whether it has ended.
    pub(crate) fn try_shutdown(&mut self) -> io::Result<bool> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_shutdown(&mut context) {
            Poll::Ready(ended) => ended.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// Waits until the other side has closed or broken the connection, and reads
    /// nothing. The kernel tells it by a mark on the socket, also when data
    /// waits in front.
    pub(crate) fn poll_hang_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let socket = match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
            Transport::Pingora(_) => return Poll::Pending,
        };
        let hang_up = match &mut self.hang_up {
            Some(hang_up) => hang_up,
            none => {
                // A second descriptor, since the readiness of the first belongs
                // to whoever reads.
                match socket.watched() {
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
async fn hung_up(watched: SocketStream) {
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
            Transport::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Transport::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
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
            Transport::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Transport::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
            Transport::Pingora(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Transport::Tls(tls) => Pin::new(tls).poll_write_vectored(context, slices),
            Transport::Pingora(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(socket) => socket.is_write_vectored(),
            Transport::Tls(tls) => tls.is_write_vectored(),
            Transport::Pingora(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(context),
            Transport::Tls(tls) => Pin::new(tls).poll_flush(context),
            Transport::Pingora(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Transport::Tls(tls) => Pin::new(tls).poll_shutdown(context),
            Transport::Pingora(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
