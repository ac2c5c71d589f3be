//! What holds where the file is silent.

use std::time::Duration;

/// `drain_timeout`: how long connections get to finish before they are closed.
/// Long enough for ordinary requests, short enough for a rollout.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// `routes[].timeout`: as in Envoy.
pub const ROUTE_TIMEOUT: Duration = Duration::from_secs(15);

/// `clusters[].connect_timeout`: as in Envoy.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// `reload_config.backoff.base_interval`: as in Envoy.
pub const RELOAD_BASE_INTERVAL: Duration = Duration::from_secs(1);

/// `reload_config.backoff.max_interval`, as a multiple of `base_interval`: as
/// in Envoy's `BackoffStrategy`.
pub const RELOAD_MAX_INTERVAL_FACTOR: u32 = 10;
