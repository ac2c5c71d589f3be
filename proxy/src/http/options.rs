//! What a codec is told about the messages it carries.

use std::time::Duration;

use weir_config::{Cluster, ConnectionKeepalive, Http2Options, HttpOptions};

use super::Switch;
use crate::limits::{
    HEADERS_COUNT_MAX, HTTP2_CONNECTION_WINDOW, HTTP2_STREAM_WINDOW, RESPONSE_HEADERS_BYTES_MAX,
};

/// Options of the codec of a listener or a cluster.
#[derive(Debug, Clone)]
pub(crate) struct CodecOptions {
    /// Bytes of one message's head.
    pub(crate) headers_bytes_max: usize,
    /// Headers of one message.
    pub(crate) headers_count_max: usize,
    /// Whether HTTP/1 trailers are passed on.
    pub(crate) trailers: bool,
    /// Whether HTTP/1.0 requests are served.
    pub(crate) http10: bool,
    /// Protocols that a client may switch to, in lower case (`websocket`,
    /// `connect`).
    pub(crate) upgrades: Vec<String>,
    pub(crate) http2: Http2Options,
    /// How long a connection to an endpoint may have nothing to carry.
    pub(crate) idle_timeout: Option<Duration>,
    /// Requests that one connection to an endpoint carries.
    pub(crate) requests_max: Option<u32>,
    /// Whether HTTP/2 connections to an endpoint are asked for a sign of life.
    pub(crate) keepalive: Option<ConnectionKeepalive>,
}

impl Default for CodecOptions {
    fn default() -> Self {
        Self::of_listener(&HttpOptions::default())
    }
}

impl CodecOptions {
    pub(crate) fn of_listener(http: &HttpOptions) -> Self {
        Self {
            headers_bytes_max: http.max_request_headers_bytes,
            headers_count_max: http.max_headers_count,
            trailers: http.trailers,
            http10: http.http10,
            upgrades: http.upgrades.clone(),
            http2: http.http2,
            idle_timeout: None,
            requests_max: None,
            keepalive: None,
        }
    }

    pub(crate) fn of_cluster(cluster: &Cluster) -> Self {
        Self {
            headers_bytes_max: RESPONSE_HEADERS_BYTES_MAX,
            headers_count_max: HEADERS_COUNT_MAX,
            trailers: cluster.trailers,
            http10: true,
            upgrades: Vec::new(),
            http2: cluster.http2,
            idle_timeout: cluster.idle_timeout,
            requests_max: cluster.max_requests_per_connection,
            keepalive: cluster.connection_keepalive,
        }
    }

    /// HTTP/2: body bytes that a peer may send on one stream before they are read.
    pub(super) fn stream_window(&self) -> u32 {
        let window = self.http2.initial_stream_window_size;
        window.unwrap_or(HTTP2_STREAM_WINDOW)
    }

    /// HTTP/2: the same for all streams of a connection.
    pub(super) fn connection_window(&self) -> u32 {
        let window = self.http2.initial_connection_window_size;
        window.unwrap_or(HTTP2_CONNECTION_WINDOW)
    }

    /// Whether a client may switch its protocol so.
    pub(crate) fn allows(&self, switch: &Switch) -> bool {
        let protocol = match switch {
            Switch::Upgrade(protocol) => &protocol[..],
            Switch::Connect => b"connect",
        };
        self.upgrades
            .iter()
            .any(|allowed| protocol.eq_ignore_ascii_case(allowed.as_bytes()))
    }
}
