//! Metrics that guests define. Counters and histograms have a cell for each
//! worker, which only that worker writes; a gauge is one number for all, since
//! setting it on one worker means setting it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_abi::{DefineError, Metric, MetricType};

use super::cell::{Counter, PLAIN, Samples, Snapshot};
use super::family as f;
use super::page::{Page, VERSION, Value};
use super::tags;
use crate::limits::GUEST_METRICS_MAX;
use crate::rollout::Version;

/// Each worker's share of a metric, by worker. Locked to define and to read, not
/// to count.
type Shares<T> = Mutex<BTreeMap<usize, Arc<T>>>;

/// A metric of one kind and full name.
#[derive(Debug, Clone)]
enum Shared {
    Counter(Arc<Shares<Counter>>),
    Gauge(Arc<AtomicI64>),
    Histogram(Arc<Shares<Samples>>),
}

impl Shared {
    fn new(kind: MetricType) -> Self {
        match kind {
            MetricType::Counter => Self::Counter(Arc::default()),
            MetricType::Gauge => Self::Gauge(Arc::default()),
            MetricType::Histogram => Self::Histogram(Arc::default()),
        }
    }

    /// The metric as `worker` counts it.
    fn of(&self, worker: usize) -> Rc<dyn Metric> {
        match self {
            Self::Counter(all) => Rc::new(GuestCounter {
                own: share(all, worker, Counter::default),
                all: Arc::clone(all),
            }),
            Self::Gauge(level) => Rc::new(GuestGauge(Arc::clone(level))),
            Self::Histogram(all) => {
                Rc::new(GuestHistogram(share(all, worker, || Samples::new(&PLAIN))))
            }
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Counter(all) => Value::Count(total(all)),
            Self::Gauge(level) => Value::Level(level.load(Ordering::Relaxed)),
            Self::Histogram(all) => {
                let mut sum = Samples::new(&PLAIN).snapshot();
                each(all, |samples| Snapshot::add(&mut sum, &samples.snapshot()));
                Value::Samples(sum)
            }
        }
    }
}

fn share<T>(all: &Shares<T>, worker: usize, new: impl FnOnce() -> T) -> Arc<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(all.entry(worker).or_insert_with(|| Arc::new(new())))
}

fn each<T>(all: &Shares<T>, each: impl FnMut(&Arc<T>)) {
    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.values().for_each(each);
}

fn total(all: &Shares<Counter>) -> u64 {
    let mut sum: u64 = 0;
    each(all, |counter| sum = sum.wrapping_add(counter.get()));
    sum
}

/// All metrics that guests of any worker have defined.
#[derive(Debug, Default)]
pub(crate) struct GuestMetrics {
    metrics: Mutex<BTreeMap<(String, Version, MetricType), Shared>>,
    refused: AtomicU64,
}

impl GuestMetrics {
    /// The metric of this kind and name, as `worker` counts it; each version of a
    /// filter has its own.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn define(
        &self,
        worker: usize,
        version: Version,
        kind: MetricType,
        name: &str,
    ) -> Result<Rc<dyn Metric>, DefineError> {
        let key = (name.to_owned(), version, kind);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(metric) = metrics.get(&key) {
            return Ok(metric.of(worker));
        }
        if metrics.len() >= GUEST_METRICS_MAX {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(DefineError::TooMany);
        }
        let metric = metrics.entry(key).or_insert_with(|| Shared::new(kind));
        Ok(metric.of(worker))
    }

    pub(super) fn show(&self, page: &mut Page) {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        page.level(&f::GUEST_METRICS, &[], metrics.len() as u64);
        let refused = self.refused.load(Ordering::Relaxed);
        page.count(&f::GUEST_METRICS_REFUSED, &[], refused);
        for ((full, version, _), metric) in metrics.iter() {
            let (name, mut labels) = tags::parse(full);
            if *version != Version::Stable && labels.iter().all(|(name, _)| name != VERSION) {
                labels.push((VERSION.to_owned(), version.label().to_owned()));
            }
            page.add_guest(full, (name, labels), metric.value());
        }
    }
}

/// One worker's hold of a counter.
struct GuestCounter {
    own: Arc<Counter>,
    all: Arc<Shares<Counter>>,
}

impl Metric for GuestCounter {
    fn add(&self, delta: i64) {
        self.own.add(delta.cast_unsigned());
    }

    fn record(&self, value: u64) {
        self.own.add(value);
    }

    fn value(&self) -> u64 {
        total(&self.all)
    }
}

struct GuestGauge(Arc<AtomicI64>);

impl Metric for GuestGauge {
    fn add(&self, delta: i64) {
        self.0.fetch_add(delta, Ordering::Relaxed);
    }

    fn record(&self, value: u64) {
        self.0.store(value.cast_signed(), Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed).cast_unsigned()
    }
}

/// One worker's hold of a histogram, which is only ever given samples.
struct GuestHistogram(Arc<Samples>);

impl Metric for GuestHistogram {
    fn add(&self, _: i64) {}

    fn record(&self, value: u64) {
        self.0.record(value);
    }

    fn value(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests;
