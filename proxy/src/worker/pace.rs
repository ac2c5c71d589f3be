//! [`Pace`]: work on a worker that requests wait for meanwhile.

use std::mem;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The pace of work that requests wait for meanwhile, done bit by bit: between two bits,
/// the worker serves for as long as the last one took.
#[derive(Default)]
pub(super) struct Pace {
    last: Duration,
}

impl Pace {
    /// Does one bit.
    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        self.last = began.elapsed();
        done
    }

    /// Serves, before the next bit.
    pub(super) async fn keep(&mut self) {
        let last = mem::take(&mut self.last);
        if !last.is_zero() {
            sleep(last).await;
        }
    }
}
