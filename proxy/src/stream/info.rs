//! What is known about a stream besides its messages: addresses, times, sizes.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::flags::ResponseFlags;

/// The connection a stream came on.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// Number of the connection, unique in the process.
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// HTTP version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http10,
    Http11,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// Facts about one stream, gathered while it runs.
pub(crate) struct StreamInfo {
    pub(crate) connection: ConnectionInfo,
    pub(crate) protocol: Protocol,
    started: Instant,
    started_at: SystemTime,
    /// Set when the stream is complete.
    duration: Cell<Option<Duration>>,
    pub(crate) bytes_received: Cell<u64>,
    pub(crate) bytes_sent: Cell<u64>,
    pub(crate) request_headers_bytes: Cell<u64>,
    pub(crate) response_headers_bytes: Cell<u64>,
    /// Status of the response, once known.
    pub(crate) response_code: Cell<Option<u16>>,
    response_code_details: RefCell<Bytes>,
    flags: Cell<ResponseFlags>,
    pub(crate) upstream: Cell<Option<SocketAddr>>,
    pub(crate) upstream_local: Cell<Option<SocketAddr>>,
    pub(crate) upstream_attempts: Cell<u64>,
    pub(crate) cluster: RefCell<Option<String>>,
}

impl StreamInfo {
    pub(crate) fn new(connection: ConnectionInfo, protocol: Protocol) -> Self {
        Self {
            connection,
            protocol,
            started: Instant::now(),
            started_at: SystemTime::now(),
            duration: Cell::default(),
            bytes_received: Cell::default(),
            bytes_sent: Cell::default(),
            request_headers_bytes: Cell::default(),
            response_headers_bytes: Cell::default(),
            response_code: Cell::default(),
            response_code_details: RefCell::default(),
            flags: Cell::default(),
            upstream: Cell::default(),
            upstream_local: Cell::default(),
            upstream_attempts: Cell::default(),
            cluster: RefCell::default(),
        }
    }

    /// Wall-clock time of the first byte, since the Unix epoch.
    pub(crate) fn start_time(&self) -> Duration {
        self.started_at
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.duration
            .get()
            .unwrap_or_else(|| self.started.elapsed())
    }

    /// The whole duration; `None` until the stream is complete.
    pub(crate) fn duration(&self) -> Option<Duration> {
        self.duration.get()
    }

    /// The stream is complete. Has no effect a second time.
    pub(crate) fn complete(&self) {
        self.duration.set(Some(self.elapsed()));
    }

    pub(crate) fn flags(&self) -> ResponseFlags {
        self.flags.get()
    }

    pub(crate) fn flag(&self, flag: ResponseFlags) {
        self.flags.set(self.flags.get().with(flag));
    }

    pub(crate) fn code_details(&self) -> Bytes {
        self.response_code_details.borrow().clone()
    }

    /// Sets `response.code_details`; white space and control characters become
    /// underscores, as in Envoy.
    pub(crate) fn set_code_details(&self, details: &[u8]) {
        let clean = |b: &u8| {
            if b.is_ascii_whitespace() || b.is_ascii_control() {
                b'_'
            } else {
                *b
            }
        };
        *self.response_code_details.borrow_mut() = details.iter().map(clean).collect();
    }
}

/// Adds to a counter of bytes.
pub(crate) fn count(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get() + bytes as u64);
}
