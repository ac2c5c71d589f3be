//! Latencies and their percentiles.

use std::time::Duration;

/// All latencies of a run.
#[derive(Debug)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(super) fn new(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self { sorted: latencies }
    }

    /// The least latency that `percent` of all requests did not exceed; 0 when
    /// there is none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        self.per_mille(10 * percent)
    }

    /// As [`Self::percentile`], in thousandths.
    #[must_use]
    pub fn per_mille(&self, per_mille: usize) -> Duration {
        let rank = (self.sorted.len() * per_mille).div_ceil(1000);
        let found = self.sorted.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentile(millis: &[u64], percent: usize) -> u128 {
        let latencies = millis.iter().map(|&n| Duration::from_millis(n)).collect();
        Latencies::new(latencies).percentile(percent).as_millis()
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentile(&hundred, 50), 50);
        assert_eq!(percentile(&hundred, 99), 99);
        assert_eq!(percentile(&[7, 3], 50), 3);
        assert_eq!(percentile(&[7, 3], 99), 7);
        assert_eq!(percentile(&[], 99), 0);
        let thousand = Latencies::new((1..=1000).map(Duration::from_millis).collect());
        assert_eq!(thousand.per_mille(999).as_millis(), 999);
    }
}
