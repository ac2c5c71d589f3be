//! An HTTP/1.1 upstream.

use std::rc::Rc;

use anyhow::Result;
use tokio::net::TcpStream;

use super::super::client::wait_for_others;
use super::super::journal::{End, Message};
use super::super::socket::{Side, Socket};
use super::super::step::Step;
use super::super::text;
use super::super::writer::Writer;
use super::Upstream;

pub(super) async fn serve(stream: TcpStream, upstream: &Upstream) -> Result<()> {
    let mut socket = Socket::new(
        stream,
        Side::Upstream,
        String::new(),
        upstream.journal.clone(),
    );
    let state = Rc::clone(&socket.state);
    for number in 0.. {
        // an idle connection may wait for as long as it likes
        let next = upstream.journal.find(|entries| {
            let index = state.messages.borrow().get(number).copied();
            match index {
                Some(index) if entries.upstream[index].has_head => Some(Some(index)),
                _ => state.ending.get().map(|_| None),
            }
        });
        let Some(index) = next.await else {
            break;
        };
        let mut exchange = Exchange {
            socket: &mut socket,
            index,
            upstream,
        };
        if !exchange.play().await? {
            break;
        }
    }
    Ok(())
}

/// A request, by its place in the journal, and its answer.
struct Exchange<'a> {
    socket: &'a mut Socket,
    index: usize,
    upstream: &'a Upstream,
}

impl Exchange<'_> {
    /// Plays the script for the request; gives whether the connection goes on.
    async fn play(&mut self) -> Result<bool> {
        let first = self.look(|message| message.head.first().cloned().unwrap_or_default());
        let mut words = first.split(' ');
        let (method, target) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let steps = self.upstream.script(target);
        let mut writer = Writer::default();
        writer.without_body = method == "HEAD";
        for (at, step) in steps.iter().enumerate() {
            if step.continues_message() || matches!(step, Step::Response { .. }) {
                writer.step(&steps, at)?;
                continue;
            }
            self.socket.write(&writer.take()).await;
            if !self.step(step).await? {
                return Ok(false);
            }
        }
        self.socket.write(&writer.take()).await;
        let closes = steps.iter().any(announces_close);
        if closes {
            self.socket.close(false);
        }
        Ok(!closes)
    }

    /// Gives whether the exchange goes on.
    async fn step(&mut self, step: &Step) -> Result<bool> {
        match step {
            Step::WholeRequest => {
                let journal = &self.upstream.journal;
                let whole = |message: &Message| message.end.is_some() || is_tunnel(message);
                journal
                    .find(|entries| whole(&entries.upstream[self.index]).then_some(()))
                    .await;
                return Ok(!self.look(|message| matches!(message.end, Some(End::Cut(_)))));
            }
            Step::RequestHead => {}
            Step::RequestBody(part) => {
                let what = format!("a request's body to contain {}", text::show(part));
                let text = String::from_utf8_lossy(part);
                self.wait(&what, |message| message.contains(&text)).await;
            }
            Step::Closed => {
                self.wait("the end of a request's connection", |_| false)
                    .await;
            }
            Step::Silence(duration) => tokio::time::sleep(*duration).await,
            Step::HalfClose => self.socket.half_close().await,
            Step::Close | Step::Reset(_) => {
                self.socket.close(matches!(step, Step::Reset(_)));
                return Ok(false);
            }
            step => wait_for_others(step, &self.upstream.journal).await?,
        }
        Ok(true)
    }

    fn look<T>(&self, look: impl FnOnce(&Message) -> T) -> T {
        self.upstream
            .journal
            .read(|entries| look(&entries.upstream[self.index]))
    }

    /// Waits for the request to be so, or for the end of its connection.
    async fn wait(&self, what: &str, so: impl Fn(&Message) -> bool) {
        let state = &self.socket.state;
        let so = |message: &Message| so(message) || state.ending.get().is_some();
        self.upstream
            .journal
            .wait(what, |entries| {
                so(&entries.upstream[self.index]).then_some(())
            })
            .await;
    }
}

/// A request after which the connection is no longer HTTP has no end of its own.
fn is_tunnel(message: &Message) -> bool {
    message
        .head
        .iter()
        .any(|line| line.to_ascii_lowercase().starts_with("upgrade:"))
        || message
            .head
            .first()
            .is_some_and(|line| line.starts_with("CONNECT "))
}

fn announces_close(step: &Step) -> bool {
    let Step::Response { headers, .. } = step else {
        return false;
    };
    headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("connection") && value == b"close")
}
