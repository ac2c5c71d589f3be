//! What operators see of Weir: metrics and the access log.

mod access_log;
mod cell;
mod family;
mod fetch_metrics;
mod generations;
mod guest_metrics;
mod http_metrics;
mod metrics;
mod page;
mod plugin_metrics;
mod reports;
mod shared_metrics;
mod tags;
mod vm_metrics;

pub(crate) use self::access_log::{AccessLog, LogSubject, header_value};
pub(crate) use self::fetch_metrics::fetches;
pub(crate) use self::generations::{GenerationCells, Generations};
pub(crate) use self::guest_metrics::GuestMetrics;
pub(crate) use self::http_metrics::{
    ClusterMetrics, DownstreamRequest, ListenerMetrics, UpstreamRequest,
};
pub(crate) use self::metrics::{Metrics, WorkerMetrics};
pub(crate) use self::reports::Reports;
pub(crate) use self::vm_metrics::{
    CalloutKind, CalloutOutcome, CalloutRecord, RunningVm, VmMetrics,
};
