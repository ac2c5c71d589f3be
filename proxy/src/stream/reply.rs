//! Responses that Weir makes itself: what filters answer in place of the
//! upstream, and what failures come to. The one place where a failure becomes
//! an HTTP answer and a response flag.

use std::rc::Rc;

use bytes::Bytes;
use weir_abi::{Direction, HeaderMap, LocalResponse};

use super::{FilteredStream, ResponseFlags, ResponseSource, ResponseState};

/// Why there is no response from the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    NoRoute,
    Connect,
    /// The connection closed or broke before the response was complete.
    Closed,
    /// The response was malformed.
    Protocol,
    Timeout,
}

impl UpstreamFailure {
    /// Status, flag, details and body of the answer.
    fn answer(self) -> (u16, ResponseFlags, &'static str, &'static str) {
        match self {
            Self::NoRoute => (
                404,
                ResponseFlags::NO_ROUTE,
                "route_not_found",
                "no route matches the request\n",
            ),
            Self::Connect => (
                503,
                ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
                "upstream_reset_before_response_started{connection_failure}",
                "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
            ),
            Self::Closed => (
                503,
                ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
                "upstream_reset_before_response_started{connection_termination}",
                "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            ),
            Self::Protocol => (
                502,
                ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
                "upstream_reset_before_response_started{protocol_error}",
                "upstream connect error or disconnect/reset before headers. reset reason: protocol error",
            ),
            Self::Timeout => (
                504,
                ResponseFlags::UPSTREAM_TIMEOUT,
                "response_timeout",
                "upstream request timeout",
            ),
        }
    }
}

impl FilteredStream {
    /// The upstream cannot answer.
    pub(crate) fn fail_upstream(self: &Rc<Self>, failure: UpstreamFailure) {
        let (code, flag, details, body) = failure.answer();
        self.info.flag(flag);
        self.own_response(code, details, body);
    }

    /// The request, as the filters left it, cannot be sent.
    pub(crate) fn fail_request(self: &Rc<Self>, code: u16, details: &str, reason: &str) {
        self.own_response(code, details, reason);
    }

    /// The head of the client's request is not acceptable. The answer passes no
    /// filter; `body_size` is that of its body, which the caller writes.
    pub(crate) fn reject(self: &Rc<Self>, code: u16, details: &str, body_size: usize) {
        self.info.set_code_details(details.as_bytes());
        self.end_request();
        let mut headers = HeaderMap::with_capacity(3);
        headers.add(":status", code.to_string());
        headers.add("content-type", "text/plain");
        headers.add("content-length", body_size.to_string());
        self.start_response(ResponseSource::LocalDirect, headers, true);
    }

    /// The body of the client's request is malformed.
    pub(crate) fn fail_malformed_request(self: &Rc<Self>) {
        self.info.flag(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR);
        self.own_response(400, "http1.codec_error", "Bad Request");
    }

    /// The response, as the filters left it, cannot be sent.
    pub(crate) fn fail_response(self: &Rc<Self>, reason: &str) {
        self.info.flag(ResponseFlags::UPSTREAM_PROTOCOL_ERROR);
        self.info.set_code_details(reason.as_bytes());
        self.to_downstream.borrow_mut().clear();
        // It has passed the filters already; the answer in its place passes none.
        self.replace_response(&own(502, reason, reason));
    }

    /// The client's connection ended or broke: whatever has not been written,
    /// never will be.
    pub(crate) fn fail_downstream(&self, flag: ResponseFlags) {
        self.info.flag(flag);
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
        match self.response.get() {
            // Too late for an answer; what is left of the request has no purpose.
            ResponseState::Complete | ResponseState::Reset => self.end_request(),
            ResponseState::Awaited => {
                self.info.set_code_details(&response.details);
                self.end_request();
                let (headers, body) = self.compose(response);
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
        let (headers, body) = self.compose(response);
        let end = body.is_empty();
        self.start_response(ResponseSource::LocalDirect, headers, end);
        if !end {
            self.body(Direction::Response, self.first(), body.into(), true);
        }
    }

    /// Headers and body of a local response. For a gRPC request it is a
    /// trailers-only reply: status and message stand in the headers.
    fn compose(&self, response: &LocalResponse) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::with_capacity(response.headers.len() + 4);
        headers.add(":status", response.code.to_string());
        for (name, value) in &response.headers {
            let framing = [&b"transfer-encoding"[..], b"connection", b"content-length"];
            let pseudo = name.starts_with(b":");
            if !pseudo && !framing.iter().any(|f| name.eq_ignore_ascii_case(f)) {
                headers.add(name.clone(), value.clone());
            }
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
            return (headers, Bytes::new());
        }
        headers.add("content-length", response.body.len().to_string());
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

/// Whether a request is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(b"content-type").is_some_and(|t| {
        t.strip_prefix(b"application/grpc")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+"))
    })
}

fn own(code: u16, details: &str, body: &str) -> LocalResponse {
    LocalResponse {
        code,
        details: Bytes::copy_from_slice(details.as_bytes()),
        body: Bytes::copy_from_slice(body.as_bytes()),
        headers: Vec::new(),
        grpc_status: None,
    }
}

/// gRPC status for an HTTP status (gRPC, `doc/http-grpc-status-mapping.md`).
fn grpc_status(code: u16) -> u32 {
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
