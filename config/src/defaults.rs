//! What holds where the file is silent.

use std::time::Duration;

use crate::read::{ByteSize, Percent};

/// `drain_timeout`: how long connections get to finish before they are closed.
/// Long enough for ordinary requests, short enough for a rollout.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// `routes[].timeout`: as in Envoy.
pub const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);

/// `retry_policy.num_retries`: as in Envoy.
pub const RETRIES: u32 = 1;

/// `retry_policy.retry_back_off.base_interval`: as in Envoy.
pub const RETRY_BASE_INTERVAL: Duration = Duration::from_millis(25);

/// `retry_policy.retry_back_off.max_interval`, as a multiple of `base_interval`: as in
/// Envoy.
pub const RETRY_MAX_INTERVAL_FACTOR: u32 = 10;

/// `clusters[].retry_budget.budget_percent`: as in Envoy.
pub const RETRY_BUDGET: Percent = Percent::FIFTH;

/// `clusters[].retry_budget.min_retry_concurrency`, and `max_retries` of its circuit
/// breakers: as in Envoy.
pub const RETRY_CONCURRENCY: u32 = 3;

/// `clusters[].connect_timeout`: as in Envoy.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `reload_config.backoff.base_interval`: as in Envoy.
pub const RELOAD_BASE_INTERVAL: Duration = Duration::from_secs(1);

/// `reload_config.backoff.max_interval`, as a multiple of `base_interval`: as
/// in Envoy's `BackoffStrategy`.
pub const RELOAD_MAX_INTERVAL_FACTOR: u32 = 10;

/// `buffer_limit` of listeners and clusters: Envoy's
/// `per_connection_buffer_limit_bytes`.
pub const BUFFER_LIMIT: usize = 1 << 20;

/// `callouts.response_limit`: a call is for a decision, not for a download.
pub const CALLOUT_RESPONSE_LIMIT: usize = 16 << 20;

/// `compile_cache.max_size`: some hundred filters, in several versions.
pub const COMPILE_CACHE_SIZE: ByteSize = ByteSize(1 << 30);

/// `clusters[].idle_timeout`: below the 75s that servers commonly keep idle
/// connections for, so that it is not them who close first.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// `clusters[].dns_refresh_rate`: as in Envoy.
pub const DNS_REFRESH_RATE: Duration = Duration::from_secs(5);

/// `clusters[].healthy_panic_threshold`: as in Envoy.
pub const HEALTHY_PANIC_THRESHOLD: u32 = 50;

/// `clusters[].overprovisioning_factor`: as in Envoy.
pub const OVERPROVISIONING_FACTOR: u32 = 140;

/// `inspect.timeout`: Envoy's `listener_filters_timeout`.
pub const INSPECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// `proxy_protocol.timeout`: Envoy's `listener_filters_timeout`.
pub const PROXY_PROTOCOL_TIMEOUT: Duration = Duration::from_secs(15);

/// `tls.handshake_timeout`: what Envoy gives the inspection of a connection's first
/// bytes, with a round trip or two on a bad line.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// `tcp.idle_timeout`: as in Envoy.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// `remote.timeout`: as Istio's agent has it.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(15);

/// `remote.retry_policy.num_retries`: as in Envoy.
pub const FETCH_RETRIES: u32 = 1;

/// `modules.module_size`: an order of magnitude above the largest filters that are
/// known.
pub const MODULE_SIZE: usize = 64 << 20;

/// `modules.cache_size`: room for what a machine serves, a few versions of each.
pub const CACHE_SIZE: u64 = 1 << 30;

/// `modules.cache_expiry`: a registry may be away over a weekend, and a node be
/// restarted meanwhile.
pub const CACHE_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);

/// `rollback_on.window`: long enough for a few streams of a small share.
pub const ROLLBACK_WINDOW: Duration = Duration::from_secs(60);

/// `rollback_on.min_streams`: one failure among the first few streams is no rate.
pub const ROLLBACK_MIN_STREAMS: u32 = 100;
/// `tracing.service_name`: what spans are of.
pub const SERVICE_NAME: &str = "weir";

/// `tracing.otlp.timeout`: as OpenTelemetry has it.
pub const OTLP_TIMEOUT: Duration = Duration::from_secs(10);

/// `tracing.sampling`, in millionths: everything, as in Envoy.
pub const SAMPLING: u32 = 1_000_000;
