//! Every limit of the proxy, with its unit and reason.

use std::time::Duration;

/// Headers of one message. Envoy's default.
pub(crate) const HEADERS_COUNT_MAX: usize = 100;

/// Bytes of one message's head. Envoy's default (`max_request_headers_kb`).
pub(crate) const HEADERS_BYTES_MAX: usize = 60 * 1024;

/// Bytes that one filter may hold of one direction of a stream. Envoy's
/// `per_connection_buffer_limit_bytes`.
pub(crate) const FILTER_BUFFER_BYTES: usize = 1 << 20;

/// Bytes that may wait between the filters and a connection that is being made,
/// before the client is no longer read from.
pub(crate) const PENDING_BODY_BYTES: usize = 64 * 1024;

/// How long a client's connection may stay idle between requests.
pub(crate) const DOWNSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// How long a pooled connection to an endpoint may stay idle.
pub(crate) const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines that may wait for the access log's writer; more are dropped and
/// counted, a worker never waits.
pub(crate) const ACCESS_LOG_QUEUE: usize = 16 * 1024;

/// How often a worker publishes the memory of its VMs.
pub(crate) const MEMORY_SAMPLE_INTERVAL: Duration = Duration::from_millis(250);

/// How long an idle connection is kept open once the process drains: a client
/// that is just sending its next request is still answered.
pub(crate) const DRAIN_IDLE_GRACE: Duration = Duration::from_secs(1);

/// Connections that the kernel may have accepted before Weir does.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Pause after a connection could not be accepted.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(50);
