//! Numbers that one thread writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The owning thread adds: a plain load and store, as nobody else writes.
    pub(crate) fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    pub(crate) fn subtract(&self, n: u64) {
        self.set(self.get().wrapping_sub(n));
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The most bounds that a histogram has.
const BOUNDS_MAX: usize = 21;

/// How a histogram divides its samples.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// Upper bounds, ascending, in the unit of the samples.
    pub(super) bounds: &'static [f64],
    /// The same for whole numbers.
    whole: &'static [u64],
    /// How many of the samples' units are one of those that are shown.
    pub(super) per_unit: f64,
}

/// The largest whole numbers that are not above `bounds`.
const fn whole<const COUNT: usize>(bounds: &[f64; COUNT]) -> [u64; COUNT] {
    let mut whole = [0; COUNT];
    let mut place = 0;
    while place < COUNT {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // As it says.
        {
            whole[place] = bounds[place] as u64;
        }
        place += 1;
    }
    whole
}

const PLAIN_BOUNDS: &[f64; 19] = &[
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

const REQUEST_BOUNDS: &[f64; 19] = &[
    500.0, 1e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 30e6, 60e6,
    300e6, 600e6, 1_800e6, 3_600e6,
];

const CALLBACK_BOUNDS: &[f64; BOUNDS_MAX] = &[
    1e3, 2.5e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6,
    100e6, 250e6, 500e6, 1e9, 2.5e9, 5e9,
];

/// Envoy's default bounds, for what guests measure.
pub(super) static PLAIN: Buckets = Buckets {
    bounds: PLAIN_BOUNDS,
    whole: &whole(PLAIN_BOUNDS),
    per_unit: 1.0,
};

/// Envoy's default bounds, in milliseconds, of samples in microseconds.
pub(super) static REQUEST_TIME: Buckets = Buckets {
    bounds: REQUEST_BOUNDS,
    whole: &whole(REQUEST_BOUNDS),
    per_unit: 1e3,
};

/// 1 µs to 5 s, shown in seconds, of samples in nanoseconds.
pub(super) static CALLBACK_TIME: Buckets = Buckets {
    bounds: CALLBACK_BOUNDS,
    whole: &whole(CALLBACK_BOUNDS),
    per_unit: 1e9,
};

/// One thread's samples of a histogram. Mostly they are small: those of the first
/// buckets and the sum are one line of the processor's cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Samples {
    buckets: &'static Buckets,
    sum: Counter,
    /// Samples by bucket, the last that there is for what is above all bounds.
    counts: [Counter; BOUNDS_MAX + 1],
}

impl Samples {
    pub(super) fn new(buckets: &'static Buckets) -> Self {
        Self {
            buckets,
            sum: Counter::default(),
            counts: [const { Counter::new() }; BOUNDS_MAX + 1],
        }
    }

    #[inline]
    pub(super) fn record(&self, sample: u64) {
        let whole = self.buckets.whole;
        let bucket = whole.iter().position(|bound| sample <= *bound);
        self.counts[bucket.unwrap_or(whole.len())].add(1);
        self.sum.add(sample);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let counts = &self.counts[..=self.buckets.bounds.len()];
        Snapshot {
            buckets: self.buckets,
            counts: counts.iter().map(Counter::get).collect(),
            sum: self.sum.get(),
        }
    }
}

/// A histogram as it is at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(super) buckets: &'static Buckets,
    pub(super) counts: Vec<u64>,
    pub(super) sum: u64,
}

impl Snapshot {
    /// Number of samples.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds the samples of another thread, which are divided in the same way.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let samples = Samples::new(&PLAIN);
        for sample in [0, 1, 2, 5, 6, 3_600_000, 3_600_001, u64::MAX] {
            samples.record(sample);
        }
        let snapshot = samples.snapshot();
        let counts = snapshot.counts.iter().enumerate();
        let filled: Vec<_> = counts.filter(|(_, count)| **count > 0).collect();
        assert_eq!(
            filled,
            [(0, &1), (1, &1), (2, &2), (3, &1), (18, &1), (19, &2)]
        );
        assert_eq!(snapshot.counts.len(), PLAIN.bounds.len() + 1);
    }
}
