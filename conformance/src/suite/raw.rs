//! A raw TCP connection, of a client or at an upstream: bytes are told as they
//! come, and how they end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use anyhow::{Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use super::client::wait_for_others;
use super::h1::Ending;
use super::journal::{End, Entries, Journal, Message};
use super::socket::Side;
use super::step::Step;
use super::text;

/// One end of a connection; what it reads stands in the journal.
pub(super) struct RawConnection {
    side: Side,
    write: Option<OwnedWriteHalf>,
    reader: JoinHandle<()>,
    /// Place of its message in the journal.
    index: usize,
    ending: Rc<Cell<Option<Ending>>>,
    journal: Journal,
    /// What the steps so far write, until one waits.
    pending: RefCell<Vec<u8>>,
}

impl RawConnection {
    /// Reads from `stream` into the journal, as a message `of`.
    pub(super) fn new(stream: TcpStream, side: Side, of: &str, journal: &Journal) -> Self {
        stream.set_nodelay(true).ok();
        let message = Message {
            of: of.to_owned(),
            ..Message::default()
        };
        let index = journal.write(|entries| {
            let messages = side.messages(entries);
            messages.push(message);
            messages.len() - 1
        });
        let (read, write) = stream.into_split();
        let ending = Rc::<Cell<_>>::default();
        let reader = follow(read, side, index, journal.clone(), Rc::clone(&ending));
        Self {
            side,
            write: Some(write),
            reader: tokio::task::spawn_local(reader),
            index,
            ending,
            journal: journal.clone(),
            pending: RefCell::default(),
        }
    }

    /// Plays `steps`; a step that opens a connection ends it, and is left over.
    ///
    /// # Errors
    ///
    /// If a step makes no sense here.
    pub(super) async fn play<'s>(&mut self, steps: &'s [Step]) -> Result<&'s [Step]> {
        for (at, step) in steps.iter().enumerate() {
            if let Step::Raw(bytes) = step {
                self.pending.borrow_mut().extend(bytes);
                continue;
            }
            self.flush().await;
            if *step == Step::Connect {
                return Ok(&steps[at + 1..]);
            }
            self.step(step).await?;
        }
        self.flush().await;
        Ok(&[])
    }

    async fn flush(&mut self) {
        let bytes = self.pending.take();
        if let Some(write) = &mut self.write
            && !bytes.is_empty()
        {
            // A connection that is gone is noticed where it is read.
            write.write_all(&bytes).await.ok();
        }
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Receive(part) => {
                let what = format!("{} on a raw connection", text::show(part));
                self.wait(&what, |message| contains(&message.body, part))
                    .await;
            }
            Step::ReceiveBytes(count) => {
                let what = format!("{count} bytes on a raw connection");
                self.wait(&what, |message| message.body.len() >= *count)
                    .await;
            }
            Step::Closed => {
                let closed = self
                    .journal
                    .wait("the end of a raw connection", |_| self.ending.get())
                    .await;
                if closed.is_none() {
                    self.note("connection stays open");
                }
            }
            Step::Silence(duration) => {
                let length =
                    |entries: &mut Entries| self.side.messages(entries)[self.index].body.len();
                let before = self.journal.write(length);
                tokio::time::sleep(*duration).await;
                if self.ending.get().is_none() && self.journal.write(length) == before {
                    self.note("silence");
                }
            }
            Step::HalfClose => {
                if let Some(write) = &mut self.write {
                    write.shutdown().await.ok();
                }
            }
            Step::Close => self.close(false),
            Step::Reset(_) => self.close(true),
            Step::AwaitGuest(..) | Step::AwaitUpstream(_) | Step::AwaitClient(_) | Step::Flush => {
                wait_for_others(step, &self.journal).await?;
            }
            step => bail!("{step:?} has no place on a raw connection"),
        }
        Ok(())
    }

    /// Waits for the message to be so, or for the end of the connection.
    async fn wait(&self, what: &str, so: impl Fn(&Message) -> bool) {
        let probe = |entries: &Entries| {
            let messages = match self.side {
                Side::Upstream => &entries.upstream,
                Side::Client => &entries.client,
            };
            (so(&messages[self.index]) || self.ending.get().is_some()).then_some(())
        };
        self.journal.wait(what, probe).await;
    }

    fn note(&self, line: &str) {
        self.journal.write(|entries| {
            self.side.messages(entries)[self.index]
                .notes
                .push(line.to_owned());
        });
    }

    /// Ends the connection, by a reset if asked for. What comes after that is not
    /// told.
    fn close(&mut self, reset: bool) {
        let Some(write) = self.write.take() else {
            return;
        };
        if reset {
            write.as_ref().set_zero_linger().ok();
            // Dropped, it would end its half first.
            write.forget();
        }
        self.reader.abort();
        let told = match (self.ending.get(), reset) {
            (Some(_), _) => return,
            (None, true) => "it resets the connection",
            (None, false) => "it closes the connection",
        };
        self.journal.write(|entries| {
            let message = &mut self.side.messages(entries)[self.index];
            message.end = Some(End::Complete);
            message.notes.push(told.to_owned());
        });
    }
}

impl Drop for RawConnection {
    fn drop(&mut self) {
        self.close(false);
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}

async fn follow(
    mut read: OwnedReadHalf,
    side: Side,
    index: usize,
    journal: Journal,
    ending: Rc<Cell<Option<Ending>>>,
) {
    let mut bytes = Vec::with_capacity(64 * 1024);
    loop {
        bytes.clear();
        match read.read_buf(&mut bytes).await {
            Ok(0) => ending.set(Some(Ending::Closed)),
            Ok(_) => {}
            Err(_) => ending.set(Some(Ending::Reset)),
        }
        journal.write(|entries| {
            let message = &mut side.messages(entries)[index];
            message.body.extend(&bytes);
            if let Some(ending) = ending.get() {
                message.end = Some(End::Complete);
                message.notes.push(ending.word().to_owned());
            }
        });
        if ending.get().is_some() {
            return;
        }
    }
}
