//! Success rates of endpoints against one another.

/// What had been counted of an endpoint at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) total: u64,
    pub(super) successes: u64,
}

impl Counted {
    /// What has come since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            total: self.total.saturating_sub(before.total),
            successes: self.successes.saturating_sub(before.successes),
        }
    }

    /// Successes of 100; `None` with fewer than `volume` requests.
    #[allow(clippy::cast_precision_loss)] // Far below 2^52.
    pub(super) fn rate(self, volume: u32) -> Option<f64> {
        let is_enough = self.total > 0 && self.total >= u64::from(volume);
        is_enough.then(|| self.successes as f64 * 100.0 / self.total as f64)
    }
}

/// The rate below which an endpoint is an outlier, if there are `hosts` rates:
/// so many thousandths of the standard deviation below the mean.
#[allow(clippy::cast_precision_loss)]
pub(super) fn threshold(rates: &[f64], hosts: u32, factor: u32) -> Option<f64> {
    if rates.is_empty() || rates.len() < hosts as usize {
        return None;
    }
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
    Some(mean - f64::from(factor) / 1000.0 * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_lies_below_the_mean_by_the_deviation() {
        // As in Envoy's own test (`outlier_detection_impl_test.cc`): a mean of 90
        // and a deviation of 20.
        let rates = [100.0, 100.0, 100.0, 100.0, 50.0];
        let threshold = threshold(&rates, 5, 1900).unwrap();
        assert!((threshold - 52.0).abs() < 1e-9, "{threshold}");
        assert_eq!(super::threshold(&rates, 6, 1900), None);
        assert_eq!(super::threshold(&[], 0, 1900), None);
    }

    #[test]
    fn a_rate_needs_enough_requests() {
        let counted = Counted {
            total: 100,
            successes: 50,
        };
        assert_eq!(counted.rate(100), Some(50.0));
        assert_eq!(counted.rate(101), None);
        assert_eq!(Counted::default().rate(0), None);
    }
}
