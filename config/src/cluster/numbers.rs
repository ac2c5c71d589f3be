//! Numbers with a range of their own.

use std::time::Duration;

use crate::error::Problem;
use crate::read::Fields;

impl Fields<'_, '_> {
    /// A number that is at least `least`.
    pub(super) fn number_from(&mut self, key: &str, least: u32, default: u32) -> u32 {
        self.number_in(key, least, u32::MAX, default)
    }

    /// A part of 100.
    pub(super) fn percent(&mut self, key: &str, default: u32) -> u32 {
        self.number_in(key, 0, 100, default)
    }

    fn number_in(&mut self, key: &str, least: u32, most: u32, default: u32) -> u32 {
        let Some(number) = self.valid::<u32>(key) else {
            return default;
        };
        if number.value < least {
            let message = format!("`{key}` must be at least {least}");
            self.problems.push(Problem::new(number.span, message));
        } else if number.value > most {
            let message = format!("`{key}` must be at most {most}");
            self.problems.push(Problem::new(number.span, message));
        }
        number.value
    }

    /// A duration of which 0 would make no sense: no connection would ever succeed,
    /// or something be done without a pause.
    pub(super) fn positive(&mut self, key: &str, default: Duration) -> Duration {
        self.positive_limit(key).unwrap_or(default)
    }

    /// The same, without a default.
    pub(super) fn positive_limit(&mut self, key: &str) -> Option<Duration> {
        let duration = self.valid::<Duration>(key)?;
        if duration.is_zero() {
            let problem = Problem::new(duration.span, format!("`{key}` must be more than 0"));
            self.problems.push(problem);
        }
        Some(duration.value)
    }

    /// A duration of whole seconds, at least one.
    pub(super) fn whole_seconds(&mut self, key: &str, default: Duration) -> Duration {
        let Some(duration) = self.valid::<Duration>(key) else {
            return default;
        };
        if duration.subsec_nanos() != 0 || duration.is_zero() {
            let message = format!("`{key}` must be whole seconds, at least one");
            self.problems.push(Problem::new(duration.span, message));
        }
        duration.value
    }

    /// A duration that has to be there, and is not 0.
    pub(super) fn required_positive(&mut self, key: &str) -> Duration {
        self.require(key);
        self.positive(key, Duration::from_secs(1))
    }

    /// A number that has to be there, and is not 0.
    pub(super) fn required_count(&mut self, key: &str) -> u32 {
        self.require(key);
        self.number_from(key, 1, 1)
    }
}
