//! Metrics that a filter defines.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use weir_abi::{Metric, MetricType};

/// One metric: a counter or gauge has a value, a histogram has samples.
#[derive(Default)]
pub(crate) struct TestMetric {
    value: Cell<u64>,
    samples: RefCell<Vec<u64>>,
    histogram: bool,
}

impl TestMetric {
    /// The value of a counter or gauge; the number of samples of a histogram.
    pub(crate) fn shown(&self) -> u64 {
        if self.histogram {
            self.samples.borrow().len() as u64
        } else {
            self.value.get()
        }
    }
}

impl Metric for TestMetric {
    fn add(&self, delta: i64) {
        self.value.set(self.value.get().wrapping_add_signed(delta));
    }

    fn record(&self, value: u64) {
        if self.histogram {
            self.samples.borrow_mut().push(value);
        } else {
            self.value.set(value);
        }
    }

    fn value(&self) -> u64 {
        self.value.get()
    }
}

/// A counter: what is recorded is added.
struct Counter(Rc<TestMetric>);

impl Metric for Counter {
    fn add(&self, delta: i64) {
        self.0.add(delta);
    }

    fn record(&self, value: u64) {
        self.0.value.set(self.0.value.get().wrapping_add(value));
    }

    fn value(&self) -> u64 {
        self.0.value()
    }
}

/// All metrics of one name: a kind makes one a metric of its own.
type Namesakes = Vec<(MetricType, Rc<TestMetric>)>;

/// All metrics of a filter by their names.
#[derive(Default)]
pub(crate) struct Metrics(RefCell<BTreeMap<String, Namesakes>>);

impl Metrics {
    pub(crate) fn define(&self, kind: MetricType, name: &str) -> Rc<dyn Metric> {
        let mut metrics = self.0.borrow_mut();
        let named = metrics.entry(name.to_owned()).or_default();
        let known = named.iter().find(|(k, _)| *k == kind).map(|(_, m)| m);
        let metric = known.cloned().unwrap_or_else(|| {
            let metric = Rc::new(TestMetric {
                histogram: kind == MetricType::Histogram,
                ..TestMetric::default()
            });
            named.push((kind, Rc::clone(&metric)));
            metric
        });
        match kind {
            MetricType::Counter => Rc::new(Counter(metric)),
            MetricType::Gauge | MetricType::Histogram => metric,
        }
    }

    /// What the metric `name` shows, if a filter has defined it.
    pub(crate) fn value(&self, name: &str) -> Option<u64> {
        let metrics = self.0.borrow();
        let (_, metric) = metrics.get(name)?.first()?;
        Some(metric.shown())
    }
}
