//! What is known about a stream besides its messages: addresses, times, sizes.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use weir_config::{Address, Direction, Metadata, Node, OriginalSrc};

use super::filter_state::FilterState;
use super::flags::ResponseFlags;
use crate::cluster::{Account, Source};
use crate::gate::Gate;
use crate::istio;
use crate::listener::Inspected;
use crate::proxy_protocol::Originator;
use crate::rbac::{Verdict, dynamic_metadata};
use crate::route::{Chosen, Route};
use crate::tap::StreamTap;
use crate::tls::TlsFacts;
use crate::trace::RequestTrace;

/// The connection a stream came on.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// Number of the connection, unique in the process.
    pub(crate) id: u64,
    pub(crate) peer: Address,
    /// Who has connected, whatever a PROXY header says of the peer.
    pub(crate) direct: Address,
    /// Where it is for: an address of this process, or the one that it was for before
    /// it came here.
    pub(crate) local: Address,
    /// Whether `local` is not where it has come in.
    pub(crate) is_restored: bool,
    /// Whether connections to endpoints are made from the client's address, and the mark
    /// of their packets.
    pub(crate) original_src: Option<OriginalSrc>,
    /// What filters have set for the length of the connection.
    pub(crate) filter_state: Rc<RefCell<FilterState>>,
    /// What was agreed on it, if it is encrypted.
    pub(crate) tls: Option<Arc<TlsFacts>>,
    /// What its first bytes have told, if they were looked at.
    pub(crate) inspected: Option<Rc<Inspected>>,
}

impl ConnectionInfo {
    /// The name that the client has asked for with TLS, whoever speaks that; empty if
    /// it has not.
    pub(crate) fn requested_server_name(&self) -> &str {
        let agreed = self.tls.as_ref().map(|tls| tls.server_name.as_str());
        let inspected = || Some(self.inspected.as_ref()?.server_name.as_str());
        agreed.or_else(inspected).unwrap_or_default()
    }

    /// The scheme of what is asked for on it.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// On whose account connections to endpoints are made for it.
    pub(crate) fn account(&self) -> Account {
        let source = |OriginalSrc { mark }| {
            let ip = self.peer.ip()?.to_canonical();
            Some(Source { ip, mark })
        };
        Account {
            originator: Originator::client(&self.peer, &self.local),
            source: self.original_src.and_then(source),
        }
    }
}

/// What is configured besides streams, for filters to read.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Who this proxy is.
    pub(crate) node: Node,
    /// What the listener is for.
    pub(crate) direction: Direction,
    /// What is said of the listener.
    pub(crate) listener: Metadata,
    /// The name of the filter chain; empty if it has none.
    pub(crate) filter_chain: String,
}

/// HTTP version of a request, or that there is no HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http10,
    Http11,
    Http2,
    Tcp,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "-",
        }
    }
}

/// Facts about one stream, gathered while it runs.
pub(crate) struct StreamInfo {
    pub(crate) connection: ConnectionInfo,
    /// Who the client is: the peer, or whom proxies in front have told of, without
    /// a port then.
    pub(crate) client: Address,
    pub(crate) protocol: Protocol,
    pub(crate) facts: Arc<Facts>,
    started: Instant,
    /// The same by the wall clock, once somebody has asked.
    started_at: OnceCell<Duration>,
    /// Set when the stream is complete.
    duration: Cell<Option<Duration>>,
    pub(crate) bytes_received: Cell<u64>,
    pub(crate) bytes_sent: Cell<u64>,
    /// Status of the response, once known.
    pub(crate) response_code: Cell<Option<u16>>,
    response_code_details: RefCell<Bytes>,
    flags: Cell<ResponseFlags>,
    pub(crate) upstream: RefCell<Option<Address>>,
    pub(crate) upstream_local: RefCell<Option<Address>>,
    /// What is said of the endpoint, if anything is.
    pub(crate) upstream_metadata: RefCell<Option<Arc<Metadata>>>,
    pub(crate) upstream_attempts: Cell<u64>,
    /// The request has been sent once more after an attempt that failed.
    pub(crate) retried: Cell<bool>,
    /// When the endpoint was chosen.
    upstream_chosen: Cell<Option<Instant>>,
    /// How long it took then to get a connection, once there is one.
    upstream_pool_ready: Cell<Option<Duration>>,
    /// From the request's first byte to the endpoint to the last of the response,
    /// once that has come.
    pub(crate) upstream_latency: Cell<Option<Duration>>,
    /// What was agreed on that, if it is encrypted.
    pub(crate) upstream_tls: RefCell<Option<Arc<TlsFacts>>>,
    /// Why there is no connection to the endpoint.
    pub(crate) upstream_failure: RefCell<String>,
    /// The route, as it was last looked up, and its cluster.
    pub(crate) route: RefCell<Option<Arc<Route>>>,
    pub(crate) cluster: RefCell<Option<Rc<str>>>,
    /// Where the route leads, if there is such a cluster.
    pub(crate) chosen: Cell<Option<Chosen>>,
    /// How many endpoints that has.
    pub(crate) cluster_endpoints: Cell<Option<usize>>,
    /// What becomes of it, if it gets spans.
    pub(crate) trace: Option<Rc<RequestTrace>>,
    /// What is known of it for Istio's metrics, if its filter chain has them.
    pub(crate) istio: Option<Box<istio::Record>>,
    /// What its filters do, if somebody wants to know.
    pub(crate) tap: Option<Box<StreamTap>>,
    /// The filters of Weir's own that it passes.
    pub(crate) gates: Rc<[Gate]>,
    /// What those with policies have said, in their order.
    pub(crate) verdicts: RefCell<Vec<Verdict>>,
    /// Why a connection has been closed, if a filter has done so.
    termination_details: RefCell<String>,
}

impl StreamInfo {
    pub(crate) fn new(connection: ConnectionInfo, protocol: Protocol, facts: Arc<Facts>) -> Self {
        Self {
            client: connection.peer.clone(),
            connection,
            protocol,
            facts,
            started: Instant::now(),
            started_at: OnceCell::new(),
            duration: Cell::default(),
            bytes_received: Cell::default(),
            bytes_sent: Cell::default(),
            response_code: Cell::default(),
            response_code_details: RefCell::default(),
            flags: Cell::default(),
            upstream: RefCell::default(),
            upstream_local: RefCell::default(),
            upstream_metadata: RefCell::default(),
            upstream_attempts: Cell::default(),
            retried: Cell::default(),
            upstream_chosen: Cell::default(),
            upstream_pool_ready: Cell::default(),
            upstream_latency: Cell::default(),
            upstream_tls: RefCell::default(),
            upstream_failure: RefCell::default(),
            cluster: RefCell::default(),
            chosen: Cell::default(),
            cluster_endpoints: Cell::default(),
            route: RefCell::default(),
            trace: None,
            istio: None,
            tap: None,
            gates: Rc::default(),
            verdicts: RefCell::default(),
            termination_details: RefCell::default(),
        }
    }

    /// Wall-clock time of the first byte, since the Unix epoch.
    pub(crate) fn start_time(&self) -> Duration {
        *self.started_at.get_or_init(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.unwrap_or_default()
                .saturating_sub(self.started.elapsed())
        })
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

    /// An endpoint was chosen, at that time.
    pub(crate) fn upstream_chosen(&self, endpoint: &Address, at: Instant) {
        self.upstream.replace(Some(endpoint.clone()));
        self.upstream_attempts.set(self.upstream_attempts.get() + 1);
        self.upstream_chosen.set(Some(at));
    }

    /// There is a connection to it, from `local`, since that time.
    pub(crate) fn upstream_ready(&self, local: Option<Address>, at: Instant) {
        self.upstream_local.replace(local);
        let chosen = self.upstream_chosen.get();
        let took = chosen.map(|chosen| at.saturating_duration_since(chosen));
        self.upstream_pool_ready.set(took);
    }

    /// How long it took to get a connection to the endpoint, once there is one.
    pub(crate) fn upstream_pool_ready(&self) -> Option<Duration> {
        self.upstream_pool_ready.get()
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

    /// What its filters leave for others.
    pub(crate) fn dynamic_metadata(&self) -> Metadata {
        dynamic_metadata(&self.verdicts.borrow(), self.protocol != Protocol::Tcp)
    }

    /// Why its connection has been closed; empty if no filter has done so.
    pub(crate) fn termination_details(&self) -> String {
        self.termination_details.borrow().clone()
    }

    /// Sets `connection.termination_details`.
    pub(crate) fn set_termination_details(&self, details: &str) {
        let details: Vec<u8> = clean_details(details.as_bytes());
        *self.termination_details.borrow_mut() = String::from_utf8_lossy(&details).into_owned();
    }

    /// Sets `response.code_details`.
    pub(crate) fn set_code_details(&self, details: &[u8]) {
        *self.response_code_details.borrow_mut() = clean_details(details);
    }
}

/// Details as Envoy tells them: without white space and control characters.
pub(crate) fn clean_details<C: FromIterator<u8>>(details: &[u8]) -> C {
    let clean = |b: &u8| {
        if b.is_ascii_whitespace() || b.is_ascii_control() {
            b'_'
        } else {
            *b
        }
    };
    details.iter().map(clean).collect()
}

/// Adds to a counter of bytes.
pub(crate) fn count(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get() + bytes as u64);
}
