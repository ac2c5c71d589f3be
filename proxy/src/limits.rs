//! Every limit of the proxy, with its unit and reason.

use std::time::Duration;

/// Headers of one message. Envoy's default.
pub(crate) const HEADERS_COUNT_MAX: usize = 100;

/// Bytes of one message's head. Envoy's default (`max_request_headers_kb`).
pub(crate) const HEADERS_BYTES_MAX: usize = 60 * 1024;

/// Bytes of the head of a response from an endpoint.
pub(crate) const RESPONSE_HEADERS_BYTES_MAX: usize = 128 * 1024;

/// Room that is made for one read, on a connection that says little and on one
/// that says much.
pub(crate) const READ_BYTES_MIN: usize = 4 * 1024;
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of following requests that are read while one is served.
pub(crate) const PIPELINED_BYTES: usize = 16 * 1024;

/// Bytes of the line before a chunk, its extensions included. They have no
/// meaning to anyone, and a client must not make us read them without end.
pub(crate) const CHUNK_LINE_BYTES: usize = 4 * 1024;

/// Lines that may wait for the access log's writer; more are dropped and
/// counted, a worker never waits.
pub(crate) const ACCESS_LOG_QUEUE: usize = 16 * 1024;

/// Metrics that all filters together may define, by kind and full name: a filter
/// that is started again and again, or has requests in its names, would make the
/// page grow without end.
pub(crate) const GUEST_METRICS_MAX: usize = 32 * 1024;

/// How often a request that waits for one of the connections that there may be looks
/// whether there is one: what ends on another worker does not wake it.
pub(crate) const CONNECTIONS_INTERVAL: Duration = Duration::from_millis(50);

/// How often it is asked whether a rollout goes well. What a bad version spoils
/// meanwhile is little; a look adds up a few numbers.
pub(crate) const ROLLOUT_INTERVAL: Duration = Duration::from_millis(100);

/// Of so many streams, one may take longer than `rollback_on.latency`: that is the
/// 99th percentile.
pub(crate) const LATENCY_SHARE: u64 = 100;

/// How often a worker looks after its VMs: publishes their memory, replaces what
/// has grown too large.
pub(crate) const VM_CARE_INTERVAL: Duration = Duration::from_millis(250);

/// How long an idle connection is kept open once the process drains: a client
/// that is just sending its next request is still answered.
pub(crate) const DRAIN_IDLE_GRACE: Duration = Duration::from_secs(1);

/// Failures of one VM that a worker logs in a second; more are counted.
pub(crate) const FAILURE_REPORTS_MAX: u32 = 10;

/// Pause between two lines in the log about one limit of a VM: a filter that goes on
/// trying must not fill it.
pub(crate) const LIMIT_WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Lines that a VM may log in a second, if nothing else is said.
pub(crate) const LOG_LINES: u32 = 1000;

/// VMs that wait for a stream to have them to itself, of one filter on one worker.
/// Each costs what the filter has in memory.
pub(crate) const POOL_IDLE_MAX: usize = 64;

/// How many VMs that streams have to themselves are looked at when another stream
/// needs one: more than are lent meanwhile.
pub(crate) const POOL_LOOKS: usize = 4;

/// How often the files of the configuration are looked at. A change is taken over
/// when it has been the same twice.
pub(crate) const FILES_INTERVAL: Duration = Duration::from_millis(500);

/// How long loading a configuration gets the processor only when nobody else wants it.
/// On a machine that has nothing to spare, it has to go on after a while.
pub(crate) const LOAD_IDLE_TIME: Duration = Duration::from_secs(10);

/// By how much a thread that loads a configuration is nicer than those that serve, from
/// then on.
pub(crate) const LOAD_NICENESS: i32 = 10;

/// How long a process that wants to take over gets to say so.
pub(crate) const TAKEOVER_HELLO_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one that has got the sockets may take until it serves; it has compiled
/// its modules before it asks for them.
pub(crate) const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Sockets that are handed over in one message; the kernel takes up to 253.
pub(crate) const TAKEOVER_SOCKETS_PER_MESSAGE: usize = 64;

/// Bytes of the list of sockets that are handed over.
pub(crate) const TAKEOVER_LIST_MAX_BYTES: usize = 16 << 20;

/// Failures in a row, with no stream coming to its end in between, that are a
/// crash loop. Fewer may be bad luck with a few requests.
pub(crate) const CRASH_LOOP_FAILURES: u32 = 5;

/// A VM is not recycled for its size before it has grown by this part of what it
/// began with: another one would be as large at once.
pub(crate) const RECYCLE_GROWTH_PART: usize = 4;

/// How long the streams of a VM that has been replaced may go on in it.
pub(crate) const RECYCLE_DRAIN: Duration = Duration::from_secs(60);

/// Connections that the kernel may have accepted before Weir does.
pub(crate) const LISTEN_BACKLOG: i32 = 4096;

/// Descriptors that are not for connections from clients: of so many one, and some in
/// any case. A client's connection is of no use without one to an endpoint.
pub(crate) const DESCRIPTORS_KEPT_PART: u64 = 32;
pub(crate) const DESCRIPTORS_KEPT_MIN: u64 = 16;

/// Pause after a connection could not be accepted.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Body bytes that an HTTP/2 peer may send on one stream before they are read:
/// what a stream that nobody reads from costs at most.
pub(crate) const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;

/// Streams on one HTTP/2 connection, from a client or to an endpoint.
pub(crate) const HTTP2_STREAMS_MAX: u32 = 128;

/// Body bytes on all streams of a connection together: so many that streams
/// which nobody reads from leave room for the others.
pub(crate) const HTTP2_CONNECTION_WINDOW: u32 = HTTP2_STREAMS_MAX * HTTP2_STREAM_WINDOW;

/// Retries that a request can ask for itself: the header that does so may be forged.
pub(crate) const RETRIES_MAX: u32 = 100;

/// 1xx responses to one request. They pass at once, whoever reads them.
pub(crate) const INFORMATIONAL_MAX: usize = 64;

/// Streams that a client may reset before they were looked at; one more and the
/// connection ends (CVE-2023-44487).
pub(crate) const HTTP2_RESETS_PENDING_MAX: usize = 64;

/// How long an HTTP/2 client that has been told to make no more streams, and has
/// none, may leave its connection open.
pub(crate) const GOAWAY_PATIENCE: Duration = Duration::from_secs(1);

/// How long a connection to the admin may take to end.
pub(crate) const ADMIN_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the listeners of a new configuration wait until the names of its clusters
/// have been looked up and their endpoints been checked: what is not known by then is
/// served as it is.
pub(crate) const CLUSTER_START_PATIENCE: Duration = Duration::from_secs(5);

/// Sessions without tickets of one listener that can be resumed: those of clients that
/// take no tickets, each some hundred bytes.
pub(crate) const TLS_SESSIONS_MAX: usize = 1024;

/// Bytes of a client's first message that are read at once: as many as rustls takes.
pub(crate) const TLS_READ_BYTES: usize = 4 * 1024;

/// Bytes that a TCP proxy reads at once, in each direction of a connection.
pub(crate) const TCP_CHUNK_BYTES: usize = 16 * 1024;

/// Bytes of one side that filters of a TCP connection are shown at once, of what
/// waits in its socket.
pub(crate) const TCP_BURST_BYTES: usize = 1 << 20;

/// Changes from one shared queue to another, in the notes about new items that
/// wait for a busy VM; beyond that, notes of one queue come together.
pub(crate) const QUEUE_RUNS_MAX: usize = 4096;

/// Calls about items in shared queues that one VM gets before anything else on
/// its worker.
pub(crate) const QUEUE_CALLS_IN_A_ROW: u32 = 64;

/// Bytes that may wait to be sent on one gRPC stream of a filter; more is
/// refused. The endpoint reads more slowly than the filter writes.
pub(crate) const GRPC_OUTBOX_BYTES: usize = 16 << 20;

/// Bytes that may wait to be sent on all gRPC streams of one VM together.
pub(crate) const GRPC_OUTBOXES_BYTES: usize = 64 << 20;

/// Bytes of a gRPC request that are kept to be sent once more over another
/// connection, in case the endpoint has not looked at them; of a longer one,
/// nothing is.
pub(crate) const GRPC_RESEND_BYTES: usize = 64 * 1024;

/// Bytes of a gRPC stream that wait on the connection before more is handed over.
pub(crate) const GRPC_SEND_BYTES: usize = 64 * 1024;

/// Bytes of keys and values that filters may set for the length of one stream or
/// one connection: a connection may live for days.
pub(crate) const FILTER_STATE_BYTES_MAX: usize = 4 << 20;

/// Redirects that are followed when a module is fetched: a registry's to its storage
/// is one.
pub(crate) const FETCH_REDIRECTS_MAX: usize = 5;

/// Bytes of an image's manifest: what registries have to accept at most (OCI
/// distribution specification).
pub(crate) const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// Signatures of an image that are looked at: the newest.
pub(crate) const IMAGE_SIGNATURES_MAX: usize = 16;

/// Bytes of a signature of an image, and of what it is over.
pub(crate) const IMAGE_SIGNATURE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a Sigstore bundle with a signature, which may have certificates and proofs
/// of transparency logs in it.
pub(crate) const BUNDLE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of an answer with a token.
pub(crate) const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Bytes of what a registry says when it refuses something.
pub(crate) const REFUSAL_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a piece of an upload, where a registry does not take it as a whole and does
/// not say how small pieces may be.
pub(crate) const UPLOAD_CHUNK_BYTES: usize = 4 << 20;

/// Bytes of a file with credentials or certificates: room for all that a
/// distribution trusts.
pub(crate) const SECRET_BYTES_MAX: u64 = 4 << 20;

/// Bytes that an archive may unpack to beyond what a module may have: headers, and
/// other files.
pub(crate) const ARCHIVE_OVERHEAD_BYTES: usize = 1 << 20;

/// Modules that are fetched at the same time.
pub(crate) const FETCHES_AT_ONCE: usize = 4;

/// Connections to endpoints that wait for another exchange, on each worker.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 128;

/// Clients of whom it is remembered that they have had connections of their own to an
/// endpoint, before those without any are forgotten.
pub(crate) const LANES_KEPT: usize = 64;

/// Bytes of an answer to a health check that are looked at.
pub(crate) const HEALTH_CHECK_BODY_BYTES: usize = 64 * 1024;

/// What may wait to be printed by `weir dev`; more is dropped and counted, a worker
/// never waits.
pub(crate) const TAP_QUEUE: usize = 1024;

/// Effects of filters that are kept of one stream: as much as a person reads.
pub(crate) const TAP_EFFECTS: usize = 64;

/// Bytes of a body that are kept to be compared.
pub(crate) const TAP_BODY_BYTES: usize = 4 * 1024;

/// Lines of a difference that are printed.
pub(crate) const TAP_DIFF_LINES: usize = 20;

/// Characters of a header's value or a line that are printed.
pub(crate) const TAP_LINE_CHARS: usize = 160;

/// Requests whose spans may wait to be sent; those of more are dropped and counted, a
/// worker never waits.
pub(crate) const TRACE_QUEUE: usize = 4 * 1024;

/// Spans that are sent at once, as soon as there are so many, and how long fewer wait.
/// Those of OpenTelemetry's own exporters.
pub(crate) const TRACE_BATCH: usize = 512;
pub(crate) const TRACE_INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for spans to be sent.
pub(crate) const TRACE_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a header that a span has. Envoy's default for paths.
pub(crate) const TRACE_TEXT_BYTES: usize = 256;

/// Failures of one filter that a worker keeps to be shown: what an operator reads.
pub(crate) const FAILURES_KEPT: usize = 8;

/// Bytes of a text that is kept of a failure: its message, a frame of its backtrace.
pub(crate) const FAILURE_TEXT_BYTES: usize = 4 * 1024;

/// Failures of all filters that the admin's page shows.
pub(crate) const FAILURES_SHOWN: usize = 50;

/// Bytes that a regular expression in a query may compile to.
pub(crate) const FILTER_REGEX_BYTES: usize = 1 << 20;

/// How long an endpoint is kept that a connection was going to, when nothing uses it:
/// Envoy's `cleanup_interval`.
pub(crate) const ORIGINAL_DESTINATION_KEPT: Duration = Duration::from_secs(5);

/// Bytes of a connection that are looked at to find its filter chain: those of a client's
/// first message of TLS, and those of the first line of HTTP. As in Envoy.
pub(crate) const INSPECTED_TLS_BYTES: usize = 16 * 1024;
pub(crate) const INSPECTED_HTTP_BYTES: usize = 64 * 1024;

/// Bytes of it that there is room for at first: almost every first message is smaller.
pub(crate) const INSPECTED_BYTES_AT_FIRST: usize = 2 * 1024;

/// Bytes of what a peer tells of itself that are looked at. Istio's sidecars send less than
/// one kilobyte.
pub(crate) const PEER_METADATA_BYTES: usize = 8 * 1024;

/// Peers that a filter chain knows on one worker, as Istio's filter does.
pub(crate) const PEERS_KEPT: usize = 500;

/// Sets of labels of Istio's metrics that a filter chain has on one worker: enough for a
/// workload with hundreds of peers. More are counted together as `overflow`.
pub(crate) const ISTIO_LABEL_SETS: usize = 4096;

/// Numbers that a worker keeps for Istio's metrics, of whatever filter chain: four for each
/// of as many sets.
pub(crate) const ISTIO_CELLS: usize = 4 * ISTIO_LABEL_SETS;

/// Bytes of a label's value in Istio's metrics. Names in Kubernetes have up to 253.
pub(crate) const ISTIO_LABEL_BYTES: usize = 512;
