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

/// How a histogram divides its samples.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// Upper bounds, ascending, in the unit of the samples.
    pub(super) bounds: &'static [f64],
    /// How many of the samples' units are one of those that are shown.
    pub(super) per_unit: f64,
}

/// Envoy's default bounds, for what guests measure.
pub(super) static PLAIN: Buckets = Buckets {
    bounds: &[
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
    ],
    per_unit: 1.0,
};

/// Envoy's default bounds, in milliseconds, of samples in microseconds.
pub(super) static REQUEST_TIME: Buckets = Buckets {
    bounds: &[
        500.0, 1e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 30e6, 60e6,
        300e6, 600e6, 1_800e6, 3_600e6,
    ],
    per_unit: 1e3,
};

/// 1 µs to 5 s, shown in seconds, of samples in nanoseconds.
pub(super) static CALLBACK_TIME: Buckets = Buckets {
    bounds: &[
        1e3, 2.5e3, 5e3, 10e3, 25e3, 50e3, 100e3, 250e3, 500e3, 1e6, 2.5e6, 5e6, 10e6, 25e6, 50e6,
        100e6, 250e6, 500e6, 1e9, 2.5e9, 5e9,
    ],
    per_unit: 1e9,
};

/// One thread's samples of a histogram.
#[derive(Debug)]
pub(super) struct Samples {
    buckets: &'static Buckets,
    /// Samples by bucket, the last for what is above all bounds.
    counts: Box<[Counter]>,
    sum: Counter,
}

impl Samples {
    pub(super) fn new(buckets: &'static Buckets) -> Self {
        Self {
            buckets,
            counts: (0..=buckets.bounds.len())
                .map(|_| Counter::default())
                .collect(),
            sum: Counter::default(),
        }
    }

    pub(super) fn record(&self, sample: u64) {
        #[allow(clippy::cast_precision_loss)] // What is lost, is far from any bound.
        let place = sample as f64;
        let bucket = self.buckets.bounds.partition_point(|bound| *bound < place);
        self.counts[bucket].add(1);
        self.sum.add(sample);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            buckets: self.buckets,
            counts: self.counts.iter().map(Counter::get).collect(),
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
