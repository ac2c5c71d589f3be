//! Clients that only take up room: those that wait, and those that never get to the
//! end of what they say.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Clients, HALF_A_HEAD, HALF_A_HELLO, Kind, Waiting};

/// Connections that are being made at the same time.
const AT_ONCE: usize = 32;

/// Between two bytes of a slow client.
const SLOWNESS: Duration = Duration::from_secs(1);

/// Opens `count` connections of these kinds in turn. Within a `LocalSet`.
pub(super) async fn open_all(
    clients: &Rc<Clients>,
    kinds: &[Kind],
    count: usize,
) -> Result<Vec<Waiting>> {
    let next = Rc::new(Cell::new(0));
    let open = Rc::new(RefCell::new(Vec::with_capacity(count)));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (clients, next, open) = (Rc::clone(clients), Rc::clone(&next), Rc::clone(&open));
        let kinds = kinds.to_vec();
        tasks.spawn_local(async move {
            while next.get() < count {
                let kind = kinds[next.replace(next.get() + 1) % kinds.len()];
                let connection = clients.open(kind).await?;
                open.borrow_mut().push(connection);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(open.take())
}

/// What never comes to its end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Endless {
    /// A head, of which a byte comes each second.
    Head,
    /// A handshake that stops.
    Handshake,
}

/// How long clients were borne that never come to an end.
#[derive(Default)]
pub(super) struct Lives(RefCell<Vec<Duration>>);

impl Lives {
    fn ended(&self, life: Duration) {
        self.0.borrow_mut().push(life);
    }

    /// How many have been ended, and the shortest and the longest time that took.
    pub(super) fn sum_up(&self) -> (usize, Duration, Duration) {
        let lives = self.0.borrow();
        let shortest = lives.iter().min().copied().unwrap_or_default();
        let longest = lives.iter().max().copied().unwrap_or_default();
        (lives.len(), shortest, longest)
    }
}

/// A client that says what is `endless`, and comes back each time it is ended.
pub(super) async fn stay(clients: Rc<Clients>, endless: Endless, lives: Rc<Lives>) -> Result<()> {
    let (to, first) = match endless {
        Endless::Head => (clients.plain, HALF_A_HEAD),
        Endless::Handshake => (clients.tls, HALF_A_HELLO),
    };
    loop {
        let mut connection = clients.connect(to).await?;
        let began = Instant::now();
        connection.write_all(first).await?;
        let mut answer = Vec::new();
        loop {
            tokio::select! {
                read = connection.read_buf(&mut answer) => match read {
                    Ok(1..) => continue,
                    Ok(0) | Err(_) => break,
                },
                () = sleep(SLOWNESS) => if let Endless::Head = endless
                    && connection.write_all(b"a").await.is_err()
                {
                    break;
                },
            }
        }
        lives.ended(began.elapsed());
        let is_told = answer.starts_with(b"HTTP/1.1 408 ");
        ensure!(
            is_told == matches!(endless, Endless::Head),
            "{endless:?} was answered {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}
