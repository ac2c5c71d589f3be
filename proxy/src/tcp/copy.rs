//! A connection without filters: one loop a direction.

use std::cell::Cell;
use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until};

use super::{Broken, reset_on_drop};
use crate::http::Connection;
use crate::limits::TCP_CHUNK_BYTES;
use crate::stream::{StreamInfo, count};

/// Copies both ways. An end of one direction is passed on, and the other goes
/// on until its own.
pub(super) async fn pass(
    client: Connection,
    upstream: Connection,
    info: &StreamInfo,
    idle_timeout: Option<Duration>,
) -> Result<(), Broken> {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_upstream, mut to_upstream) = split(upstream);
    let moved = Cell::new(Instant::now());
    let result = {
        let received = &info.bytes_received;
        let there = copy(&mut from_client, &mut to_upstream, received, &moved);
        let back = copy(&mut from_upstream, &mut to_client, &info.bytes_sent, &moved);
        let both = async { tokio::try_join!(there, back) };
        tokio::select! {
            result = both => result,
            () = idle(&moved, idle_timeout) => return Err(Broken::Idle),
        }
    };
    if let Err(error) = &result
        && error.kind() == ErrorKind::ConnectionReset
    {
        // Whichever it was: the other one learns that it has not heard all.
        reset_on_drop(&from_client.unsplit(to_client));
        reset_on_drop(&from_upstream.unsplit(to_upstream));
    }
    result?;
    Ok(())
}

/// Returns once nothing has moved for so long; without a limit, never.
pub(super) async fn idle(moved: &Cell<Instant>, limit: Option<Duration>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    while moved.get().elapsed() < limit {
        sleep_until(moved.get() + limit).await;
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    counter: &Cell<u64>,
    moved: &Cell<Instant>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; TCP_CHUNK_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        moved.set(Instant::now());
        if read == 0 {
            return to.shutdown().await;
        }
        count(counter, read);
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
        moved.set(Instant::now());
    }
}
