//! [`Relay`]: the sockets around a [`FilterChain`].

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use tokio::io::{Interest, Ready};
use tokio::time::Instant;
use weir_abi::PeerType;

use super::chain::{FilterChain, Flow};
use super::copy::idle;
use super::{Connected, Counted, TcpProxy, connect, reset_on_drop};
use crate::http::Connection;
use crate::limits::{TCP_BURST_BYTES, TCP_CHUNK_BYTES};
use crate::stream::FilteredStream;
use crate::worker::{WorkerListener, WorkerShared};

/// A connection to an endpoint on its way.
type Connecting<'s> = Pin<Box<dyn Future<Output = Option<Connected>> + 's>>;

/// A connection through filters: one task that waits for whatever comes next on
/// either side, a filter's wish, or the end of patience. A side is read from only
/// while there is room for what it says.
pub(super) struct Relay<'s> {
    client: Socket,
    upstream: Option<Socket>,
    connecting: Option<Connecting<'s>>,
    connected: bool,
    /// Counts the upstream for as long as it is there.
    counted: Option<Counted>,
    chain: Rc<FilterChain>,
    record: &'s FilteredStream,
    proxy: TcpProxy,
    shared: &'s WorkerShared,
    /// When something has moved last.
    moved: Rc<Cell<Instant>>,
    buffer: Vec<u8>,
}

/// One of the two connections, and how far it has come.
struct Socket {
    connection: Connection,
    /// Bytes that may be held of what it says before it is to wait.
    limit: usize,
    /// It has said all it had to.
    read_ended: bool,
    /// It has been told all there was.
    write_ended: bool,
    /// There may be something to read of which the kernel knows nothing any more.
    unread: bool,
    /// Something has been written that has not gone out.
    unflushed: bool,
    /// It is to end by a reset.
    resets: bool,
}

/// What a read came to.
struct Burst {
    data: Vec<u8>,
    end: bool,
    broken: bool,
}

/// What the relay has waited for.
enum Next {
    ClientReadable,
    ClientWritable,
    ClientBroken,
    UpstreamReadable,
    UpstreamWritable,
    Connected(Option<Box<Connected>>),
    Event,
    Idle,
}

impl Socket {
    fn new(connection: Connection, limit: usize) -> Self {
        Self {
            unread: connection.tls().is_some(),
            connection,
            limit,
            read_ended: false,
            write_ended: false,
            unflushed: false,
            resets: false,
        }
    }

    /// Has it end by a reset, as the other one has.
    fn reset_on_drop(&mut self) {
        self.resets = true;
        reset_on_drop(&self.connection);
    }

    /// Says that it ends, where an end without notice may be somebody else's doing.
    fn take_leave(&mut self) {
        if !self.resets
            && self.connection.tls().is_some()
            && let Err(error) = self.connection.try_shutdown()
        {
            tracing::debug!("tcp: {error}");
        }
    }

    /// What the kernel knows of it.
    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self.connection.socket() {
            Some(socket) => socket.ready(interest).await,
            None => pending().await,
        }
    }

    /// Waits until there may be something to read.
    async fn readable(&self) -> io::Result<()> {
        if self.unread {
            return Ok(());
        }
        self.ready(Interest::READABLE).await.map(drop)
    }

    async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    fn is_over(&self) -> bool {
        self.read_ended && self.write_ended
    }

    /// Whether it may be read from, as far as `from` and the queue of the other
    /// side have room.
    fn may_say_more(&self, from: &Flow) -> bool {
        !self.read_ended && from.held_bytes() < self.limit && from.queued_bytes() < self.limit
    }

    /// Whether it waits for room to be told of `to`.
    fn is_behind(&self, to: &Flow) -> bool {
        !self.write_ended && (to.queued_bytes() > 0 || self.unflushed)
    }

    /// Reads what there is, up to a limit.
    fn read(&mut self, buffer: &mut [u8]) -> Burst {
        let mut burst = Burst {
            data: Vec::new(),
            end: false,
            broken: false,
        };
        let limit = self.limit.min(TCP_BURST_BYTES);
        while burst.data.len() < limit {
            match self.connection.try_read(buffer) {
                Ok(0) => {
                    self.read_ended = true;
                    burst.end = true;
                    break;
                }
                Ok(bytes) => burst.data.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    burst.broken = true;
                    break;
                }
            }
        }
        self.unread = burst.data.len() >= limit;
        burst
    }

    /// Writes of `to` what there is room for, and the end behind it. Gives
    /// whether anything has moved.
    fn write(&mut self, to: &Flow) -> io::Result<bool> {
        let mut moved = false;
        loop {
            let mut queue = to.queue();
            let Some(first) = queue.chunks().next() else {
                break;
            };
            match self.connection.try_write(first) {
                Ok(bytes) => {
                    queue.pop_up_to(bytes);
                    self.unflushed = true;
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(error) => return Err(error),
            }
        }
        if self.unflushed {
            self.unflushed = !self.connection.try_flush()?;
        }
        if to.ends() && !self.write_ended && !self.unflushed {
            self.write_ended = self.connection.try_shutdown()?;
            self.unflushed = !self.write_ended;
            moved |= self.write_ended;
        }
        Ok(moved)
    }
}

impl<'s> Relay<'s> {
    pub(super) fn new(
        client: Connection,
        record: &'s Rc<FilteredStream>,
        proxy: TcpProxy,
        listener: &WorkerListener,
        shared: &'s WorkerShared,
    ) -> Self {
        Self {
            client: Socket::new(client, listener.buffer_limit.max(1)),
            upstream: None,
            connecting: None,
            connected: false,
            counted: None,
            chain: FilterChain::new(Rc::clone(record), &listener.chain.links),
            record,
            proxy,
            shared,
            moved: Rc::new(Cell::new(Instant::now())),
            buffer: vec![0; TCP_CHUNK_BYTES],
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn run(mut self) {
        let moved = Rc::clone(&self.moved);
        let idle = idle(&moved, self.proxy.idle_timeout);
        tokio::pin!(idle);
        self.chain.open();
        let peer = loop {
            if let Some(peer) = self.advance() {
                break peer;
            }
            match self.next(idle.as_mut()).await {
                Next::ClientReadable => {
                    let burst = self.client.read(&mut self.buffer);
                    if let Some(peer) = self.client_says(burst) {
                        break peer;
                    }
                }
                Next::UpstreamReadable => self.read_upstream(),
                // Advancing writes.
                Next::ClientWritable | Next::UpstreamWritable => {}
                Next::ClientBroken => {
                    self.reset_upstream();
                    break PeerType::Remote;
                }
                Next::Connected(upstream) => {
                    self.connecting = None;
                    match upstream {
                        Some(endpoint) => {
                            self.moved.set(Instant::now());
                            self.counted = Some(endpoint.counted);
                            let limit = endpoint.buffer_limit;
                            self.upstream = Some(Socket::new(endpoint.connection, limit));
                        }
                        None => self.chain.close(),
                    }
                }
                Next::Event => self.chain.handle_events(),
                Next::Idle => {
                    // Who has not taken what was passed by now is not waited for.
                    break PeerType::Local;
                }
            }
        };
        self.chain.closed(peer);
        self.client.take_leave();
        self.flush_upstream(peer).await;
        if let Some(upstream) = &mut self.upstream {
            upstream.take_leave();
        }
    }

    /// Writes what there is room for, connects once the filters let it. Gives who
    /// has closed the connection, if it is.
    fn advance(&mut self) -> Option<PeerType> {
        if self.chain.is_through() && !self.connected {
            self.connected = true;
            let (record, proxy, shared) = (self.record, self.proxy, self.shared);
            self.connecting = Some(Box::pin(connect(record, proxy, shared)));
        }
        if let Some(upstream) = &mut self.upstream {
            match upstream.write(&self.chain.downstream) {
                Ok(true) => self.moved.set(Instant::now()),
                Ok(false) => {}
                // What it has said before it broke off is read yet.
                Err(_) => {
                    self.chain.downstream.queue().clear();
                    upstream.write_ended = true;
                }
            }
            if upstream.is_over() {
                self.chain.close();
            }
        }
        match self.client.write(&self.chain.upstream) {
            Ok(true) => {
                self.moved.set(Instant::now());
                if self.client.is_over() {
                    return Some(PeerType::Local);
                }
            }
            Ok(false) => {}
            Err(_) => return Some(PeerType::Remote),
        }
        let flushed = self.chain.upstream.queued_bytes() == 0 && !self.client.unflushed;
        (self.chain.is_closing() && flushed).then_some(PeerType::Local)
    }

    /// Waits for whatever comes next.
    async fn next(&mut self, idle: Pin<&mut impl Future<Output = ()>>) -> Next {
        let (client, chain) = (&self.client, &self.chain);
        let open = !chain.is_closing();
        let reads_client =
            open && self.upstream.is_some() && client.may_say_more(&chain.downstream);
        let writes_client = client.is_behind(&chain.upstream) || client.unflushed;
        let upstream = self.upstream.as_ref();
        let reads_upstream =
            open && upstream.is_some_and(|upstream| upstream.may_say_more(&chain.upstream));
        let writes_upstream =
            open && upstream.is_some_and(|upstream| upstream.is_behind(&chain.downstream));
        let connecting = async {
            match &mut self.connecting {
                Some(connecting) if open => connecting.await,
                _ => pending().await,
            }
        };
        let upstream_readable = async {
            match upstream {
                Some(upstream) => upstream.readable().await,
                None => pending().await,
            }
        };
        let upstream_writable = async {
            match upstream {
                Some(upstream) => upstream.writable().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = client.readable(), if reads_client => Next::ClientReadable,
            // The kernel's mark on a socket that is not read from.
            _ = client.ready(Interest::ERROR), if !reads_client => Next::ClientBroken,
            _ = client.writable(), if writes_client => Next::ClientWritable,
            _ = upstream_readable, if reads_upstream => Next::UpstreamReadable,
            _ = upstream_writable, if writes_upstream => Next::UpstreamWritable,
            upstream = connecting => Next::Connected(upstream.map(Box::new)),
            () = poll_fn(|context| chain.poll_events(context)) => Next::Event,
            () = idle => Next::Idle,
        }
    }

    /// Gives who has closed the connection, if it is.
    fn client_says(&mut self, burst: Burst) -> Option<PeerType> {
        if !burst.data.is_empty() || burst.end {
            self.moved.set(Instant::now());
            self.chain.downstream_data(burst.data.into(), burst.end);
        }
        if burst.broken {
            self.reset_upstream();
        }
        let over = burst.end && self.client.write_ended && !self.chain.is_closing();
        (burst.broken || over).then_some(PeerType::Remote)
    }

    /// The client has broken off: so does this, and the upstream can tell that it
    /// has not heard all.
    fn reset_upstream(&mut self) {
        self.chain.downstream.queue().clear();
        if let Some(upstream) = &mut self.upstream {
            upstream.write_ended = true;
            upstream.reset_on_drop();
        }
    }

    fn read_upstream(&mut self) {
        let Some(upstream) = &mut self.upstream else {
            return;
        };
        let burst = upstream.read(&mut self.buffer);
        if !burst.data.is_empty() || burst.end {
            self.moved.set(Instant::now());
            self.chain.upstream_data(Bytes::from(burst.data), burst.end);
        }
        if burst.broken {
            self.client.reset_on_drop();
            self.chain.upstream.queue().clear();
            self.chain.close();
        }
    }

    /// A client that has closed has said all it had to, which still goes out; who
    /// is closed on is told as much as there is room for.
    async fn flush_upstream(&mut self, peer: PeerType) {
        let Some(upstream) = &mut self.upstream else {
            return;
        };
        self.moved.set(Instant::now());
        let limit = self.proxy.idle_timeout;
        while upstream.write(&self.chain.downstream).is_ok()
            && peer == PeerType::Remote
            && upstream.is_behind(&self.chain.downstream)
        {
            let moved = Cell::new(Instant::now());
            tokio::select! {
                writable = upstream.writable() => if writable.is_err() { return },
                () = idle(&moved, limit) => return,
            }
        }
    }
}
