//! The figures of a run, and their table.

use std::time::Duration;

use super::load::Load;

/// What one load of one proxy came to; times in microseconds.
pub(super) struct Sample {
    requests_per_second: f64,
    cpu_per_request: f64,
    p50: f64,
    p99: f64,
    /// Of one core, in percent: near 100 the proxy was what set the pace.
    cpu: f64,
}

impl Sample {
    pub(super) fn new(load: &Load, cpu_time: Duration) -> Self {
        Self {
            requests_per_second: load.requests_per_second(),
            cpu_per_request: micros(cpu_time) / load.requests as f64,
            p50: micros(load.p50),
            p99: micros(load.p99),
            cpu: 100.0 * cpu_time.as_secs_f64() / load.elapsed.as_secs_f64(),
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What a column shows.
struct Column {
    heading: &'static str,
    decimals: usize,
    figure: fn(&Sample) -> f64,
}

const fn column(heading: &'static str, decimals: usize, figure: fn(&Sample) -> f64) -> Column {
    Column {
        heading,
        decimals,
        figure,
    }
}

const COLUMNS: [Column; 5] = [
    column("requests/s", 0, |s| s.requests_per_second),
    column("CPU us/request", 1, |s| s.cpu_per_request),
    column("p50 us", 0, |s| s.p50),
    column("p99 us", 0, |s| s.p99),
    column("% of a core", 0, |s| s.cpu),
];

/// Prints a row for each name, from the samples at its place.
pub(super) fn print(names: &[&str], samples: &[Vec<Sample>]) {
    let headings = COLUMNS.map(|c| format!("{:>26}", c.heading));
    println!("{:<18}{}", "", headings.concat());
    let base = samples.first().map_or(&[][..], Vec::as_slice);
    for (name, samples) in names.iter().zip(samples) {
        let cells = COLUMNS.map(|column| format!("{:>26}", cell(&column, samples, base)));
        println!("{name:<18}{}", cells.concat());
    }
}

/// Median, spread, and ratio to the median of `base`.
fn cell(column: &Column, samples: &[Sample], base: &[Sample]) -> String {
    let sorted = |samples: &[Sample]| {
        let mut figures: Vec<_> = samples.iter().map(column.figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let (figures, base) = (sorted(samples), sorted(base));
    let (Some(lowest), Some(highest)) = (figures.first(), figures.last()) else {
        return String::new();
    };
    let (median, ratio) = (median(&figures), median(&figures) / median(&base));
    let decimals = column.decimals;
    format!("{median:.decimals$} ({lowest:.decimals$}-{highest:.decimals$}) {ratio:.2}")
}

/// Of an odd number of figures in order.
fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(micros: u64) -> Sample {
        let load = Load {
            requests: 1000,
            errors: 0,
            elapsed: Duration::from_millis(500),
            p50: Duration::from_micros(micros),
            p99: Duration::ZERO,
        };
        Sample::new(&load, Duration::from_millis(250))
    }

    #[test]
    fn figures_are_per_request_and_per_core() {
        let sample = sample(20);
        assert_eq!(sample.requests_per_second, 2000.0);
        assert_eq!(sample.cpu_per_request, 250.0);
        assert_eq!(sample.cpu, 50.0);
    }

    #[test]
    fn cell_has_median_spread_and_ratio() {
        let (samples, base) = ([30, 20, 90].map(sample), [20, 10, 40].map(sample));
        assert_eq!(cell(&COLUMNS[2], &samples, &base), "30 (20-90) 1.50");
    }
}
