//! Every limit of the client, with its unit and reason.

use std::time::Duration;

/// Bytes of one message of the server. Without deltas a message has all resources of a
/// type: 20,000 endpoints are some 5 MB.
pub const MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Bytes that the resources of one type may have together: deltas add up without end.
pub const RESOURCE_BYTES: usize = 256 * 1024 * 1024;

/// Resources that there may be of one type; each costs memory beside its own bytes.
pub const RESOURCES: usize = 100_000;

/// Time for a connection to the server, TLS included. Envoy's default for a cluster.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the first attempt to connect again, and the longest one. Envoy's
/// (`grpc_mux_impl.cc`).
pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// See [`BACKOFF_FIRST`].
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// How often the server is asked whether it is there while it says nothing, and how
/// long it may take to answer: a connection that was lost without a word would keep the
/// proxy on an old configuration.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// See [`KEEPALIVE_INTERVAL`].
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before the second of several refusals in a row of a type, doubled with each,
/// and the longest one: servers send what was refused again as soon as they hear of it.
pub(crate) const REFUSAL_PAUSE: Duration = Duration::from_millis(100);
/// See [`REFUSAL_PAUSE`].
pub(crate) const REFUSAL_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Answers that wait to be sent; as long as there are so many, nothing more is read.
pub(crate) const ANSWERS_WAITING: usize = 64;

/// Bytes of the reasons in one refusal: the server gets them in one message, and writes
/// them into a log.
pub(crate) const DETAIL_BYTES: usize = 4 * 1024;

/// Bytes of a text of the server that are kept to be shown.
pub(crate) const SHOWN_BYTES: usize = 512;

/// Bytes that the server may send of one stream before it is read. More than HTTP/2
/// gives: large messages would wait for a round trip every 64 KiB.
pub(crate) const WINDOW_BYTES: u32 = 1024 * 1024;

/// Types of resources that nobody has asked for and that a stream's log names; more are
/// only counted.
pub(crate) const WARNINGS_A_STREAM: u32 = 8;
