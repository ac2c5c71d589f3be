//! Callouts that a filter makes, and what a test answers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    CalloutError, CalloutGuard, CalloutToken, DnsToken, GrpcCall, GrpcStart, GrpcStream, HeaderMap,
    HttpCall, HttpCallResponse, Vm, VmFailed,
};

/// gRPC status of a call that has taken too long: that of HTTP 504.
const UNAVAILABLE: u32 = 14;

/// What a filter has asked others for.
pub(crate) enum CalloutRequest {
    Http(CalloutToken, HttpCall),
    Grpc(CalloutToken, GrpcCall),
    GrpcStream(CalloutToken, GrpcStart, Rc<GrpcSent>),
    Dns(DnsToken, String),
}

/// A callout under way.
pub(crate) struct Callout {
    pub(crate) request: CalloutRequest,
    /// Time at which it is over, since the Unix epoch.
    pub(crate) due: Option<Duration>,
    cancelled: Rc<Cell<bool>>,
}

/// Held by the VM while a callout is under way.
struct Guard(Rc<Cell<bool>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Callout {
    pub(crate) fn new(request: CalloutRequest, now: Duration) -> (Self, CalloutGuard) {
        let timeout = match &request {
            CalloutRequest::Http(_, call) => call.timeout,
            CalloutRequest::Grpc(_, call) => call.timeout,
            CalloutRequest::GrpcStream(..) | CalloutRequest::Dns(..) => None,
        };
        let cancelled = Rc::new(Cell::new(false));
        let guard = Box::new(Guard(Rc::clone(&cancelled)));
        let callout = Self {
            request,
            due: timeout.map(|timeout| now + timeout),
            cancelled,
        };
        (callout, guard)
    }

    /// Whether the filter, or its end, has cancelled it.
    pub(crate) fn is_cancelled(&self) -> bool {
        match &self.request {
            CalloutRequest::GrpcStream(_, _, sent) => Rc::strong_count(sent) == 1,
            _ => self.cancelled.get(),
        }
    }

    /// Whom it goes to: the name of a cluster, of a host to be resolved.
    pub(crate) fn target(&self) -> String {
        let target = match &self.request {
            CalloutRequest::Http(_, call) => &call.cluster[..],
            CalloutRequest::Grpc(_, call) => &call.start.target,
            CalloutRequest::GrpcStream(_, start, _) => &start.target,
            CalloutRequest::Dns(_, name) => name.as_bytes(),
        };
        String::from_utf8_lossy(target).into_owned()
    }

    /// What kind of callout it is, for a person.
    pub(crate) fn kind(&self) -> &'static str {
        match self.request {
            CalloutRequest::Http(..) => "HTTP call",
            CalloutRequest::Grpc(..) => "gRPC call",
            CalloutRequest::GrpcStream(..) => "gRPC stream",
            CalloutRequest::Dns(..) => "lookup",
        }
    }

    /// Ends it as one that has taken too long.
    pub(crate) fn time_out(self, vm: &Vm) {
        // A VM that has failed is told of nothing.
        let _ = match self.request {
            CalloutRequest::Http(token, _) => vm.on_http_call_response(token, Some(too_late())),
            CalloutRequest::Grpc(token, _) => {
                vm.on_grpc_close(token, UNAVAILABLE, Bytes::from_static(TOO_LATE))
            }
            CalloutRequest::GrpcStream(..) | CalloutRequest::Dns(..) => Ok(()),
        };
    }

    /// Ends it well, with nothing in the answer.
    pub(crate) fn agree(&self, vm: &Vm) -> Result<(), VmFailed> {
        match &self.request {
            CalloutRequest::Http(token, _) => {
                let response = HttpCallResponse {
                    headers: [(":status", "200")].into_iter().collect(),
                    ..HttpCallResponse::default()
                };
                vm.on_http_call_response(*token, Some(response))
            }
            CalloutRequest::Grpc(token, _) => vm.on_grpc_message(*token, Bytes::new()),
            CalloutRequest::GrpcStream(token, ..) => vm.on_grpc_close(*token, 0, Bytes::new()),
            CalloutRequest::Dns(token, _) => vm.on_resolve_dns(*token, &[]),
        }
    }

    /// Ends it as one whose connection broke.
    pub(crate) fn break_off(&self, vm: &Vm) -> Result<(), VmFailed> {
        match &self.request {
            CalloutRequest::Http(token, _) => vm.on_http_call_response(*token, None),
            CalloutRequest::Grpc(token, _) | CalloutRequest::GrpcStream(token, ..) => {
                vm.on_grpc_close(*token, UNAVAILABLE, Bytes::new())
            }
            CalloutRequest::Dns(token, _) => vm.on_resolve_dns(*token, &[]),
        }
    }
}

const TOO_LATE: &[u8] = b"upstream request timeout";

/// What the proxy answers in place of an endpoint that is late.
fn too_late() -> HttpCallResponse {
    let length = TOO_LATE.len().to_string();
    let headers = [
        (":status", "504"),
        ("content-length", &length),
        ("content-type", "text/plain"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned()));
    HttpCallResponse {
        headers: headers.into_iter().collect::<HeaderMap>(),
        body: Bytes::from_static(TOO_LATE).into(),
        trailers: None,
    }
}

/// What a filter sends on a gRPC stream.
#[derive(Default)]
pub(crate) struct GrpcSent {
    messages: RefCell<Vec<Bytes>>,
    closed: Cell<bool>,
}

impl GrpcSent {
    /// Messages that no test has looked at yet.
    pub(crate) fn take_messages(&self) -> Vec<Bytes> {
        self.messages.take()
    }

    /// Whether the filter has closed its side.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }
}

impl GrpcStream for GrpcSent {
    fn send(&self, message: Bytes, end_of_stream: bool) -> Result<(), CalloutError> {
        self.messages.borrow_mut().push(message);
        self.closed.set(self.closed.get() || end_of_stream);
        Ok(())
    }

    fn close(&self) {
        self.closed.set(true);
    }
}
