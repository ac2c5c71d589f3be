//! An HTTP/2 client.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::h2_text::{ending, lines, pseudo, reason, receive, regular};
use super::super::journal::{End, Journal, Message, PATIENCE};
use super::super::socket::Side;
use super::super::step::{Header, Step, ends_message};
use super::super::text;
use super::{Client, completed, wait_for_others};

pub(super) async fn play(client: &Client<'_>) -> Result<()> {
    let steps = completed(client.steps);
    let mut connection = Connection::open(client).await?;
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Connect => connection = Connection::open(client).await?,
            Step::Request {
                method,
                path,
                headers,
            } => {
                connection
                    .request(method, path, headers, ends_message(&steps, at))
                    .await?;
            }
            step => connection.step(step, ends_message(&steps, at)).await?,
        }
    }
    Ok(())
}

struct Connection<'a> {
    client: &'a Client<'a>,
    sender: Option<SendRequest<Bytes>>,
    streams: Vec<Stream>,
    current: usize,
    /// The connection, and who reads responses; ended with this.
    tasks: JoinSet<()>,
}

struct Stream {
    sender: SendStream<Bytes>,
    /// The response's place in the journal.
    index: usize,
}

impl<'a> Connection<'a> {
    async fn open(client: &'a Client<'a>) -> Result<Self> {
        let stream = TcpStream::connect(client.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn_local(async move {
            // its streams tell how it ended
            connection.await.ok();
        });
        Ok(Self {
            client,
            sender: Some(sender),
            streams: Vec::new(),
            current: 0,
            tasks,
        })
    }

    async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[Header],
        end: bool,
    ) -> Result<()> {
        let authority = pseudo(headers, ":authority").unwrap_or("test");
        let scheme = pseudo(headers, ":scheme").unwrap_or("http");
        let protocol = pseudo(headers, ":protocol");
        let target = if method == "CONNECT" && protocol.is_none() {
            path.to_owned()
        } else {
            format!("{scheme}://{authority}{path}")
        };
        let mut request = Request::builder().method(method).uri(target).body(())?;
        *request.headers_mut() = regular(headers)?;
        let sender = self.sender.take().context("the connection is closed")?;
        if let Some(protocol) = protocol {
            request.extensions_mut().insert(Protocol::from(protocol));
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while !sender.is_extended_connect_protocol_enabled()
                && tokio::time::Instant::now() < deadline
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        }
        let index = self.client.journal.write(|entries| {
            entries.client.push(Message {
                of: self.client.name.to_owned(),
                ..Message::default()
            });
            entries.client.len() - 1
        });
        let sent = match sender.ready().await {
            Ok(mut sender) => {
                let sent = sender.send_request(request, end);
                self.sender = Some(sender);
                sent
            }
            Err(error) => Err(error),
        };
        match sent {
            Ok((response, stream)) => {
                self.streams.push(Stream {
                    sender: stream,
                    index,
                });
                self.current = self.streams.len() - 1;
                self.tasks
                    .spawn_local(read_response(response, index, self.client.journal.clone()));
            }
            Err(error) => {
                let end = End::Cut(ending(&error));
                self.client
                    .journal
                    .write(|entries| entries.client[index].end = Some(end));
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step, last: bool) -> Result<()> {
        match step {
            Step::Body(bytes) | Step::Last(bytes) => {
                let end = last || matches!(step, Step::Last(_));
                let bytes = Bytes::from(bytes.clone());
                // a stream that was reset meanwhile tells so by its response
                self.stream()?.sender.send_data(bytes, end).ok();
            }
            Step::End => drop(self.stream()?.sender.send_data(Bytes::new(), true)),
            Step::Trailers(headers) => drop(self.stream()?.sender.send_trailers(regular(headers)?)),
            Step::Reset(name) => self.stream()?.sender.send_reset(reason(name.as_deref())?),
            Step::Stream(number) => self.current = number - 1,
            Step::WholeResponse => {
                self.response("a response", |message| message.end.is_some())
                    .await?;
            }
            Step::ResponseHead => {
                self.response("the head of a response", |message| message.has_head)
                    .await?;
            }
            Step::ResponseBody(part) => {
                let text = String::from_utf8_lossy(part).into_owned();
                let what = format!("a response's body to contain {}", text::show(part));
                self.response(&what, |message| message.contains(&text))
                    .await?;
            }
            Step::Silence(duration) => {
                let index = self.stream()?.index;
                let seen = |journal: &Journal| {
                    journal.read(|e| {
                        (
                            e.client[index].head.len(),
                            e.client[index].body.len(),
                            e.client[index].end.clone(),
                        )
                    })
                };
                let before = seen(self.client.journal);
                tokio::time::sleep(*duration).await;
                let note = if seen(self.client.journal) == before {
                    "silence"
                } else {
                    "something came in the place of silence"
                };
                self.client
                    .journal
                    .write(|entries| entries.client[index].notes.push(note.to_owned()));
            }
            Step::Close => {
                self.sender = None;
                self.tasks.abort_all();
            }
            Step::Flush => {
                // what was sent so far goes out while the connection runs
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            step => wait_for_others(step, self.client.journal).await?,
        }
        Ok(())
    }

    fn stream(&mut self) -> Result<&mut Stream> {
        let current = self.current;
        match self.streams.get_mut(current) {
            Some(stream) => Ok(stream),
            None => bail!("there is no stream {}", current + 1),
        }
    }

    /// Waits for the current response to be so, or for its end.
    async fn response(&mut self, what: &str, so: impl Fn(&Message) -> bool) -> Result<()> {
        let Some(Stream { index, .. }) = self.streams.get(self.current) else {
            return Ok(());
        };
        let so = |message: &Message| so(message) || message.end.is_some();
        self.client
            .journal
            .wait(what, |entries| so(&entries.client[*index]).then_some(()))
            .await;
        Ok(())
    }
}

async fn read_response(mut response: ResponseFuture, index: usize, journal: Journal) {
    let add = |head: &Response<()>, last: bool| {
        let status = format!("HTTP/2 {}", head.status().as_u16());
        let lines = lines(head.headers());
        journal.write(|entries| {
            let message = &mut entries.client[index];
            message.head.push(status);
            message.head.extend(lines);
            message.has_head = last;
        });
    };
    let mut interim_over = false;
    let result = poll_fn(|context| {
        while !interim_over {
            match response.poll_informational(context) {
                Poll::Ready(Some(Ok(interim))) => add(&interim, false),
                Poll::Ready(_) => interim_over = true,
                Poll::Pending => break,
            }
        }
        std::pin::Pin::new(&mut response).poll(context)
    })
    .await;
    match result {
        Ok(response) => {
            let (head, body) = response.into_parts();
            add(&Response::from_parts(head, ()), true);
            receive(body, Side::Client, index, journal.clone()).await;
        }
        Err(error) => {
            let end = End::Cut(ending(&error));
            journal.write(|entries| entries.client[index].end = Some(end));
        }
    }
}
