//! Metrics that guests define. Counters and histograms have a cell for each
//! worker, which only that worker writes; a gauge is one number for all, since
//! setting it on one worker means setting it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use weir_abi::{Metric, MetricType};

/// Upper bounds of a histogram's buckets: Envoy's default.
const BUCKETS: [f64; 19] = [
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

/// One worker's share of a metric, or all of a gauge.
#[derive(Debug, Default)]
struct Cell {
    /// Value of a counter or gauge; sum of a histogram's samples.
    value: AtomicU64,
    /// Samples by bucket, the last for what is above all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

/// A metric's cells, by worker.
type Cells = BTreeMap<usize, Arc<Cell>>;

/// All metrics that guests of any worker have defined. Locked to define and to
/// read, not to count.
#[derive(Debug, Default)]
pub(crate) struct GuestMetrics {
    metrics: Mutex<BTreeMap<(String, MetricType), Cells>>,
}

impl GuestMetrics {
    /// The metric of this kind and name, as `worker` counts it.
    pub(crate) fn define(
        self: &Arc<Self>,
        worker: usize,
        kind: MetricType,
        name: &str,
    ) -> Rc<dyn Metric> {
        let share = if kind == MetricType::Gauge { 0 } else { worker };
        let key = (name.to_owned(), kind);
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = metrics.entry(key.clone()).or_default();
        let cell = Arc::clone(cells.entry(share).or_default());
        Rc::new(GuestMetric {
            kind,
            cell,
            key,
            all: Arc::clone(self),
        })
    }

    fn sum(&self, key: &(String, MetricType)) -> u64 {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        metrics.get(key).map_or(0, total)
    }

    /// All metrics in Prometheus' text format, under the guests' own names.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        for ((name, kind), cells) in metrics.iter() {
            let name = prometheus_name(name);
            // Writing to a string does not fail.
            let _ = match kind {
                MetricType::Counter => {
                    writeln!(text, "# TYPE {name} counter\n{name} {}", total(cells))
                }
                MetricType::Gauge => writeln!(
                    text,
                    "# TYPE {name} gauge\n{name} {}",
                    total(cells).cast_signed()
                ),
                MetricType::Histogram => histogram(&mut text, &name, cells),
            };
        }
        text
    }
}

fn total(cells: &Cells) -> u64 {
    cells.values().fold(0, |sum, c| {
        sum.wrapping_add(c.value.load(Ordering::Relaxed))
    })
}

fn histogram(text: &mut String, name: &str, cells: &Cells) -> std::fmt::Result {
    writeln!(text, "# TYPE {name} histogram")?;
    let mut count = 0;
    for bucket in 0..=BUCKETS.len() {
        let samples = |c: &Arc<Cell>| c.buckets[bucket].load(Ordering::Relaxed);
        count += cells.values().map(samples).sum::<u64>();
        match BUCKETS.get(bucket) {
            Some(bound) => writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}")?,
            None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}")?,
        }
    }
    writeln!(text, "{name}_sum {}\n{name}_count {count}", total(cells))
}

/// `name` with everything that Prometheus does not allow turned into `_`.
fn prometheus_name(name: &str) -> String {
    let mut clean: String = name
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | ':' => c,
            _ => '_',
        })
        .collect();
    if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

/// One worker's hold of a metric.
struct GuestMetric {
    kind: MetricType,
    cell: Arc<Cell>,
    key: (String, MetricType),
    all: Arc<GuestMetrics>,
}

impl GuestMetric {
    /// The worker adds to its own cell: a plain load and store.
    fn add_own(number: &AtomicU64, n: u64) {
        let now = number.load(Ordering::Relaxed);
        number.store(now.wrapping_add(n), Ordering::Relaxed);
    }
}

impl Metric for GuestMetric {
    fn add(&self, delta: i64) {
        let delta = delta.cast_unsigned();
        if self.kind == MetricType::Gauge {
            self.cell.value.fetch_add(delta, Ordering::Relaxed);
        } else {
            Self::add_own(&self.cell.value, delta);
        }
    }

    fn record(&self, value: u64) {
        match self.kind {
            MetricType::Counter => Self::add_own(&self.cell.value, value),
            MetricType::Gauge => self.cell.value.store(value, Ordering::Relaxed),
            MetricType::Histogram => {
                Self::add_own(&self.cell.value, value);
                #[allow(clippy::cast_precision_loss)] // Bounds are small numbers.
                let bucket = BUCKETS.partition_point(|bound| *bound < value as f64);
                Self::add_own(&self.cell.buckets[bucket], 1);
            }
        }
    }

    fn value(&self) -> u64 {
        self.all.sum(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_workers_and_a_gauge_is_one_number() {
        let all = Arc::new(GuestMetrics::default());
        let counters = [0, 1].map(|w| all.define(w, MetricType::Counter, "a.b c"));
        let gauges = [0, 1].map(|w| all.define(w, MetricType::Gauge, "level"));
        counters[0].add(3);
        counters[1].record(4);
        gauges[0].record(10);
        gauges[1].record(5);
        gauges[0].add(-7);
        assert_eq!(counters[0].value(), 7);
        assert_eq!(gauges[1].value().cast_signed(), -2);
        assert_eq!(
            all.render(),
            "# TYPE a_b_c counter\na_b_c 7\n# TYPE level gauge\nlevel -2\n"
        );
    }

    #[test]
    fn a_histogram_counts_samples_by_bucket() {
        let all = Arc::new(GuestMetrics::default());
        let histogram = all.define(0, MetricType::Histogram, "h");
        for sample in [0, 1, 30, 4_000_000] {
            histogram.record(sample);
        }
        let text = all.render();
        for line in [
            "h_bucket{le=\"0.5\"} 1",
            "h_bucket{le=\"1\"} 2",
            "h_bucket{le=\"25\"} 2",
            "h_bucket{le=\"50\"} 3",
            "h_bucket{le=\"+Inf\"} 4",
            "h_sum 4000031",
            "h_count 4",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_name_becomes_one_that_prometheus_takes() {
        assert_eq!(prometheus_name("redact.hits"), "redact_hits");
        assert_eq!(prometheus_name("5xx"), "_5xx");
    }
}
