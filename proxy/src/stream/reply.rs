//! Responses that Weir makes itself: what filters answer in place of the
//! upstream, and what failures come to. The one place where a failure becomes
//! an HTTP answer and a response flag.

use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{Direction, HeaderMap, LocalResponse};

use crate::http::{UpstreamError, reset};

use super::{FilteredStream, ResponseFlags, ResponseSource, ResponseState};

/// Why there is no response from the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    NoRoute,
    /// The route names no cluster that there is.
    NoCluster,
    /// The cluster has no endpoint.
    NoEndpoint,
    /// No connection, for this reason.
    Connect(String),
    ConnectTimeout,
    /// The upstream reset the stream, with this HTTP/2 error code.
    Reset(u32),
    /// The connection closed or broke before the response was complete.
    Closed,
    /// The response was malformed.
    Protocol,
    Timeout,
    /// One attempt, of which there could be several, took too long.
    AttemptTimeout,
    /// Nothing moved in one attempt for too long.
    AttemptIdle,
    /// The cluster has as much under way as it may.
    Overflow,
}

impl UpstreamFailure {
    /// Status and flag of the answer.
    pub(crate) fn answer(&self) -> (u16, ResponseFlags) {
        match self {
            Self::NoRoute => (404, ResponseFlags::NO_ROUTE),
            Self::NoCluster => (503, ResponseFlags::NO_CLUSTER_FOUND),
            Self::NoEndpoint => (503, ResponseFlags::NO_HEALTHY_UPSTREAM),
            Self::Connect(_) | Self::ConnectTimeout => {
                (503, ResponseFlags::UPSTREAM_CONNECTION_FAILURE)
            }
            Self::Reset(_) => (503, ResponseFlags::UPSTREAM_REMOTE_RESET),
            Self::Closed => (503, ResponseFlags::UPSTREAM_CONNECTION_TERMINATION),
            Self::Protocol => (502, ResponseFlags::UPSTREAM_PROTOCOL_ERROR),
            Self::Timeout | Self::AttemptTimeout | Self::AttemptIdle => {
                (504, ResponseFlags::UPSTREAM_TIMEOUT)
            }
            Self::Overflow => (503, ResponseFlags::UPSTREAM_OVERFLOW),
        }
    }

    /// Details and body of the answer. `started`: the upstream's response had
    /// begun; `retried`: it was not the first attempt.
    pub(crate) fn words(&self, started: bool, retried: bool) -> (String, String) {
        let reason = match self {
            Self::NoRoute => return ("route_not_found".to_owned(), String::new()),
            Self::NoCluster => return ("cluster_not_found".to_owned(), String::new()),
            Self::NoEndpoint => {
                return (
                    "no_healthy_upstream".to_owned(),
                    "no healthy upstream".to_owned(),
                );
            }
            Self::Timeout | Self::AttemptTimeout | Self::AttemptIdle => {
                let details = match self {
                    Self::AttemptTimeout => "upstream_per_try_timeout",
                    Self::AttemptIdle => "upstream_per_try_idle_timeout",
                    _ => "response_timeout",
                };
                let body = "upstream request timeout";
                return (details.to_owned(), body.to_owned());
            }
            Self::Connect(_) => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::Reset(reset::REFUSED_STREAM) => "remote refused stream reset",
            Self::Reset(_) => "remote reset",
            Self::Closed => "connection termination",
            Self::Protocol => "protocol error",
            Self::Overflow => "overflow",
        };
        let latest = if retried {
            "retried and the latest "
        } else {
            ""
        };
        let when = if started { "after" } else { "before" };
        let cause = match self {
            Self::Connect(cause) => format!("{reason}|{cause}"),
            _ => reason.to_owned(),
        };
        (
            format!("upstream_reset_{when}_response_started{{{cause}}}"),
            format!(
                "upstream connect error or disconnect/reset before headers. {latest}reset reason: {reason}"
            ),
        )
    }
}

impl From<&UpstreamError> for UpstreamFailure {
    fn from(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::Connect(cause) => Self::Connect(cause.clone()),
            UpstreamError::ConnectTimeout => Self::ConnectTimeout,
            UpstreamError::Malformed(_) => Self::Protocol,
            UpstreamError::Closed(_) => Self::Closed,
            UpstreamError::Reset(code) => Self::Reset(*code),
            UpstreamError::Refused => Self::Reset(reset::REFUSED_STREAM),
            UpstreamError::Overflow => Self::Overflow,
        }
    }
}

impl FilteredStream {
    /// The upstream cannot answer.
    pub(crate) fn fail_upstream(self: &Rc<Self>, failure: &UpstreamFailure) {
        let (code, flag) = failure.answer();
        let started = self.response.get() != ResponseState::Awaited;
        let (details, body) = failure.words(started, self.info.retried.get());
        self.info.flag(flag);
        if let UpstreamFailure::Reset(code) = failure
            && self.headers_sent.get()
        {
            self.reset_code.set(*code);
        }
        self.own_response(code, &details, &body);
    }

    /// The cluster has as much under way as it may, which `tells` the client by
    /// Envoy's header.
    pub(crate) fn fail_overflow(self: &Rc<Self>, tells: bool) {
        let failure = UpstreamFailure::Overflow;
        let (code, flag) = failure.answer();
        let (details, body) = failure.words(false, self.info.retried.get());
        self.info.flag(flag);
        let mut response = own(code, &details, &body);
        if tells {
            let header = ("x-envoy-overloaded".into(), "true".into());
            response.headers.push(header);
        }
        self.local_response(&response);
    }

    /// Nothing has moved for too long, and no response has begun.
    pub(crate) fn fail_idle(self: &Rc<Self>) {
        self.info.flag(ResponseFlags::STREAM_IDLE_TIMEOUT);
        self.own_response(504, "stream_idle_timeout", "stream timeout");
    }

    /// The response cannot be sent to its end.
    pub(crate) fn cut_response(&self, details: &str) {
        self.info.set_code_details(details.as_bytes());
        self.to_downstream.borrow_mut().clear();
        self.cut();
    }

    /// The route answers in place of an upstream.
    pub(crate) fn answer(self: &Rc<Self>, code: u16, headers: Vec<(Bytes, Bytes)>, body: Bytes) {
        let response = LocalResponse {
            code,
            details: Bytes::from_static(b"direct_response"),
            body,
            headers,
            grpc_status: None,
        };
        self.respond(&response, Author::Route);
    }

    /// The request, as the filters left it, cannot be sent.
    pub(crate) fn fail_request(self: &Rc<Self>, code: u16, details: &str, reason: &str) {
        self.own_response(code, details, reason);
    }

    /// The request is not acceptable. The answer passes no filter.
    pub(crate) fn reject(
        self: &Rc<Self>,
        code: u16,
        details: &str,
        headers: Vec<(Bytes, Bytes)>,
        body: &str,
    ) {
        self.info.set_code_details(details.as_bytes());
        self.end_request();
        let mut response = own(code, details, body);
        response.headers = headers;
        self.answer_directly(&response);
    }

    /// The body of the client's request is malformed.
    pub(crate) fn fail_malformed_request(self: &Rc<Self>) {
        self.info.flag(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        self.own_response(400, "http1.codec_error", "Bad Request");
    }

    /// The response, as the filters left it, cannot be sent.
    pub(crate) fn fail_response(self: &Rc<Self>, details: &str, reason: &str) {
        self.info.set_code_details(details.as_bytes());
        self.to_downstream.borrow_mut().clear();
        // It has passed the filters already; the answer in its place passes none.
        self.replace_response(&own(502, details, reason));
    }

    /// The filters left a response without a status.
    pub(super) fn fail_response_without_status(self: &Rc<Self>) {
        let reason = "missing required header: :status";
        let details = format!("filter_removed_required_response_headers{{{reason}}}");
        self.fail_response(&details, reason);
    }

    /// The client's connection ended or broke: whatever has not been written,
    /// never will be.
    pub(crate) fn fail_downstream(&self, flag: ResponseFlags, details: &str) {
        self.info.flag(flag);
        self.info.set_code_details(details.as_bytes());
        self.to_downstream.borrow_mut().clear();
        self.cut();
    }

    /// A filter's VM has failed: this stream gets 503, once (Envoy's details).
    pub(super) fn fail_filter(self: &Rc<Self>) {
        self.own_response(503, "wasm_fail_stream", "");
    }

    /// A filter buffers more of the request than it may.
    pub(super) fn fail_too_large(self: &Rc<Self>) {
        self.own_response(413, "request_payload_too_large", "Payload Too Large");
    }

    /// A filter buffers more of the response than it may.
    pub(super) fn fail_response_too_large(self: &Rc<Self>) {
        self.own_response(500, "response_payload_too_large", "Internal Server Error");
    }

    fn own_response(self: &Rc<Self>, code: u16, details: &str, body: &str) {
        self.local_response(&own(code, details, body));
    }

    /// Answers the request in place of the upstream. Before the response has
    /// begun, the answer passes all filters that have seen the request; later
    /// it replaces the response and passes none; once headers have gone out
    /// the stream can only be cut.
    pub(super) fn local_response(self: &Rc<Self>, response: &LocalResponse) {
        self.respond(response, Author::Other);
    }

    fn respond(self: &Rc<Self>, response: &LocalResponse, author: Author) {
        match self.response.get() {
            // Too late for an answer; what is left of the request has no purpose.
            ResponseState::Complete | ResponseState::Reset => self.end_request(),
            ResponseState::Awaited => {
                self.info.set_code_details(&response.details);
                self.end_request();
                let (headers, body) = self.compose(response, author);
                let end = body.is_empty();
                self.start_response(ResponseSource::Local, headers, end);
                if !end && self.response.get() == ResponseState::Started {
                    self.body(Direction::Response, self.first(), body.into(), true);
                }
            }
            ResponseState::Started => {
                self.info.set_code_details(&response.details);
                self.replace_response(response);
            }
        }
    }

    fn replace_response(self: &Rc<Self>, response: &LocalResponse) {
        if self.headers_sent.get() || !self.to_downstream.borrow().is_empty() {
            self.cut();
            return;
        }
        self.end_request();
        for slot in &self.slots {
            slot.direction(Direction::Response).take_held();
        }
        self.response_trailers.borrow_mut().take();
        self.answer_directly(response);
    }

    /// Sends a response that passes no filter.
    fn answer_directly(self: &Rc<Self>, response: &LocalResponse) {
        let (headers, body) = self.compose(response, Author::Other);
        let end = body.is_empty();
        self.start_response(ResponseSource::LocalDirect, headers, end);
        if !end {
            self.body(Direction::Response, self.first(), body.into(), true);
        }
    }

    /// Headers and body of a local response. For a gRPC request it is a
    /// trailers-only reply: status and message stand in the headers.
    fn compose(&self, response: &LocalResponse, author: Author) -> (HeaderMap, Bytes) {
        if response.code == 400 {
            self.bad_request.set(true);
        }
        let mut headers = HeaderMap::with_capacity(response.headers.len() + 4);
        headers.add(":status", response.code.to_string());
        let route = self.info.route.borrow();
        let change = |headers: &mut HeaderMap| {
            if let Some(route) = route.as_ref() {
                route.change_response(self, headers);
            }
        };
        if author == Author::Other {
            change(&mut headers);
        }
        for (name, value) in &response.headers {
            if !name.eq_ignore_ascii_case(b":status") {
                headers.add(name.clone(), value.clone());
            }
        }
        if author == Author::Route {
            change(&mut headers);
        }
        if self.is_grpc {
            headers.replace(":status", "200");
            headers.replace("content-type", "application/grpc");
            let status = response
                .grpc_status
                .unwrap_or_else(|| grpc_status(response.code));
            headers.add("grpc-status", status.to_string());
            if !response.body.is_empty() {
                headers.add("grpc-message", percent_encode(&response.body));
            }
            return (headers, Bytes::new());
        }
        if response.body.is_empty() {
            headers.remove(b"content-length");
            return (headers, Bytes::new());
        }
        headers.overwrite("content-length", response.body.len().to_string());
        if !headers.contains(b"content-type") {
            headers.add("content-type", "text/plain");
        }
        let body = if self.is_head {
            Bytes::new()
        } else {
            response.body.clone()
        };
        (headers, body)
    }
}

/// Who makes a response, which decides what the route's changes of headers apply to: as
/// in Envoy, to all headers of its own, and not to those that others give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Route,
    Other,
}

/// Whether a request is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(b"content-type").is_some_and(|t| {
        t.strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    })
}

pub(super) fn own(code: u16, details: &str, body: &str) -> LocalResponse {
    LocalResponse {
        code,
        details: Bytes::copy_from_slice(details.as_bytes()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        headers: Vec::new(),
        grpc_status: None,
    }
}

/// gRPC status for an HTTP status (gRPC, `doc/http-grpc-status-mapping.md`).
pub(crate) fn grpc_status(code: u16) -> u32 {
    match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// `grpc-message` encoding (gRPC, `PROTOCOL-HTTP2.md`): all but printable ASCII
/// and the percent sign itself stand as they are.
fn percent_encode(text: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
