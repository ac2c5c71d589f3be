//! An open loop: requests have times at which they are to be sent, whatever becomes of
//! those before them. A latency begins with that time, not with the moment at which a
//! connection was free: a server that stalls makes all requests late that were to be
//! sent meanwhile, and they count so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::AsyncWriteExt;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::client::{RESPONSE_SIZE, connect, read_response};
use super::{GRACE, Outcome};

/// What to send, and when.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The server.
    pub address: SocketAddr,
    /// Requests a second, at even distances.
    pub rate: u32,
    /// Connections that carry them: requests that find none free wait for one.
    pub connections: usize,
    /// From the first request to the last.
    pub duration: Duration,
    /// Head and body of each request.
    pub request: Vec<u8>,
}

/// What the connections share.
struct Tally {
    /// Times of requests that wait for a connection.
    due: VecDeque<Instant>,
    latencies: Vec<Duration>,
    errors: usize,
    under_way: usize,
    /// No more requests become due.
    over: bool,
}

/// Carries out `schedule` on this thread. A request that has no response within some
/// seconds of the end is an error.
///
/// # Errors
/// When the runtime or the timer do not start; errors of connections are counted.
pub fn run(schedule: &Schedule) -> io::Result<Outcome> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tally = Rc::new(RefCell::new(Tally {
        due: VecDeque::new(),
        latencies: Vec::new(),
        errors: 0,
        under_way: 0,
        over: false,
    }));
    let more = Rc::new(Notify::new());
    let all = LocalSet::new();
    for _ in 0..schedule.connections {
        let (tally, more) = (Rc::clone(&tally), Rc::clone(&more));
        let schedule = schedule.clone();
        all.spawn_local(async move {
            while serve(&schedule, &tally, &more).await.is_err() {
                let mut tally = tally.borrow_mut();
                tally.errors += 1;
                tally.under_way -= 1;
            }
        });
    }
    let started = Instant::now();
    let made = runtime.block_on(all.run_until(make_due(schedule, started, &tally, &more)));
    let in_time = runtime.block_on(async { timeout(GRACE, all).await });
    made?;
    let elapsed = started.elapsed();
    let mut tally = tally.borrow_mut();
    if in_time.is_err() {
        tally.errors += tally.under_way + tally.due.len();
    }
    let latencies = std::mem::take(&mut tally.latencies);
    Ok(Outcome::new(latencies, tally.errors, elapsed))
}

/// Lets requests become due until the schedule is over.
async fn make_due(
    schedule: &Schedule,
    started: Instant,
    tally: &RefCell<Tally>,
    more: &Notify,
) -> io::Result<()> {
    let timer = Timer::new()?;
    let distance = Duration::from_secs(1) / schedule.rate.max(1);
    let mut next = started;
    let end = started + schedule.duration;
    while next < end {
        let now = Instant::now();
        while next <= now && next < end {
            tally.borrow_mut().due.push_back(next);
            more.notify_one();
            next += distance;
        }
        timer.wait(next.saturating_duration_since(now)).await?;
    }
    tally.borrow_mut().over = true;
    more.notify_waiters();
    Ok(())
}

/// Sends what is due over one connection, until there is no more.
async fn serve(
    schedule: &Schedule,
    tally: &RefCell<Tally>,
    more: &Notify,
) -> Result<(), io::Error> {
    let mut connection: Option<TcpStream> = None;
    let mut buffer = BytesMut::with_capacity(RESPONSE_SIZE);
    loop {
        let due = {
            let mut tally = tally.borrow_mut();
            let due = tally.due.pop_front();
            tally.under_way += usize::from(due.is_some());
            if due.is_none() && tally.over {
                return Ok(());
            }
            due
        };
        let Some(due) = due else {
            more.notified().await;
            continue;
        };
        let mut open = match connection.take() {
            Some(open) => open,
            None => connect(schedule.address).await?,
        };
        open.write_all(&schedule.request).await?;
        let response = read_response(&mut open, &mut buffer).await?;
        connection = response.keep_alive.then_some(open);
        let mut tally = tally.borrow_mut();
        tally.under_way -= 1;
        if response.status == 200 {
            tally.latencies.push(due.elapsed());
        } else {
            tally.errors += 1;
        }
    }
}

/// A timer that is not rounded to milliseconds, as the runtime's is.
struct Timer(AsyncFd<Descriptor>);

struct Descriptor(TimerFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Timer {
    #[allow(unsafe_code)]
    fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // SAFETY: the timer owns its descriptor, and neither closes nor replaces it as
        // long as it is here.
        let registered = unsafe { AsyncFd::register(Descriptor(timer)) };
        Ok(Self(registered?))
    }

    async fn wait(&self, time: Duration) -> io::Result<()> {
        // Nothing at all would stop it.
        let time = TimeSpec::from_duration(time.max(Duration::from_nanos(1)));
        let timer = &self.0.get_ref().0;
        timer.set(Expiration::OneShot(time), TimerSetTimeFlags::empty())?;
        let mut ready = self.0.readable().await?;
        timer.wait()?;
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::super::tests::serving;
    use super::super::upstream;
    use super::*;

    fn schedule(address: SocketAddr) -> Schedule {
        Schedule {
            address,
            rate: 2000,
            connections: 8,
            duration: Duration::from_millis(500),
            request: b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        }
    }

    #[test]
    fn as_many_requests_are_sent_as_the_rate_says() {
        let outcome = run(&schedule(serving(upstream::serve))).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (1000, 0));
    }

    #[test]
    fn a_stall_makes_all_requests_late_that_were_to_be_sent_meanwhile() {
        const STALL: Duration = Duration::from_millis(200);
        let address = serving(async |listener| {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut requests = 0;
            while connection.read(&mut [0; 1024]).await.unwrap() > 0 {
                requests += 1;
                if requests == 100 {
                    tokio::time::sleep(STALL).await;
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                connection.write_all(answer).await.unwrap();
            }
        });
        // One connection: those behind the one that is stalled wait for it.
        let outcome = run(&Schedule {
            connections: 1,
            ..schedule(address)
        })
        .unwrap();
        assert_eq!((outcome.requests, outcome.errors), (1000, 0));
        // 400 were to be sent during the stall, so half of those were late by half of it.
        let late = outcome.latencies.percentile(85);
        assert!(late >= STALL / 4, "{late:?}");
    }

    #[test]
    fn connections_that_end_are_made_anew_and_count_as_errors() {
        let address = serving(async |listener| {
            let mut connections = 0;
            while let Ok((connection, _)) = listener.accept().await {
                connections += 1;
                if connections % 2 == 0 {
                    tokio::spawn(upstream::answer_all(connection));
                }
            }
        });
        let outcome = run(&schedule(address)).unwrap();
        assert_eq!(outcome.requests + outcome.errors, 1000);
        assert!((1..=8).contains(&outcome.errors), "{}", outcome.errors);
    }
}
