//! What a run came to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::{Load, Paced};
use super::server::{CpuTime, Memory};

/// What is measured: its name in the file, and its decimals in a table.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) decimals: usize,
}

const fn figure(name: &'static str, decimals: usize) -> Figure {
    Figure { name, decimals }
}

/// CPU time per request.
pub(super) const CPU: Figure = figure("cpu_us", 1);
/// Of it, what was not the kernel's.
pub(super) const USER: Figure = figure("cpu_user_us", 1);
/// In a closed loop.
pub(super) const RATE: Figure = figure("requests_per_second", 0);
/// CPU time in a closed loop: near 100 the proxy was what set the pace.
pub(super) const CORE: Figure = figure("core_percent", 0);
/// Of the requests in a closed loop.
pub(super) const FAILED: Figure = figure("failed_percent", 2);
/// Latencies at a fixed pace.
pub(super) const P50: Figure = figure("p50_us", 0);
pub(super) const P99: Figure = figure("p99_us", 0);
pub(super) const P999: Figure = figure("p999_us", 0);
/// Resident memory after the load, and its highest.
pub(super) const MEMORY: Figure = figure("memory_mib", 1);
pub(super) const PEAK: Figure = figure("peak_mib", 1);
/// Until the first answer.
pub(super) const START: Figure = figure("start_ms", 0);

/// All that was measured of one proxy in one scenario, by the figure's name.
#[derive(Default)]
pub(super) struct Samples(BTreeMap<&'static str, Vec<f64>>);

impl Samples {
    fn push(&mut self, figure: &Figure, value: f64) {
        self.0.entry(figure.name).or_default().push(value);
    }

    pub(super) fn closed(&mut self, load: &Load, cpu_time: CpuTime) {
        let requests = load.requests.max(1) as f64;
        let elapsed = load.elapsed.as_secs_f64();
        self.push(&CPU, micros(cpu_time.all()) / requests);
        self.push(&USER, micros(cpu_time.user) / requests);
        self.push(&RATE, requests / elapsed);
        self.push(&CORE, 100.0 * cpu_time.all().as_secs_f64() / elapsed);
        self.push(&FAILED, 100.0 * load.failed as f64 / requests);
    }

    pub(super) fn paced(&mut self, paced: &Paced) {
        self.push(&P50, micros(paced.p50));
        self.push(&P99, micros(paced.p99));
        self.push(&P999, micros(paced.p999));
    }

    pub(super) fn start(&mut self, start: Duration) {
        self.push(&START, start.as_secs_f64() * 1e3);
    }

    pub(super) fn memory(&mut self, memory: Memory) {
        let mebibytes = |bytes| bytes as f64 / f64::from(1 << 20);
        self.push(&MEMORY, mebibytes(memory.now));
        self.push(&PEAK, mebibytes(memory.peak));
    }

    /// Median of what was measured so far, 0 if nothing was.
    pub(super) fn median(&self, figure: &Figure) -> f64 {
        spread(self.0.get(figure.name).map_or(&[], Vec::as_slice))
            .map_or(0.0, |[_, median, _]| median)
    }

    /// Each figure as `[lowest, median, highest]`.
    pub(super) fn to_json(&self) -> Value {
        self.each_to_json(|_, values| values.to_vec())
    }

    /// What comes of each figure of this and of `other`, measured in turn, pair by pair,
    /// as `[lowest, median, highest]`.
    pub(super) fn beside(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Value {
        self.each_to_json(|name, values| {
            let others = other.0.get(name).into_iter().flatten();
            let pairs = values.iter().zip(others).map(|(a, b)| of(*a, *b));
            // Nothing comes of a part of 0.
            pairs.filter(|value| value.is_finite()).collect()
        })
    }

    fn each_to_json(&self, of: impl Fn(&str, &[f64]) -> Vec<f64>) -> Value {
        let spreads = self.0.iter().filter_map(|(name, values)| {
            let of_all = spread(&of(name, values))?;
            let rounded = of_all.map(|value| (value * 1000.0).round() / 1000.0);
            Some(((*name).to_owned(), json!(rounded)))
        });
        Value::Object(spreads.collect())
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Lowest, median (the lower one of two) and highest.
fn spread(values: &[f64]) -> Option<[f64; 3]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some([*sorted.first()?, *median, *sorted.last()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_request_and_per_core() {
        let mut samples = Samples::default();
        let load = Load {
            requests: 1000,
            failed: 10,
            elapsed: Duration::from_millis(500),
        };
        let cpu_time = CpuTime {
            user: Duration::from_millis(150),
            kernel: Duration::from_millis(100),
        };
        samples.closed(&load, cpu_time);
        let medians = [CPU, USER, RATE, CORE, FAILED].map(|figure| samples.median(&figure));
        assert_eq!(medians, [250.0, 150.0, 2000.0, 50.0, 1.0]);
    }

    #[test]
    fn what_was_measured_in_turn_is_compared_pair_by_pair() {
        let of = |values: &[f64]| Samples([(CPU.name, values.to_vec())].into());
        let (one, other) = (of(&[10.0, 30.0, 60.0]), of(&[20.0, 40.0, 60.0]));
        let ratios = one.beside(&other, |one, other| one / other);
        assert_eq!(ratios, json!({ "cpu_us": [0.5, 0.75, 1.0] }));
        let of_some = one.beside(&of(&[0.0, 10.0, 30.0]), |one, other| one / other);
        assert_eq!(of_some, json!({ "cpu_us": [2.0, 2.0, 3.0] }));
        let of_none = one.beside(&of(&[0.0]), |one, other| one / other);
        assert_eq!(of_none, json!({}));
    }

    #[test]
    fn spread_is_of_all_values() {
        assert_eq!(spread(&[30.0, 20.0, 90.0]), Some([20.0, 30.0, 90.0]));
        assert_eq!(spread(&[2.0, 1.0]), Some([1.0, 1.0, 2.0]));
        assert_eq!(spread(&[]), None);
    }
}
