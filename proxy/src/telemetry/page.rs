//! [`Page`]: all metrics as they are at one moment, in Prometheus' text format.

use std::collections::{BTreeMap, BTreeSet};

use prometheus::TextEncoder;
use prometheus::proto;
use weir_abi::MetricType;

use super::cell::Snapshot;
use super::family::{ALL, Family, word};
use super::stats::Stat;

/// Names and values of a series' labels.
pub(super) type Labels = Vec<(String, String)>;

/// The label that tells the other version of a filter from its own.
pub(super) const VERSION: &str = "version";

/// Labels that are left out where they are empty: there is nothing to be told apart.
const OPTIONAL: [&str; 3] = [VERSION, "envoy_rbac_http_prefix", "envoy_rbac_rules_prefix"];

/// What a series comes to.
#[derive(Debug)]
pub(super) enum Value {
    Count(u64),
    Level(i64),
    Samples(Snapshot),
}

impl Value {
    fn kind(&self) -> MetricType {
        match self {
            Self::Count(_) => MetricType::Counter,
            Self::Level(_) => MetricType::Gauge,
            Self::Samples(_) => MetricType::Histogram,
        }
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(sum), Self::Count(n)) => *sum = sum.wrapping_add(n),
            (Self::Level(sum), Self::Level(n)) => *sum = sum.wrapping_add(n),
            (Self::Samples(sum), Self::Samples(more)) => sum.add(&more),
            // Series are kept apart by kind.
            (Self::Count(_) | Self::Level(_) | Self::Samples(_), _) => {}
        }
    }
}

/// The series of one family.
type Series = BTreeMap<Labels, Value>;

/// All metrics as they are at one moment. What is added to the same series adds
/// up.
#[derive(Debug, Default)]
pub(crate) struct Page {
    own: BTreeMap<&'static str, (&'static Family, Series)>,
    /// Counters whose names hold that of a plugin, with their help.
    of_plugins: BTreeMap<String, (&'static str, u64)>,
    /// By the names that guests have given them; with those that are well-formed.
    guests: BTreeMap<(String, MetricType), (String, Labels, Value)>,
}

impl Page {
    /// Adds to a series of the host's own; `labels` are the values of the
    /// family's labels.
    pub(super) fn add(&mut self, family: &'static Family, labels: &[&str], value: Value) {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        debug_assert_eq!(family.kind, value.kind(), "{}", family.name);
        let names = family.labels.iter().map(|name| (*name).to_owned());
        let labels = names.zip(labels.iter().map(|value| (*value).to_owned()));
        let is_optional = |name: &String| OPTIONAL.contains(&name.as_str());
        let labels = labels.filter(|(name, value)| !value.is_empty() || !is_optional(name));
        self.add_labelled(family, labels.collect(), value);
    }

    /// The same, to a series whose labels are not those of the whole family.
    pub(super) fn add_labelled(&mut self, family: &'static Family, labels: Labels, value: Value) {
        let (_, series) = self
            .own
            .entry(family.name)
            .or_insert_with(|| (family, Series::new()));
        add(series, labels, value);
    }

    pub(super) fn count(&mut self, family: &'static Family, labels: &[&str], n: u64) {
        self.add(family, labels, Value::Count(n));
    }

    pub(super) fn level(&mut self, family: &'static Family, labels: &[&str], n: u64) {
        self.add(family, labels, Value::Level(n.cast_signed()));
    }

    pub(super) fn samples(&mut self, family: &'static Family, labels: &[&str], s: Snapshot) {
        self.add(family, labels, Value::Samples(s));
    }

    /// Adds to a counter of the host's own that has no labels, but the name of a
    /// plugin in its own.
    pub(super) fn count_for_plugin(&mut self, name: String, help: &'static str, n: u64) {
        self.of_plugins.entry(name).or_insert((help, 0)).1 += n;
    }

    /// A metric of guests', with a name and labels that are well-formed.
    pub(super) fn add_guest(&mut self, full: &str, shown: (String, Labels), value: Value) {
        let (name, labels) = shown;
        let key = (full.to_owned(), value.kind());
        self.guests.insert(key, (name, labels, value));
    }

    /// Everything, by the names that Envoy has for it.
    pub(super) fn stats(&self) -> impl Iterator<Item = Stat<'_>> {
        let own = self.own.values().flat_map(|(family, series)| {
            let stat = |(labels, value)| Stat::own(family, labels, value);
            series.iter().map(stat)
        });
        let of_plugins = self.of_plugins.iter();
        let of_plugins = of_plugins.map(|(name, (_, n))| Stat::of_plugin(name, *n));
        let guests = self.guests.iter();
        let guests = guests.map(|((full, _), (_, _, value))| Stat::of_guest(full, value));
        own.chain(of_plugins).chain(guests)
    }

    /// Leaves out what is not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(&Stat<'_>) -> bool) {
        self.own.retain(|_, (family, series)| {
            series.retain(|labels, value| wanted(&Stat::own(family, labels, value)));
            !series.is_empty()
        });
        self.of_plugins
            .retain(|name, (_, n)| wanted(&Stat::of_plugin(name, *n)));
        self.guests
            .retain(|(full, _), (_, _, value)| wanted(&Stat::of_guest(full, value)));
    }

    /// The page as text. A family of guests' whose name is taken gets its kind
    /// behind its name, and as many underscores as it needs.
    ///
    /// # Errors
    /// Those of the encoder.
    pub(super) fn render(self) -> prometheus::Result<String> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        // Filters of Istio's that are guests have its names, where Weir does not.
        let is_taken = |family: &&&Family| {
            !family.name.starts_with("istio_") || self.own.contains_key(family.name)
        };
        for family in ALL.iter().filter(is_taken) {
            taken.extend(sample_names(family.name, family.kind));
        }
        let own = self.own.into_values();
        let mut families: Vec<proto::MetricFamily> = own
            .map(|(family, series)| encode(family.name, family.help, family.kind, series))
            .collect();
        for (name, (help, n)) in self.of_plugins {
            let series = Series::from([(Labels::new(), Value::Count(n))]);
            families.push(encode(&name, help, MetricType::Counter, series));
            taken.insert(name);
        }
        let mut guests: BTreeMap<(String, MetricType), Series> = BTreeMap::new();
        for ((_, kind), (name, labels, value)) in self.guests {
            add(guests.entry((name, kind)).or_default(), labels, value);
        }
        for ((wanted, kind), series) in guests {
            let free = |name: &str| !sample_names(name, kind).iter().any(|n| taken.contains(n));
            let mut name = wanted;
            if !free(&name) {
                name = format!("{name}_{}", word(kind));
            }
            while !free(&name) {
                name.push('_');
            }
            taken.extend(sample_names(&name, kind));
            families.push(encode(&name, "", kind, series));
        }
        TextEncoder::new().encode_to_string(&families)
    }
}

fn add(series: &mut Series, labels: Labels, value: Value) {
    match series.get_mut(&labels) {
        Some(sum) => sum.add(value),
        None => {
            series.insert(labels, value);
        }
    }
}

/// The names that samples of a family go by.
fn sample_names(name: &str, kind: MetricType) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        MetricType::Counter | MetricType::Gauge => &[""],
        MetricType::Histogram => &["", "_bucket", "_sum", "_count"],
    };
    suffixes.iter().map(|s| format!("{name}{s}")).collect()
}

fn encode(name: &str, help: &str, kind: MetricType, series: Series) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(match kind {
        MetricType::Counter => proto::MetricType::COUNTER,
        MetricType::Gauge => proto::MetricType::GAUGE,
        MetricType::Histogram => proto::MetricType::HISTOGRAM,
    });
    let series = series.into_iter();
    family.set_metric(
        series
            .map(|(labels, value)| sample(labels, &value))
            .collect(),
    );
    family
}

#[allow(clippy::cast_precision_loss)] // The format's numbers are floats.
fn sample(labels: Labels, value: &Value) -> proto::Metric {
    let pair = |(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name);
        pair.set_value(value);
        pair
    };
    let mut metric = proto::Metric::from_label(labels.into_iter().map(pair).collect());
    match value {
        Value::Count(n) => {
            let mut counter = proto::Counter::default();
            counter.set_value(*n as f64);
            metric.set_counter(counter);
        }
        Value::Level(n) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(*n as f64);
            metric.set_gauge(gauge);
        }
        Value::Samples(snapshot) => metric.set_histogram(histogram(snapshot)),
    }
    metric
}

#[allow(clippy::cast_precision_loss)] // The format's numbers are floats.
fn histogram(snapshot: &Snapshot) -> proto::Histogram {
    let per_unit = snapshot.buckets.per_unit;
    let mut cumulative = 0;
    let buckets = snapshot.buckets.bounds.iter().zip(&snapshot.counts);
    let buckets = buckets.map(|(bound, count)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound / per_unit);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(snapshot.count());
    histogram.set_sample_sum(snapshot.sum as f64 / per_unit);
    histogram
}
