//! Requests that are bad, each in one of many ways.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;
use weir_conformance::frames::{END_HEADERS, PREFACE, RawFrame, kind};

use super::client::Clients;

/// Bad requests at the same time.
const AT_ONCE: usize = 64;

/// How long one may take to be refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a head that is too long.
const HEAD_BYTES: usize = 64 << 10;

/// What came of the bad requests.
#[derive(Default, Clone)]
pub(super) struct Refusals {
    /// Answered, with a status of 400 and more or an alert of TLS.
    pub(super) answered: Cell<usize>,
    /// The connection was closed.
    pub(super) closed: Cell<usize>,
    /// The client went away itself.
    pub(super) left: Cell<usize>,
}

/// A bad request.
struct Bad {
    bytes: Vec<u8>,
    /// To the listener with TLS.
    tls: bool,
    /// The client goes away in the middle.
    leaves: bool,
}

/// One of each kind.
fn kinds() -> Vec<Bad> {
    let plain = |bytes: &[u8]| Bad {
        bytes: bytes.to_vec(),
        tls: false,
        leaves: false,
    };
    let get = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let long = "a".repeat(HEAD_BYTES);
    let http2 = |frame: RawFrame| [PREFACE, &frame.bytes()].concat();
    vec![
        plain(b"\x00\x01\x02\x03 nothing of HTTP\r\n\r\n"),
        plain(&get("")),
        plain(&get("host: h\r\nhost: g\r\n")),
        plain(&get(
            "host: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        )),
        plain(&get(
            "host: h\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n",
        )),
        plain(&get("host: h\r\ntransfer-encoding: gzip\r\n")),
        plain(&get("host: h\r\na name: v\r\n")),
        plain(&get(&format!("host: h\r\nlong: {long}\r\n"))),
        plain(b"GET / HTTP/7.0\r\nhost: h\r\n\r\n"),
        plain(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n"),
        // A frame of settings has six bytes for each.
        plain(&http2(RawFrame::new(kind::SETTINGS, 0, 0, b"odd"))),
        // No index of HPACK is 0.
        plain(&http2(RawFrame::new(
            kind::HEADERS,
            END_HEADERS,
            1,
            b"\x80",
        ))),
        plain(&http2(RawFrame::new(kind::DATA, 0, 0, b"no stream"))),
        Bad {
            tls: true,
            ..plain(&get("host: h\r\n"))
        },
        Bad {
            tls: true,
            ..plain(&[22, 3, 1, 0, 4, 1, 0, 0, 0])
        },
        Bad {
            leaves: true,
            ..plain(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nten bytes.")
        },
        Bad {
            leaves: true,
            tls: true,
            ..plain(super::client::HALF_A_HELLO)
        },
    ]
}

/// Sends `count` bad requests, none of which may be served. Within a `LocalSet`.
pub(super) async fn run(clients: &Rc<Clients>, count: usize) -> Result<Refusals> {
    let (kinds, refusals) = (Rc::new(kinds()), Rc::<Refusals>::default());
    let next = Rc::new(Cell::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (clients, next) = (Rc::clone(clients), Rc::clone(&next));
        let (kinds, refusals) = (Rc::clone(&kinds), Rc::clone(&refusals));
        tasks.spawn_local(async move {
            while next.get() < count {
                let number = next.replace(next.get() + 1);
                let bad = &kinds[number % kinds.len()];
                let sent = timeout(PATIENCE, send(&clients, bad, &refusals)).await;
                let sent = sent.context("it is neither answered nor closed");
                sent.and_then(|sent| sent).with_context(|| {
                    format!(
                        "a bad request: {}",
                        bad.bytes[..bad.bytes.len().min(80)].escape_ascii()
                    )
                })?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Rc::unwrap_or_clone(refusals))
}

async fn send(clients: &Clients, bad: &Bad, refusals: &Refusals) -> Result<()> {
    let to = if bad.tls { clients.tls } else { clients.plain };
    let mut connection = clients.connect(to).await?;
    // Otherwise, the port of a client that has gone is taken for a minute.
    connection.set_zero_linger()?;
    let mut answer = Vec::new();
    // It may be closed before it has said all.
    let written = connection.write_all(&bad.bytes).await;
    let count = if bad.leaves {
        &refusals.left
    } else {
        while written.is_ok() && connection.read_buf(&mut answer).await.is_ok_and(|n| n > 0) {}
        if answer.is_empty() {
            &refusals.closed
        } else {
            &refusals.answered
        }
    };
    count.set(count.get() + 1);
    let is_served = answer.starts_with(b"HTTP/1.1 2") || answer.starts_with(b"HTTP/1.1 3");
    ensure!(!is_served, "served: {}", answer.escape_ascii());
    Ok(())
}
