//! [`Wire`]: an HTTP/1 connection with what has been read of it and what waits
//! to be written.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::{poll_read_buf, poll_write_buf};
use weir_abi::BodyBuffer;

use super::Connection;
use crate::limits::{READ_BYTES_MAX, READ_BYTES_MIN};
use crate::tls::TlsFacts;

/// A connection with its buffers.
pub(super) struct Wire {
    connection: Connection,
    pub(super) input: BytesMut,
    output: WriteQueue,
    /// Room to make for a read: more after one that filled it.
    read_size: usize,
    /// Something has been written that the transport may still hold.
    unflushed: bool,
}

impl Wire {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            input: BytesMut::new(),
            output: WriteQueue::default(),
            read_size: READ_BYTES_MIN,
            unflushed: false,
        }
    }

    /// Gives the connection back.
    pub(super) fn into_connection(mut self) -> Connection {
        self.connection.unread(self.input.freeze());
        self.connection
    }

    /// Reads once; 0 means that the other side has ended its half.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read_size == READ_BYTES_MIN {
            return self.poll_fill_little(context);
        }
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
        }
        let connection = Pin::new(&mut self.connection);
        let n = ready!(poll_read_buf(connection, context, &mut self.input))?;
        if self.input.len() == self.input.capacity() {
            self.read_size = (self.read_size * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(n))
    }

    /// The same where little is said: what waits for it takes no room before it comes.
    fn poll_fill_little(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); READ_BYTES_MIN];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.connection).poll_read(context, &mut read))?;
        self.input.extend_from_slice(read.filled());
        if read.remaining() == 0 {
            self.read_size *= 2;
        }
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Gives back what a message has taken: the next one may be long in coming.
    pub(super) fn shrink(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_size = READ_BYTES_MIN;
        }
    }

    /// What was agreed on the connection, if it is encrypted.
    pub(super) fn tls(&self) -> Option<&Arc<TlsFacts>> {
        self.connection.tls()
    }

    /// See [`Connection::poll_hang_up`].
    pub(super) fn poll_hang_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.connection.poll_hang_up(context)
    }

    /// Queues bytes.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.output.0.push(bytes);
    }

    /// Queues body bytes.
    pub(super) fn push_body(&mut self, body: BodyBuffer) {
        self.output.0.append(body);
    }

    /// Bytes that are queued.
    pub(super) fn queued(&self) -> usize {
        self.output.0.len()
    }

    /// Whether everything that was queued is with the system, and nothing with what
    /// encrypts it.
    pub(super) fn is_flushed(&self) -> bool {
        self.queued() == 0 && !self.unflushed
    }

    /// Writes what is queued.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.output.has_remaining() {
            let connection = Pin::new(&mut self.connection);
            if ready!(poll_write_buf(connection, context, &mut self.output))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.connection).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends this side's half of the connection.
    pub(super) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

/// Bytes to write, in pieces that go out in one system call where the transport
/// can.
#[derive(Default)]
struct WriteQueue(BodyBuffer);

impl Buf for WriteQueue {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        self.0.chunks().next().map_or(&[], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pairs = slices.iter_mut().zip(self.0.chunks());
        pairs
            .map(|(slice, piece)| *slice = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, n: usize) {
        self.0.drop_front(n);
    }
}
