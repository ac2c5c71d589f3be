//! [`Idle`]: a worker's connections to endpoints that wait for another exchange.
//!
//! No task watches over each of them. The waker that a connection is left with tells
//! which one has stirred, and one task looks at those, and for what has waited too long.
//! Whoever takes a connection leaves another waker with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::coop::unconstrained;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use crate::http::Connection;
use crate::limits::IDLE_CONNECTIONS_MAX;

/// A worker's connections that wait.
pub(super) struct Idle {
    waiting: Rc<RefCell<Waiting>>,
    /// Begins with the first connection.
    keeper: RefCell<Option<JoinHandle<()>>>,
}

/// Which connection: the key of its lane, and a number that is higher the later it has
/// begun to wait.
type Place = (u64, u64);

#[derive(Default)]
struct Waiting {
    connections: BTreeMap<Place, Entry>,
    next: u64,
    /// When the keeper looks for what has waited too long.
    looks_at: Option<Instant>,
    notes: Option<UnboundedSender<Note>>,
}

struct Entry {
    connection: Connection,
    until: Option<Instant>,
}

/// What the keeper is told.
enum Note {
    /// Something has happened to this connection.
    Stirred(Place),
    /// A connection has less time than any before.
    Sooner,
}

/// The waker that a connection is left with.
struct Bell {
    place: Place,
    notes: UnboundedSender<Note>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Nobody listens any more when the worker has ended.
        let _ = self.notes.send(Note::Stirred(self.place));
    }
}

impl Idle {
    pub(super) fn new() -> Self {
        Self {
            waiting: Rc::default(),
            keeper: RefCell::default(),
        }
    }

    /// A connection of the lane with this key: the one that has waited least.
    pub(super) fn take(&self, lane: u64) -> Option<Connection> {
        loop {
            let mut entry = self.waiting.borrow_mut().take_latest(lane)?;
            // A busy worker's keeper may not have come to it yet.
            let overdue = entry.until.is_some_and(|at| at <= Instant::now());
            if !overdue && is_quiet(&mut entry.connection, Waker::noop()) {
                return Some(entry.connection);
            }
        }
    }

    /// Has a connection wait, for so long at most. It is closed when the other side
    /// closes it, or says anything. Of too many, the one that has waited longest goes.
    pub(super) fn keep(&self, lane: u64, mut connection: Connection, timeout: Option<Duration>) {
        let mut waiting = self.waiting.borrow_mut();
        let begun = waiting.notes.clone();
        let notes = begun.unwrap_or_else(|| {
            let (notes, told) = unbounded_channel();
            let keeper = spawn_local(look_after(Rc::downgrade(&self.waiting), told));
            self.keeper.replace(Some(keeper));
            waiting.notes = Some(notes.clone());
            notes
        });
        let place = (lane, waiting.next);
        waiting.next += 1;
        if !is_quiet(&mut connection, &bell(place, notes.clone())) {
            return;
        }
        let until = timeout.map(|timeout| Instant::now() + timeout);
        waiting
            .connections
            .insert(place, Entry { connection, until });
        if until.is_some_and(|until| waiting.looks_at.is_none_or(|at| until < at)) {
            waiting.looks_at = until;
            // The keeper is there as long as this is.
            let _ = notes.send(Note::Sooner);
        }
        let superfluous = waiting.superfluous();
        drop(waiting);
        drop(superfluous);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.abort();
        }
    }
}

impl Waiting {
    fn take_latest(&mut self, lane: u64) -> Option<Entry> {
        let mut of_lane = self.connections.range((lane, 0)..=(lane, u64::MAX));
        let place = *of_lane.next_back()?.0;
        self.connections.remove(&place)
    }

    /// The one that has waited longest, if there are too many.
    fn superfluous(&mut self) -> Option<Entry> {
        if self.connections.len() <= IDLE_CONNECTIONS_MAX {
            return None;
        }
        let oldest = self.connections.keys().min_by_key(|(_, number)| *number);
        let oldest = *oldest?;
        self.connections.remove(&oldest)
    }

    /// The connection at `place`, if it has ended or has said something.
    fn stirred(&mut self, place: Place) -> Option<Entry> {
        let entry = self.connections.get_mut(&place)?;
        let waker = bell(place, self.notes.clone()?);
        if is_quiet(&mut entry.connection, &waker) {
            return None;
        }
        self.connections.remove(&place)
    }

    /// Those that have waited for too long.
    fn overdue(&mut self) -> Vec<Entry> {
        let now = Instant::now();
        let is_over = |_: &Place, entry: &mut Entry| entry.until.is_some_and(|at| at <= now);
        let overdue = self.connections.extract_if(.., is_over);
        let overdue = overdue.map(|(_, entry)| entry).collect();
        self.looks_at = self.connections.values().filter_map(|e| e.until).min();
        overdue
    }
}

fn bell(place: Place, notes: UnboundedSender<Note>) -> Waker {
    Waker::from(Arc::new(Bell { place, notes }))
}

/// Whether nothing has come on a connection, not even its end; `waker` is woken when
/// something does. A task that has done much in one go is told the truth all the same.
fn is_quiet(connection: &mut Connection, waker: &Waker) -> bool {
    let mut byte = [0];
    let mut read = ReadBuf::new(&mut byte);
    let looked = poll_fn(|context| Pin::new(&mut *connection).poll_read(context, &mut read));
    let mut context = Context::from_waker(waker);
    pin!(unconstrained(looked)).poll(&mut context).is_pending()
}

/// Closes connections that have ended, or waited for too long.
async fn look_after(waiting: Weak<RefCell<Waiting>>, mut told: UnboundedReceiver<Note>) {
    loop {
        let Some(looks_at) = waiting.upgrade().map(|w| w.borrow().looks_at) else {
            return;
        };
        let is_time = async {
            match looks_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let note = tokio::select! {
            note = told.recv() => note,
            () = is_time => None,
        };
        let Some(waiting) = waiting.upgrade() else {
            return;
        };
        // They are closed when the others can be reached again.
        match note {
            Some(Note::Stirred(place)) => {
                let stirred = waiting.borrow_mut().stirred(place);
                drop(stirred);
            }
            Some(Note::Sooner) => {}
            None => {
                let overdue = waiting.borrow_mut().overdue();
                drop(overdue);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::LocalSet;

    use super::*;
    use crate::socket::SocketStream;

    const LANE: u64 = 7;
    const LONG: Option<Duration> = Some(Duration::from_secs(600));

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        let near = SocketStream::Tcp(near.unwrap());
        (near.into(), far.unwrap().0)
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        LocalSet::new().block_on(&runtime.unwrap(), test);
    }

    /// Returns when the connection has been closed at its other end.
    async fn is_closed(far: &mut TcpStream) {
        assert_eq!(far.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }

    #[test]
    fn the_latest_of_a_lane_is_taken() {
        run(async {
            let idle = Idle::new();
            let (first, mut far_first) = pair().await;
            let (second, mut far_second) = pair().await;
            idle.keep(LANE, first, LONG);
            idle.keep(LANE, second, LONG);
            assert!(idle.take(LANE + 1).is_none());
            let mut latest = idle.take(LANE).unwrap();
            latest.write_all(b"second").await.unwrap();
            let mut read = [0; 6];
            far_second.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"second");
            drop(idle.take(LANE).unwrap());
            is_closed(&mut far_first).await;
            assert!(idle.take(LANE).is_none());
        });
    }

    #[test]
    fn what_the_other_side_ends_or_speaks_on_is_closed() {
        run(async {
            let idle = Idle::new();
            let (first, mut far_first) = pair().await;
            let (second, mut far_second) = pair().await;
            idle.keep(LANE, first, LONG);
            idle.keep(LANE, second, None);
            far_first.shutdown().await.unwrap();
            is_closed(&mut far_first).await;
            far_second.write_all(b"unasked").await.unwrap();
            is_closed(&mut far_second).await;
            assert!(idle.take(LANE).is_none());
        });
    }

    #[test]
    fn what_has_waited_too_long_is_closed_and_others_stay() {
        run(async {
            let idle = Idle::new();
            let (first, _far_first) = pair().await;
            let (second, mut far_second) = pair().await;
            idle.keep(LANE, first, LONG);
            idle.keep(LANE, second, Some(Duration::from_millis(20)));
            is_closed(&mut far_second).await;
            assert!(idle.take(LANE).is_some());
            assert!(idle.take(LANE).is_none());
        });
    }

    #[test]
    fn of_too_many_the_one_that_has_waited_longest_is_closed() {
        run(async {
            let idle = Idle::new();
            let mut far_ends = Vec::new();
            for lane in 0..=IDLE_CONNECTIONS_MAX as u64 {
                let (near, far) = pair().await;
                // Places are in another order than their numbers.
                idle.keep(1000 - lane, near, LONG);
                far_ends.push(far);
            }
            is_closed(&mut far_ends[0]).await;
            assert!(idle.take(1000).is_none());
            assert!(idle.take(999).is_some());
        });
    }
}
