//! An HTTP/1.1 client.

use anyhow::Result;
use tokio::net::TcpStream;

use super::super::h1::Ending;
use super::super::journal::{End, Entries, Message};
use super::super::socket::{Side, Socket};
use super::super::step::Step;
use super::super::text;
use super::super::writer::Writer;
use super::{Client, completed, wait_for_others};

pub(super) async fn play(client: &Client<'_>) -> Result<()> {
    let steps = completed(client.steps);
    let mut connection = Connection::open(client).await?;
    for (at, step) in steps.iter().enumerate() {
        if let Step::Request { method, .. } = step {
            connection
                .socket
                .state
                .methods
                .borrow_mut()
                .push(method.clone());
        }
        if step.continues_message() || matches!(step, Step::Request { .. }) {
            connection.writer.step(&steps, at)?;
            continue;
        }
        let bytes = connection.writer.take();
        connection.socket.write(&bytes).await;
        if *step == Step::Connect {
            connection = Connection::open(client).await?;
        } else {
            connection.step(step).await?;
        }
    }
    let bytes = connection.writer.take();
    connection.socket.write(&bytes).await;
    Ok(())
}

struct Connection<'a> {
    client: &'a Client<'a>,
    socket: Socket,
    writer: Writer,
    /// Number of responses that steps have read.
    responses: usize,
}

impl<'a> Connection<'a> {
    async fn open(client: &'a Client<'a>) -> Result<Self> {
        let stream = TcpStream::connect(client.address).await?;
        let socket = Socket::new(
            stream,
            Side::Client,
            client.name.to_owned(),
            client.journal.clone(),
        );
        Ok(Self {
            client,
            socket,
            writer: Writer::default(),
            responses: 0,
        })
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::WholeResponse => {
                self.response("a response", |message| message.end.is_some())
                    .await;
                self.responses += 1;
            }
            Step::ResponseHead => {
                self.response("the head of a response", |message| message.has_head)
                    .await;
            }
            Step::ResponseBody(part) => {
                let what = format!("a response's body to contain {}", text::show(part));
                let text = String::from_utf8_lossy(part).into_owned();
                self.response(&what, |message| message.contains(&text))
                    .await;
            }
            Step::Closed => {
                let state = std::rc::Rc::clone(&self.socket.state);
                let closed = self
                    .client
                    .journal
                    .wait("the end of the connection", |_| state.ending.get())
                    .await;
                self.note(closed.map_or("connection stays open", Ending::word));
            }
            Step::Silence(duration) => {
                let before = self.socket.state.received.get();
                tokio::time::sleep(*duration).await;
                let received = self.socket.state.received.get() - before;
                match self.socket.state.ending.get() {
                    Some(ending) => self.note(ending.word()),
                    None if received == 0 => self.note("silence"),
                    None => self.note("something came in the place of silence"),
                }
            }
            Step::Close => self.socket.close(false),
            Step::HalfClose => self.socket.half_close().await,
            Step::Reset(_) => self.socket.close(true),
            step => wait_for_others(step, self.client.journal).await?,
        }
        Ok(())
    }

    /// Waits for the next response to be so, or for the end of the connection.
    async fn response(&self, what: &str, so: impl Fn(&Message) -> bool) {
        let state = &self.socket.state;
        let probe = |entries: &Entries| {
            let index = state.messages.borrow().get(self.responses).copied();
            match index {
                Some(index) if so(&entries.client[index]) => Some(None),
                Some(index) if entries.client[index].end.is_some() => Some(None),
                None => state.ending.get().map(Some),
                Some(_) => None,
            }
        };
        if let Some(Some(ending)) = self.client.journal.wait(what, probe).await {
            self.note(ending.word());
        }
    }

    fn note(&self, line: &str) {
        let message = Message {
            of: self.client.name.to_owned(),
            notes: vec![line.to_owned()],
            end: Some(End::Complete),
            ..Message::default()
        };
        self.client
            .journal
            .write(|entries| entries.client.push(message));
    }
}
