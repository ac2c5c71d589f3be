//! An HTTP/1 connection: what is read is parsed in the background.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use super::h1::{self, Ending, Reading};
use super::journal::{Entries, Journal, Message};

/// Which list of the journal messages go to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Upstream,
    Client,
}

impl Side {
    pub(super) fn messages(self, entries: &mut Entries) -> &mut Vec<Message> {
        match self {
            Self::Upstream => &mut entries.upstream,
            Self::Client => &mut entries.client,
        }
    }
}

/// A connection.
pub(super) struct Socket {
    write: Option<OwnedWriteHalf>,
    reader: JoinHandle<()>,
    pub(super) state: Rc<State>,
}

/// What has been read.
#[derive(Default)]
pub(super) struct State {
    /// Places of the messages in the journal, in the order they came.
    pub(super) messages: RefCell<Vec<usize>>,
    /// Methods of the requests that the messages answer.
    pub(super) methods: RefCell<Vec<String>>,
    pub(super) ending: Cell<Option<Ending>>,
    /// Number of bytes.
    pub(super) received: Cell<usize>,
}

impl Socket {
    /// Reads from `stream` into the journal. `of` is noted with each message.
    #[must_use]
    pub(super) fn new(stream: TcpStream, side: Side, of: String, journal: Journal) -> Self {
        // the test would only be slower
        stream.set_nodelay(true).ok();
        let (read, write) = stream.into_split();
        let state = Rc::<State>::default();
        let reader = tokio::task::spawn_local(follow(read, side, of, journal, Rc::clone(&state)));
        Self {
            write: Some(write),
            reader,
            state,
        }
    }

    /// Writes; a connection that is gone is noticed where it is read.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        if let Some(write) = &mut self.write
            && !bytes.is_empty()
        {
            write.write_all(bytes).await.ok();
        }
    }

    /// Ends this side's half.
    pub(super) async fn half_close(&mut self) {
        if let Some(write) = &mut self.write {
            write.shutdown().await.ok();
        }
    }

    /// Ends the connection, by a reset if asked for.
    pub(super) fn close(&mut self, reset: bool) {
        if let Some(write) = self.write.take() {
            if reset {
                write.as_ref().set_zero_linger().ok();
            }
            self.reader.abort();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close(false);
    }
}

async fn follow(
    mut read: OwnedReadHalf,
    side: Side,
    of: String,
    journal: Journal,
    state: Rc<State>,
) {
    let mut bytes = Vec::new();
    let mut consumed = 0;
    let mut current = None;
    loop {
        match read.read_buf(&mut bytes).await {
            Ok(0) => state.ending.set(Some(Ending::Closed)),
            Ok(count) => state.received.set(state.received.get() + count),
            Err(_) => state.ending.set(Some(Ending::Reset)),
        }
        loop {
            let method = state
                .methods
                .borrow()
                .get(state.messages.borrow().len() - usize::from(current.is_some()))
                .cloned();
            let reading = match side {
                Side::Upstream => Reading::Requests,
                Side::Client => Reading::Response(method.as_deref().unwrap_or("GET")),
            };
            let Some((message, used)) = h1::read(&bytes[consumed..], reading, state.ending.get())
            else {
                break;
            };
            let complete = message.end.is_some();
            let message = Message {
                of: of.clone(),
                ..message
            };
            journal.write(|entries| {
                let messages = side.messages(entries);
                match current {
                    Some(index) => messages[index] = message,
                    None => {
                        messages.push(message);
                        current = Some(messages.len() - 1);
                        state.messages.borrow_mut().push(messages.len() - 1);
                    }
                }
            });
            if !complete {
                break;
            }
            consumed += used;
            current = None;
        }
        if state.ending.get().is_some() {
            journal.write(|_| {});
            return;
        }
    }
}
