//! Two ways to load a server. A closed loop, [`run`]: a number of connections, each of
//! which sends its next request when it has the response to the one before. The server
//! sets the pace, so what is found is its throughput when busy, and latency under just
//! that load. And an [open loop](open), which keeps a pace of its own.

mod client;
mod latencies;
pub mod open;
mod response;
pub mod upstream;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::task::LocalSet;
use tokio::time::timeout;

use client::Tally;
pub use latencies::Latencies;

/// How long connections get for the response at hand once the time is up. A
/// proxy that is later than this has lost the request.
const GRACE: Duration = Duration::from_secs(5);

/// What to ask, how often and how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The server.
    pub address: SocketAddr,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// When to stop asking.
    pub duration: Duration,
    /// When to stop asking even earlier: this many requests have been sent.
    pub requests_max: usize,
    /// Header lines of each request, each with its end, beside the usual ones.
    pub headers: &'static str,
    /// Least time between two requests of one connection.
    pub pace: Duration,
}

/// What came of a [`Plan`].
#[derive(Debug)]
pub struct Outcome {
    /// Responses with status 200.
    pub requests: usize,
    /// Responses with another status, and connections that failed.
    pub errors: usize,
    /// From the first connection to the last response.
    pub elapsed: Duration,
    /// From a request's first byte to its response's last.
    pub latencies: Latencies,
}

impl Outcome {
    /// Of requests with these `latencies`, each of which was answered well.
    fn new(latencies: Vec<Duration>, errors: usize, elapsed: Duration) -> Self {
        Self {
            requests: latencies.len(),
            errors,
            elapsed,
            latencies: Latencies::new(latencies),
        }
    }
}

/// Carries out `plan` on this thread.
///
/// # Errors
/// When the runtime does not start; errors of connections are counted.
pub fn run(plan: &Plan) -> io::Result<Outcome> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tally = Rc::new(RefCell::new(Tally::new(plan.requests_max)));
    let started = Instant::now();
    let all = LocalSet::new();
    for _ in 0..plan.connections {
        let deadline = started + plan.duration;
        all.spawn_local(client::ask_until(deadline, *plan, Rc::clone(&tally)));
    }
    let in_time = runtime.block_on(async { timeout(plan.duration + GRACE, all).await });
    let elapsed = started.elapsed();
    let mut tally = tally.borrow_mut();
    if in_time.is_err() {
        tally.errors += tally.under_way;
    }
    let latencies = std::mem::take(&mut tally.latencies);
    Ok(Outcome::new(latencies, tally.errors, elapsed))
}

#[cfg(test)]
mod tests;
