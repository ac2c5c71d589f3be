//! The host's own metrics: every family there is, in one table that
//! `docs/operations.md` repeats.

use weir_abi::MetricType;

/// A family of metrics.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $constant: Family = Family {
            name: $name,
            kind: MetricType::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every family, in the order of the documentation.
        pub(super) static ALL: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    SERVER_LIVE = Gauge "envoy_server_live" []
        "1 while Weir serves, 0 while it starts or drains";
    SERVER_STATE = Gauge "envoy_server_state" []
        "0 while Weir serves, 1 while it drains, 3 while it starts";
    SERVER_CX = Gauge "envoy_server_total_connections" []
        "Connections from clients that are open";
    WORKERS_STARTED = Gauge "envoy_listener_manager_workers_started" []
        "1 once every worker serves";
    LISTENERS_ACTIVE = Gauge "envoy_listener_manager_total_listeners_active" []
        "Listeners of the configuration that is served";
    CLUSTERS_ACTIVE = Gauge "envoy_cluster_manager_active_clusters" []
        "Clusters of the configuration that is served";
    SERVER_UPTIME = Gauge "envoy_server_uptime" []
        "Seconds since the start";
    SERVER_CONCURRENCY = Gauge "envoy_server_concurrency" []
        "Workers";
    MEMORY_ALLOCATED = Gauge "envoy_server_memory_allocated" []
        "Bytes that Weir has allocated, without guest memory";
    MEMORY_HEAP = Gauge "envoy_server_memory_heap_size" []
        "Bytes that the allocator has in memory for it";
    MEMORY_PHYSICAL = Gauge "envoy_server_memory_physical_size" []
        "Bytes that the process has in memory, guest memory included";
    CONTROL_PLANE_CONNECTED = Gauge "envoy_control_plane_connected_state" []
        "1 while there is a stream to the management server";
    CONTROL_PLANE_PENDING = Gauge "envoy_control_plane_pending_requests" []
        "Requests that wait to be sent to it";
    CDS_ATTEMPT = Counter "envoy_cluster_manager_cds_update_attempt" []
        "Responses with clusters that were waited for";
    CDS_SUCCESS = Counter "envoy_cluster_manager_cds_update_success" []
        "Those that were accepted";
    CDS_REJECTED = Counter "envoy_cluster_manager_cds_update_rejected" []
        "Those that were refused, all or part of them";
    CDS_FAILURE = Counter "envoy_cluster_manager_cds_update_failure" []
        "Streams that broke while one was waited for";
    CDS_TIME = Gauge "envoy_cluster_manager_cds_update_time" []
        "When one was last accepted, in milliseconds since 1970";
    LDS_ATTEMPT = Counter "envoy_listener_manager_lds_update_attempt" []
        "Responses with listeners that were waited for";
    LDS_SUCCESS = Counter "envoy_listener_manager_lds_update_success" []
        "Those that were accepted";
    LDS_REJECTED = Counter "envoy_listener_manager_lds_update_rejected" []
        "Those that were refused, all or part of them";
    LDS_FAILURE = Counter "envoy_listener_manager_lds_update_failure" []
        "Streams that broke while one was waited for";
    LDS_TIME = Gauge "envoy_listener_manager_lds_update_time" []
        "When one was last accepted, in milliseconds since 1970";
    XDS_UPDATES = Counter "weir_xds_updates_total" ["type", "result"]
        "Responses of the management server, by the type of their resources (cds, eds, lds, rds, sds, ecds): success, rejected, failure";
    BUILD = Gauge "weir_build_info" ["version"]
        "1, with the version";
    GENERATION = Gauge "weir_generation" []
        "Number of the configuration that is served, from 1";
    GENERATIONS = Gauge "weir_generations" []
        "Configurations that are served, or still have streams";
    RELOAD_SUCCESSFUL = Gauge "weir_config_last_reload_successful" []
        "Whether the last reload, or the start, has succeeded";
    RELOAD_SUCCESS_TIME = Gauge "weir_config_last_reload_success_timestamp_seconds" []
        "When a configuration was last taken over";
    RELOADS = Counter "weir_config_reloads_total" ["result"]
        "Reloads, by `success` or `failure`";
    COMPILE_CACHE = Counter "weir_compile_cache_lookups_total" ["result"]
        "Modules that were looked for among the compiled ones: `hit`, `miss`, or `damaged`, which is compiled anew as well";
    MODULE_CACHE = Counter "weir_module_cache_total" ["result"]
        "Modules on servers of which a copy was there, by `hit` or `miss`";
    MODULE_FETCHES = Counter "weir_module_fetches_total" ["result"]
        "Modules that servers were asked for, by `success` or `failure`";

    REMOTE_CACHE_HITS = Counter "envoy_wasm_remote_load_cache_hits" []
        "The hits of `weir_module_cache_total`";
    REMOTE_CACHE_MISSES = Counter "envoy_wasm_remote_load_cache_misses" []
        "The misses of `weir_module_cache_total`";
    REMOTE_FETCH_SUCCESSES = Counter "envoy_wasm_remote_load_fetch_successes" []
        "The successes of `weir_module_fetches_total`";
    REMOTE_FETCH_FAILURES = Counter "envoy_wasm_remote_load_fetch_failures" []
        "The failures of `weir_module_fetches_total`";
    SPANS_SENT = Counter "envoy_tracing_opentelemetry_spans_sent" []
        "Spans that the collector has taken";
    SPANS_DROPPED = Counter "envoy_tracing_opentelemetry_spans_dropped" []
        "Spans that it has not taken, or for which there was no room to wait";
    CERTIFICATE_EXPIRATION = Gauge "weir_tls_certificate_expiration_timestamp_seconds" ["kind", "name", "certificate"]
        "When a certificate ends that a `listener` or `cluster` shows to others";

    LISTENER_CX_TOTAL = Counter "envoy_listener_downstream_cx_total" ["envoy_listener_address"]
        "Connections that a listener has taken";
    LISTENER_CX_OVERFLOW = Counter "envoy_listener_downstream_cx_overflow" ["envoy_listener_address"]
        "Connections that were closed as they came, since there were `max_connections`";
    LISTENER_CX_GLOBAL_OVERFLOW = Counter "envoy_listener_downstream_global_cx_overflow" ["envoy_listener_address"]
        "Those that were closed as they came, since few file descriptors were left";
    LISTENER_ACCEPT_FAILURES = Counter "weir_listener_accept_failures_total" ["envoy_listener_address"]
        "Tries to accept a connection that failed";
    LISTENER_CX_ACTIVE = Gauge "envoy_listener_downstream_cx_active" ["envoy_listener_address"]
        "Those that are open";
    LISTENER_PROXY_PROTOCOL_ERRORS = Counter "weir_listener_proxy_protocol_errors_total" ["envoy_listener_address"]
        "Connections closed as they did not begin with the header of the PROXY protocol that a listener wants";
    LISTENER_PRE_CX_TIMEOUT = Counter "envoy_listener_downstream_pre_cx_timeout" ["envoy_listener_address"]
        "Connections closed as they took too long to say which filter chain they are for";
    LISTENER_NO_FILTER_CHAIN = Counter "envoy_listener_no_filter_chain_match" ["envoy_listener_address"]
        "Connections closed as no filter chain is for them";
    LISTENER_LOOPS_ENDED = Counter "weir_listener_loops_ended_total" ["envoy_listener_address"]
        "Connections that were redirected, and were for the listener itself";
    LISTENER_SSL_HANDSHAKE = Counter "envoy_listener_ssl_handshake" ["envoy_listener_address"]
        "Handshakes of TLS that have succeeded";
    LISTENER_SSL_SESSION_REUSED = Counter "envoy_listener_ssl_session_reused" ["envoy_listener_address"]
        "Those that went on with an earlier session";
    LISTENER_SSL_VERSIONS = Counter "envoy_listener_ssl_versions" ["envoy_ssl_version", "envoy_listener_address"]
        "The same by version";
    LISTENER_SSL_NO_CERTIFICATE = Counter "envoy_listener_ssl_no_certificate" ["envoy_listener_address"]
        "Those in which the client has shown no certificate";
    LISTENER_SSL_CONNECTION_ERROR = Counter "envoy_listener_ssl_connection_error" ["envoy_listener_address"]
        "Handshakes that have failed for another reason than a certificate";
    LISTENER_SSL_FAIL_VERIFY_NO_CERT = Counter "envoy_listener_ssl_fail_verify_no_cert" ["envoy_listener_address"]
        "Those that have failed as the client has shown no certificate";
    LISTENER_SSL_FAIL_VERIFY_ERROR = Counter "envoy_listener_ssl_fail_verify_error" ["envoy_listener_address"]
        "Those that have failed as its certificate is not good";
    LISTENER_SSL_FAIL_VERIFY_SAN = Counter "envoy_listener_ssl_fail_verify_san" ["envoy_listener_address"]
        "Those that have failed as its certificate is for somebody else";
    LISTENER_CX_TLS_TIMEOUT = Counter "envoy_listener_downstream_cx_transport_socket_connect_timeout" ["envoy_listener_address"]
        "Connections whose handshake has taken too long";
    TCP_CX_TOTAL = Counter "envoy_tcp_downstream_cx_total" ["envoy_tcp_prefix"]
        "Connections that a listener with `tcp` has taken";
    RBAC_ALLOWED = Counter "envoy_rbac_allowed" ["envoy_rbac_rules_prefix", "envoy_rbac_prefix"]
        "Connections that the `rules` of an `rbac` have let through";
    RBAC_DENIED = Counter "envoy_rbac_denied" ["envoy_rbac_rules_prefix", "envoy_rbac_prefix"]
        "Those that they have turned away";
    RBAC_SHADOW_ALLOWED = Counter "envoy_rbac_shadow_allowed" ["envoy_rbac_rules_prefix", "envoy_rbac_prefix"]
        "Those that its `shadow_rules` would have let through";
    RBAC_SHADOW_DENIED = Counter "envoy_rbac_shadow_denied" ["envoy_rbac_rules_prefix", "envoy_rbac_prefix"]
        "Those that they would have turned away";

    HTTP_CX_TOTAL = Counter "envoy_http_downstream_cx_total" ["envoy_http_conn_manager_prefix"]
        "Connections from HTTP clients";
    HTTP_CX_ACTIVE = Gauge "envoy_http_downstream_cx_active" ["envoy_http_conn_manager_prefix"]
        "Those that are open";
    HTTP_RQ_TOTAL = Counter "envoy_http_downstream_rq_total" ["envoy_http_conn_manager_prefix"]
        "Requests from clients";
    HTTP_RQ_HTTP1 = Counter "envoy_http_downstream_rq_http1_total" ["envoy_http_conn_manager_prefix"]
        "Those over HTTP/1";
    HTTP_RQ_HTTP2 = Counter "envoy_http_downstream_rq_http2_total" ["envoy_http_conn_manager_prefix"]
        "Those over HTTP/2";
    HTTP_RQ_ACTIVE = Gauge "envoy_http_downstream_rq_active" ["envoy_http_conn_manager_prefix"]
        "Those under way";
    HTTP_RQ_COMPLETED = Counter "envoy_http_downstream_rq_completed" ["envoy_http_conn_manager_prefix"]
        "Those that have got a response";
    HTTP_RQ_XX = Counter "envoy_http_downstream_rq_xx" ["envoy_response_code_class", "envoy_http_conn_manager_prefix"]
        "Responses to clients by class of their status";
    HTTP_RQ_TIME = Histogram "envoy_http_downstream_rq_time" ["envoy_http_conn_manager_prefix"]
        "Milliseconds from a request's head to the end of its exchange";
    HTTP_RBAC_ALLOWED = Counter "envoy_http_rbac_allowed" ["envoy_rbac_http_prefix", "envoy_http_conn_manager_prefix"]
        "Requests that the `rules` of an `rbac` have let through";
    HTTP_RBAC_DENIED = Counter "envoy_http_rbac_denied" ["envoy_rbac_http_prefix", "envoy_http_conn_manager_prefix"]
        "Those that they have turned away";
    HTTP_RBAC_SHADOW_ALLOWED = Counter "envoy_http_rbac_shadow_allowed" ["envoy_rbac_http_prefix", "envoy_http_conn_manager_prefix"]
        "Those that its `shadow_rules` would have let through";
    HTTP_RBAC_SHADOW_DENIED = Counter "envoy_http_rbac_shadow_denied" ["envoy_rbac_http_prefix", "envoy_http_conn_manager_prefix"]
        "Those that they would have turned away";

    CLUSTER_CX_TOTAL = Counter "envoy_cluster_upstream_cx_total" ["envoy_cluster_name"]
        "Connections made to endpoints";
    CLUSTER_CX_CONNECT_FAIL = Counter "envoy_cluster_upstream_cx_connect_fail" ["envoy_cluster_name"]
        "Connections that could not be made";
    CLUSTER_SSL_HANDSHAKE = Counter "envoy_cluster_ssl_handshake" ["envoy_cluster_name"]
        "Handshakes of TLS that have succeeded with endpoints";
    CLUSTER_SSL_SESSION_REUSED = Counter "envoy_cluster_ssl_session_reused" ["envoy_cluster_name"]
        "Those that went on with an earlier session";
    CLUSTER_SSL_VERSIONS = Counter "envoy_cluster_ssl_versions" ["envoy_ssl_version", "envoy_cluster_name"]
        "The same by version";
    CLUSTER_SSL_NO_CERTIFICATE = Counter "envoy_cluster_ssl_no_certificate" ["envoy_cluster_name"]
        "Those in which the endpoint has shown no certificate";
    CLUSTER_SSL_CONNECTION_ERROR = Counter "envoy_cluster_ssl_connection_error" ["envoy_cluster_name"]
        "Handshakes that have failed for another reason than a certificate";
    CLUSTER_SSL_FAIL_VERIFY_NO_CERT = Counter "envoy_cluster_ssl_fail_verify_no_cert" ["envoy_cluster_name"]
        "Those that have failed as the endpoint has shown no certificate";
    CLUSTER_SSL_FAIL_VERIFY_ERROR = Counter "envoy_cluster_ssl_fail_verify_error" ["envoy_cluster_name"]
        "Those that have failed as its certificate is not good";
    CLUSTER_SSL_FAIL_VERIFY_SAN = Counter "envoy_cluster_ssl_fail_verify_san" ["envoy_cluster_name"]
        "Those that have failed as its certificate is for somebody else";
    CLUSTER_RQ_TOTAL = Counter "envoy_cluster_upstream_rq_total" ["envoy_cluster_name"]
        "Requests to endpoints, those that filters make included; with `tcp`, connections";
    CLUSTER_RQ_ACTIVE = Gauge "envoy_cluster_upstream_rq_active" ["envoy_cluster_name"]
        "Those under way";
    CLUSTER_RQ_COMPLETED = Counter "envoy_cluster_upstream_rq_completed" ["envoy_cluster_name"]
        "Those that an endpoint has answered";
    CLUSTER_RQ_XX = Counter "envoy_cluster_upstream_rq_xx" ["envoy_response_code_class", "envoy_cluster_name"]
        "Responses of endpoints by class of their status";
    CLUSTER_RQ_CODE = Counter "envoy_cluster_upstream_rq" ["envoy_response_code", "envoy_cluster_name"]
        "Responses of endpoints by status";
    CLUSTER_RQ_TIME = Histogram "envoy_cluster_upstream_rq_time" ["envoy_cluster_name"]
        "Milliseconds from the choice of an endpoint to the end of its response";
    CLUSTER_RQ_TIMEOUT = Counter "envoy_cluster_upstream_rq_timeout" ["envoy_cluster_name"]
        "Requests whose response was not complete in time";
    CLUSTER_RQ_ATTEMPT_TIMEOUT = Counter "envoy_cluster_upstream_rq_per_try_timeout" ["envoy_cluster_name"]
        "Attempts that took longer than one may";
    CLUSTER_RQ_ATTEMPT_IDLE = Counter "envoy_cluster_upstream_rq_per_try_idle_timeout" ["envoy_cluster_name"]
        "Attempts in which nothing moved for longer than that may be";
    CLUSTER_RQ_RETRY = Counter "envoy_cluster_upstream_rq_retry" ["envoy_cluster_name"]
        "Retries";
    CLUSTER_RQ_RETRY_SUCCESS = Counter "envoy_cluster_upstream_rq_retry_success" ["envoy_cluster_name"]
        "Retries that no other had to follow";
    CLUSTER_RQ_RETRY_LIMIT = Counter "envoy_cluster_upstream_rq_retry_limit_exceeded" ["envoy_cluster_name"]
        "Requests that would have been sent once more, but for the number of retries";
    CLUSTER_RQ_RETRY_OVERFLOW = Counter "envoy_cluster_upstream_rq_retry_overflow" ["envoy_cluster_name"]
        "Those that would have been, but for other retries under way";
    CLUSTER_RQ_RETRY_BACKOFF = Counter "envoy_cluster_upstream_rq_retry_backoff_exponential" ["envoy_cluster_name"]
        "Pauses before retries";
    CLUSTER_RETRY_ABANDONED = Counter "envoy_cluster_retry_or_shadow_abandoned" ["envoy_cluster_name"]
        "Requests too large to be kept, to be sent once more or mirrored";
    CLUSTER_RQ_FAILURES = Counter "weir_upstream_rq_failures_total" ["envoy_cluster_name"]
        "Requests that got no response, or not all of it";
    CLUSTER_CX_ACTIVE = Gauge "envoy_cluster_upstream_cx_active" ["envoy_cluster_name"]
        "Connections to endpoints that are open";
    CLUSTER_CX_OVERFLOW = Counter "envoy_cluster_upstream_cx_overflow" ["envoy_cluster_name"]
        "Requests that had to wait, since there were `max_connections`";
    CLUSTER_CX_CONNECT_TIMEOUT = Counter "envoy_cluster_upstream_cx_connect_timeout" ["envoy_cluster_name"]
        "Connections that were not made in time";
    CLUSTER_RQ_PENDING_ACTIVE = Gauge "envoy_cluster_upstream_rq_pending_active" ["envoy_cluster_name"]
        "Requests that wait for a connection";
    CLUSTER_RQ_PENDING_OVERFLOW = Counter "envoy_cluster_upstream_rq_pending_overflow" ["envoy_cluster_name"]
        "Requests that were refused, since there were `max_pending_requests` or `max_requests`";
    CLUSTER_LB_HEALTHY_PANIC = Counter "envoy_cluster_lb_healthy_panic" ["envoy_cluster_name"]
        "Requests for which all endpoints counted as healthy, since too few were";
    MEMBERSHIP_TOTAL = Gauge "envoy_cluster_membership_total" ["envoy_cluster_name"]
        "Endpoints";
    MEMBERSHIP_HEALTHY = Gauge "envoy_cluster_membership_healthy" ["envoy_cluster_name"]
        "Those that are healthy: checked with success, and not ejected";
    MEMBERSHIP_CHANGE = Counter "envoy_cluster_membership_change" ["envoy_cluster_name"]
        "Changes of the endpoints";
    UPDATE_ATTEMPT = Counter "envoy_cluster_update_attempt" ["envoy_cluster_name"]
        "Look-ups of the cluster's names";
    UPDATE_SUCCESS = Counter "envoy_cluster_update_success" ["envoy_cluster_name"]
        "Those that have succeeded";
    UPDATE_FAILURE = Counter "envoy_cluster_update_failure" ["envoy_cluster_name"]
        "Those that have failed; the name keeps its addresses";
    UPDATE_NO_REBUILD = Counter "envoy_cluster_update_no_rebuild" ["envoy_cluster_name"]
        "Those after which the addresses are the same";
    BREAKER_CX_OPEN = Gauge "envoy_cluster_circuit_breakers_default_cx_open" ["envoy_cluster_name"]
        "Whether there are `max_connections`";
    BREAKER_RQ_PENDING_OPEN = Gauge "envoy_cluster_circuit_breakers_default_rq_pending_open" ["envoy_cluster_name"]
        "Whether `max_pending_requests` wait";
    BREAKER_RQ_OPEN = Gauge "envoy_cluster_circuit_breakers_default_rq_open" ["envoy_cluster_name"]
        "Whether `max_requests` are under way";
    BREAKER_RQ_RETRY_OPEN = Gauge "envoy_cluster_circuit_breakers_default_rq_retry_open" ["envoy_cluster_name"]
        "Whether as many retries are under way as there may be";
    HEALTH_CHECK_ATTEMPT = Counter "envoy_cluster_health_check_attempt" ["envoy_cluster_name"]
        "Active health checks";
    HEALTH_CHECK_SUCCESS = Counter "envoy_cluster_health_check_success" ["envoy_cluster_name"]
        "Those that succeeded";
    HEALTH_CHECK_FAILURE = Counter "envoy_cluster_health_check_failure" ["envoy_cluster_name"]
        "Those that failed, for whatever reason";
    HEALTH_CHECK_NETWORK_FAILURE = Counter "envoy_cluster_health_check_network_failure" ["envoy_cluster_name"]
        "Those that got no answer";
    HEALTH_CHECK_HEALTHY = Gauge "envoy_cluster_health_check_healthy" ["envoy_cluster_name"]
        "Endpoints that active health checks take for healthy";
    EJECTIONS_ACTIVE = Gauge "envoy_cluster_outlier_detection_ejections_active" ["envoy_cluster_name"]
        "Endpoints that are ejected";
    EJECTIONS_ENFORCED_TOTAL = Counter "envoy_cluster_outlier_detection_ejections_enforced_total" ["envoy_cluster_name"]
        "Ejections";
    EJECTIONS_OVERFLOW = Counter "envoy_cluster_outlier_detection_ejections_overflow" ["envoy_cluster_name"]
        "Ejections that `max_ejection_percent` forbade";
    DETECTED_5XX = Counter "envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx" ["envoy_cluster_name"]
        "Outliers found because of `consecutive_5xx`";
    ENFORCED_5XX = Counter "envoy_cluster_outlier_detection_ejections_enforced_consecutive_5xx" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_GATEWAY = Counter "envoy_cluster_outlier_detection_ejections_detected_consecutive_gateway_failure" ["envoy_cluster_name"]
        "Outliers found because of `consecutive_gateway_failure`";
    ENFORCED_GATEWAY = Counter "envoy_cluster_outlier_detection_ejections_enforced_consecutive_gateway_failure" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_LOCAL = Counter "envoy_cluster_outlier_detection_ejections_detected_consecutive_local_origin_failure" ["envoy_cluster_name"]
        "Outliers found because of `consecutive_local_origin_failure`";
    ENFORCED_LOCAL = Counter "envoy_cluster_outlier_detection_ejections_enforced_consecutive_local_origin_failure" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_SUCCESS_RATE = Counter "envoy_cluster_outlier_detection_ejections_detected_success_rate" ["envoy_cluster_name"]
        "Outliers found because of a low success rate";
    ENFORCED_SUCCESS_RATE = Counter "envoy_cluster_outlier_detection_ejections_enforced_success_rate" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_FAILURE_PERCENTAGE = Counter "envoy_cluster_outlier_detection_ejections_detected_failure_percentage" ["envoy_cluster_name"]
        "Outliers found because of `failure_percentage_threshold`";
    ENFORCED_FAILURE_PERCENTAGE = Counter "envoy_cluster_outlier_detection_ejections_enforced_failure_percentage" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_LOCAL_SUCCESS_RATE = Counter "envoy_cluster_outlier_detection_ejections_detected_local_origin_success_rate" ["envoy_cluster_name"]
        "Outliers found because of a low rate of success in reaching them";
    ENFORCED_LOCAL_SUCCESS_RATE = Counter "envoy_cluster_outlier_detection_ejections_enforced_local_origin_success_rate" ["envoy_cluster_name"]
        "Those that were ejected";
    DETECTED_LOCAL_FAILURE_PERCENTAGE = Counter "envoy_cluster_outlier_detection_ejections_detected_local_origin_failure_percentage" ["envoy_cluster_name"]
        "Outliers found because of `failure_percentage_threshold` in reaching them";
    ENFORCED_LOCAL_FAILURE_PERCENTAGE = Counter "envoy_cluster_outlier_detection_ejections_enforced_local_origin_failure_percentage" ["envoy_cluster_name"]
        "Those that were ejected";

    ROLLOUT_STREAMS = Counter "weir_rollout_streams_total" ["listener", "filter", "version"]
        "Streams of a filter with a `rollout`, by the version that they got: `stable` or `canary`";
    ROLLOUT_SLOW = Counter "weir_rollout_slow_streams_total" ["listener", "filter", "version"]
        "Those whose response began later than `rollback_on.latency`";
    SHADOW_STREAMS = Counter "weir_shadow_streams_total" ["listener", "filter", "outcome"]
        "Streams that a shadow was shown: it did the `same`, it `diverged`, it waited for what only the filter was told (`incomplete`), or its VM was not there (`absent`)";
    SHADOW_DIVERGENCES = Counter "weir_shadow_divergences_total" ["listener", "filter", "what"]
        "Streams on which a shadow did otherwise than the filter, by what was different: `action`, `headers`, `body`, `trailers` or `local_response`";
    ROLLED_BACK = Gauge "weir_rollout_rolled_back" ["listener", "filter", "reason"]
        "1 if the other version gets no streams any more, for the `trap_rate` or the `latency`";

    RUNTIME_CREATED = Counter "envoy_wasm_envoy_wasm_runtime_wasmer_created" []
        "VMs started";
    RUNTIME_ACTIVE = Gauge "envoy_wasm_envoy_wasm_runtime_wasmer_active" []
        "VMs that take calls";
    VM_STARTS = Counter "weir_wasm_vm_starts_total" ["vm_id", "plugins", "version"]
        "VMs started";
    VM_ACTIVE = Gauge "weir_wasm_vms_active" ["vm_id", "plugins", "version"]
        "VMs that take calls, spares included";
    VM_MEMORY = Gauge "weir_wasm_vm_memory_bytes" ["vm_id", "plugins", "version"]
        "Guest memory, all workers; published four times a second";
    VM_RESTARTS = Counter "weir_wasm_vm_restarts_total" ["vm_id", "plugins", "version"]
        "VMs started again after a failure";
    VM_RESTART_FAILURES = Counter "weir_wasm_vm_restart_failures_total" ["vm_id", "plugins", "version"]
        "VMs that did not start again after a failure";
    VM_RESTART_BACKOFFS = Counter "weir_wasm_vm_restart_backoffs_total" ["vm_id", "plugins", "version"]
        "Streams refused as it was too early to start a VM again";
    VM_CRASH_LOOP = Gauge "weir_wasm_vm_crash_loop" ["vm_id", "plugins", "version"]
        "Workers on which the VM fails again and again";
    VM_RECYCLES = Counter "weir_wasm_vm_recycles_total" ["vm_id", "plugins", "version", "reason"]
        "VMs replaced as they had grown too large (`memory`) or served long enough (`streams`)";
    VM_FAILURES = Counter "weir_wasm_vm_failures_total" ["vm_id", "plugin", "version", "reason"]
        "VMs ended by a failure in a callback: `trap`, `stack`, `memory`, `deadline`, `exit` or `host`";
    LIMIT_REACHED = Counter "weir_wasm_limit_reached_total" ["vm_id", "plugin", "version", "limit"]
        "What a filter did not get, as it has a limit";
    CALLBACK_SECONDS = Histogram "weir_wasm_callback_seconds" ["vm_id", "plugin", "version", "callback"]
        "Seconds that callbacks took, their hostcalls included";
    HOSTCALLS = Counter "weir_wasm_hostcalls_total" ["vm_id", "plugin", "version", "hostcall"]
        "Hostcalls made in callbacks";
    CONTEXTS_ACTIVE = Gauge "weir_wasm_contexts_active" ["vm_id", "plugin", "version", "kind"]
        "Contexts alive: `root`, one a VM, and `stream`";
    LOCAL_RESPONSES = Counter "weir_wasm_local_responses_total" ["vm_id", "plugin", "version"]
        "Requests that a filter answered itself";
    CALLOUTS = Counter "weir_wasm_callouts_total" ["vm_id", "plugins", "version", "kind", "outcome"]
        "Requests of filters, `http`, `grpc_call`, `grpc_stream` or `dns`, that are over: `answered`, `failed`, `timed_out`, `cancelled`, or `refused` at once";
    CALLOUTS_ACTIVE = Gauge "weir_wasm_callouts_active" ["vm_id", "plugins", "version", "kind"]
        "Requests of filters under way";
    SHARED_DATA_BYTES = Gauge "weir_wasm_shared_data_bytes" ["vm_id"]
        "Shared data, keys and values";
    SHARED_DATA_ENTRIES = Gauge "weir_wasm_shared_data_entries" ["vm_id"]
        "Keys of shared data";
    SHARED_DATA_REFUSED = Counter "weir_wasm_shared_data_refused_total" ["vm_id"]
        "Values for which a limit left no room";
    SHARED_DATA_EVICTED = Counter "weir_wasm_shared_data_evicted_total" ["vm_id"]
        "Entries that made room for others";
    SHARED_QUEUES = Gauge "weir_wasm_shared_queues" ["vm_id"]
        "Shared queues";
    SHARED_QUEUE_BYTES = Gauge "weir_wasm_shared_queue_bytes" ["vm_id"]
        "Bytes in shared queues";
    SHARED_QUEUE_ITEMS = Gauge "weir_wasm_shared_queue_items" ["vm_id"]
        "Items in shared queues";
    SHARED_QUEUE_REFUSED = Counter "weir_wasm_shared_queue_refused_total" ["vm_id"]
        "Items and queues for which a limit left no room";
    GUEST_METRICS = Gauge "weir_wasm_guest_metrics" []
        "Metrics that filters have defined, by kind and full name";
    GUEST_METRICS_REFUSED = Counter "weir_wasm_guest_metrics_refused_total" []
        "Metrics that filters did not get, as there were too many";
    ISTIO_REQUESTS = Counter "istio_requests_total" []
        "Requests that are over, by [Istio's labels](#istios-metrics), as those below";
    ISTIO_REQUEST_DURATION = Histogram "istio_request_duration_milliseconds" []
        "Milliseconds from the first byte of a request to the end of its response";
    ISTIO_REQUEST_BYTES = Histogram "istio_request_bytes" []
        "Bytes of requests, headers and bodies";
    ISTIO_RESPONSE_BYTES = Histogram "istio_response_bytes" []
        "Bytes of responses, headers and bodies";
    ISTIO_REQUEST_MESSAGES = Counter "istio_request_messages_total" []
        "Messages of gRPC in requests";
    ISTIO_RESPONSE_MESSAGES = Counter "istio_response_messages_total" []
        "Messages of gRPC in responses";
    ISTIO_CONNECTIONS_OPENED = Counter "istio_tcp_connections_opened_total" []
        "Connections of a TCP proxy that were opened";
    ISTIO_CONNECTIONS_CLOSED = Counter "istio_tcp_connections_closed_total" []
        "Connections of a TCP proxy that are over";
    ISTIO_SENT_BYTES = Counter "istio_tcp_sent_bytes_total" []
        "Bytes that went to clients over such connections";
    ISTIO_RECEIVED_BYTES = Counter "istio_tcp_received_bytes_total" []
        "Bytes that came from clients over them";
}

/// Type of a metric as Prometheus calls it.
pub(super) fn word(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_documentation_has_a_row_for_every_metric_and_no_other() {
        let mut expected = String::from("| Metric | Type | Labels | |\n|---|---|---|---|\n");
        for family in ALL {
            let labels: Vec<_> = family.labels.iter().map(|l| format!("`{l}`")).collect();
            let (name, kind, help) = (family.name, word(family.kind), family.help);
            let _ = writeln!(
                expected,
                "| `{name}` | {kind} | {} | {help} |",
                labels.join(", ")
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
        let docs = std::fs::read_to_string(path).unwrap();
        assert!(
            docs.contains(&format!("\n{expected}\n")),
            "expected:\n{expected}"
        );
    }

    #[test]
    fn names_are_told_apart_and_labels_are_well_formed() {
        for (index, family) in ALL.iter().enumerate() {
            assert!(
                ALL[..index].iter().all(|f| f.name != family.name),
                "{}",
                family.name
            );
            let prefixes = ["envoy_", "weir_", "istio_"];
            assert!(
                prefixes
                    .iter()
                    .any(|prefix| family.name.starts_with(prefix))
            );
            assert!(family.labels.iter().all(|l| *l != "le"));
        }
    }
}
