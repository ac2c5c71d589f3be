//! Times that are measured often enough to mean something.

use std::time::{Duration, Instant};

/// What many rounds have taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// Of the round in the middle, nanoseconds.
    pub(crate) median: u64,
    /// Rounds that were measured.
    pub(crate) rounds: usize,
}

/// Rounds at least, however long they take.
const ROUNDS_MIN: usize = 10;

/// Rounds at most.
const ROUNDS_MAX: usize = 20_000;

/// Rounds before the first that counts: code and caches are warm then.
const WARM_UP: usize = 3;

/// Measurements as they come in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0
            .push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn sampled(&self) -> Option<Sampled> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let median = *sorted.get(sorted.len() / 2)?;
        Some(Sampled {
            median,
            rounds: sorted.len(),
        })
    }
}

/// Runs `round` until `budget` is used up, which measures what it wants to.
pub(crate) fn repeat<E>(
    budget: Duration,
    mut round: impl FnMut(bool) -> Result<(), E>,
) -> Result<(), E> {
    for _ in 0..WARM_UP {
        round(false)?;
    }
    let began = Instant::now();
    for done in 0..ROUNDS_MAX {
        if done >= ROUNDS_MIN && began.elapsed() >= budget {
            break;
        }
        round(true)?;
    }
    Ok(())
}

/// Nanoseconds as a person reads them.
pub(crate) fn shown(nanoseconds: u64) -> String {
    let thousandths = |unit: u64| nanoseconds as f64 / unit as f64;
    match nanoseconds {
        0..10_000 => format!("{nanoseconds} ns"),
        10_000..10_000_000 => format!("{:.1} µs", thousandths(1_000)),
        10_000_000..10_000_000_000 => format!("{:.1} ms", thousandths(1_000_000)),
        _ => format!("{:.1} s", thousandths(1_000_000_000)),
    }
}
