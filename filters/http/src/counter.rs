//! Metrics that only grow.

use log::warn;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// A counter. A host that refuses it costs the figure, not the filter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter(Option<u32>);

impl Counter {
    /// Defines the metric, in `on_configure`.
    #[must_use]
    pub fn define(name: &str) -> Self {
        let id = hostcalls::define_metric(MetricType::Counter, name);
        if let Err(status) = id {
            warn!("no metric `{name}`: the host answered {status:?}");
        }
        Self(id.ok())
    }

    /// Counts up. By 0 is no call: hosts refuse it.
    pub fn add(self, count: u64) {
        let Some(id) = self.0.filter(|_| count > 0) else {
            return;
        };
        if let Err(status) =
            hostcalls::increment_metric(id, i64::try_from(count).unwrap_or(i64::MAX))
        {
            warn!("a metric cannot be counted up: the host answered {status:?}");
        }
    }
}
