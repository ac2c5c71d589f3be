//! What operators see of Weir: metrics and the access log.

mod access_log;
mod cell;
mod cluster_counters;
mod discovery_metrics;
mod endpoint_cells;
mod failures;
mod family;
mod fetch_metrics;
mod figures;
mod generations;
mod guest_metrics;
mod http_metrics;
mod istio_metrics;
pub(crate) mod memory;
mod metrics;
mod page;
mod plugin_metrics;
mod rbac_metrics;
mod reports;
mod rollout_metrics;
mod shared_metrics;
mod span_metrics;
mod stats;
mod tags;
mod tls_metrics;
mod vm_metrics;

pub(crate) use self::access_log::{AccessLog, LogSubject, header_value};
pub(crate) use self::cell::Counter;
pub(crate) use self::cluster_counters::{ClusterCounters, EJECTION_KINDS, MembershipLevels};
pub(crate) use self::discovery_metrics::ControlPlane;
pub(crate) use self::endpoint_cells::EndpointCells;
pub(crate) use self::fetch_metrics::fetches;
pub(crate) use self::generations::{GenerationCells, Generations};
pub(crate) use self::guest_metrics::GuestMetrics;
pub(crate) use self::http_metrics::{
    ClusterMetrics, DownstreamConnection, DownstreamRequest, ListenerMetrics, PendingRequest,
    UpstreamRequest,
};
pub(crate) use self::istio_metrics::{
    ISTIO_METRICS, IstioCells, IstioConnectionCells, IstioLabels, IstioRequestCells,
    Room as IstioRoom,
};
pub(crate) use self::metrics::{Metrics, WorkerMetrics};
pub(crate) use self::page::Page;
pub(crate) use self::rbac_metrics::{RbacCells, RbacScope};
pub(crate) use self::reports::Reports;
pub(crate) use self::rollout_metrics::{Divergence, RolloutCells, ShadowOutcome};
pub(crate) use self::span_metrics::spans;
pub(crate) use self::stats::{HistogramBuckets, StatsQuery};
pub(crate) use self::tls_metrics::ShownBy;
pub(crate) use self::vm_metrics::{
    CalloutKind, CalloutOutcome, CalloutRecord, RunningVm, VmMetrics,
};
