//! What operators see of Weir: metrics and the access log.

mod access_log;
mod guest_metrics;
mod metrics;
mod reports;
mod shared_metrics;

pub(crate) use self::access_log::AccessLog;
pub(crate) use self::guest_metrics::GuestMetrics;
pub(crate) use self::metrics::{Metrics, VmMetrics, WorkerMetrics};
pub(crate) use self::reports::Reports;
