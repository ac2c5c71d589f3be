//! gRPC calls and streams (gRPC, `PROTOCOL-HTTP2.md`): messages in frames of
//! five bytes and their own length, the status in trailers. Outcomes are those
//! of Envoy's client (`async_client_impl.cc`).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use weir_abi::{
    BodyBuffer, CalloutError, CalloutGuard, CalloutToken, GrpcCall, GrpcStart, GrpcStream,
    HeaderMap, Vm,
};

use super::attempt::{Asked, Attempt};
use super::service::GrpcTarget;
use crate::http::{ResponsePiece, UpstreamError};
use crate::limits::{GRPC_OUTBOX_BYTES, GRPC_OUTBOXES_BYTES, GRPC_RESEND_BYTES, GRPC_SEND_BYTES};
use crate::stream::{UpstreamFailure, clean_details, grpc_status};
use crate::telemetry::{CalloutOutcome, CalloutRecord};
use crate::worker::WorkerShared;

/// Bytes before each message: whether it is compressed, and its length.
const FRAME_HEADER: usize = 5;

const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

/// How an exchange ended.
#[derive(Debug)]
pub(super) struct GrpcStatus {
    pub(super) code: u32,
    pub(super) message: Bytes,
    pub(super) outcome: CalloutOutcome,
}

impl GrpcStatus {
    /// The peer's message, if it has one, and in braces where it comes from, as
    /// Envoy tells it.
    fn new(code: u32, message: &[u8], details: &[u8]) -> Self {
        let details: Vec<u8> = clean_details(details);
        let message = if message.is_empty() {
            details
        } else {
            [message, b"{", &details, b"}"].concat()
        };
        Self {
            code,
            message: message.into(),
            outcome: CalloutOutcome::Failed,
        }
    }

    fn of_peer(code: u32, message: &[u8]) -> Self {
        Self {
            outcome: CalloutOutcome::Answered,
            ..Self::new(code, message, b"via_upstream")
        }
    }
}

/// What comes during an exchange.
enum Event {
    InitialMetadata(HeaderMap),
    Message(Bytes),
    TrailingMetadata(HeaderMap),
}

/// Makes a unary call; gives the answer, or the status it failed with.
pub(super) async fn unary(
    worker: &WorkerShared,
    target: &GrpcTarget,
    call: GrpcCall,
    record: CalloutRecord,
) -> Result<Bytes, GrpcStatus> {
    let outbox = Outbox::new(Rc::default());
    outbox.push(&call.message, true);
    let answer = RefCell::new(None);
    let timeout = call.timeout.or(target.timeout);
    let headers = headers(worker, target, &call.start, timeout);
    let asked = Asked::default();
    let tell = |event| {
        if let Event::Message(message) = event {
            answer.replace(Some(message));
        }
    };
    let exchange = exchange(worker, target.cluster, &headers, &outbox, &asked, tell);
    let status = match timeout {
        None => exchange.await,
        Some(timeout) => tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| {
                asked.take().inspect(|asked| asked.timeout());
                failed(&UpstreamFailure::Timeout, &mut |_| {})
            }),
    };
    record.end(status.outcome);
    match (status.code, answer.take()) {
        (OK, Some(message)) => Ok(message),
        (OK, None) => Err(GrpcStatus {
            code: INTERNAL,
            message: Bytes::new(),
            outcome: CalloutOutcome::Answered,
        }),
        _ => Err(status),
    }
}

/// Where what comes on a stream goes.
pub(super) struct VmEvents {
    vm: Weak<Vm>,
    token: CalloutToken,
}

impl VmEvents {
    pub(super) fn new(vm: Weak<Vm>, token: CalloutToken) -> Self {
        Self { vm, token }
    }

    fn tell(&self, event: Event) {
        if let Some(vm) = self.vm.upgrade() {
            // A VM that fails has reported it, and cancels the stream.
            let _ = match event {
                Event::InitialMetadata(map) => vm.on_grpc_initial_metadata(self.token, map),
                Event::Message(message) => vm.on_grpc_message(self.token, message),
                Event::TrailingMetadata(map) => vm.on_grpc_trailing_metadata(self.token, map),
            };
        }
    }
}

/// Carries a stream from its beginning to its end.
pub(super) async fn stream(
    worker: &WorkerShared,
    target: &GrpcTarget,
    start: &GrpcStart,
    outbox: &Outbox,
    events: &VmEvents,
    record: CalloutRecord,
) {
    let headers = headers(worker, target, start, None);
    let tell = |event| events.tell(event);
    let asked = Asked::default();
    let status = exchange(worker, target.cluster, &headers, outbox, &asked, tell).await;
    record.end(status.outcome);
    if let Some(vm) = events.vm.upgrade() {
        let _ = vm.on_grpc_close(events.token, status.code, status.message);
    }
}

fn headers(
    worker: &WorkerShared,
    target: &GrpcTarget,
    start: &GrpcStart,
    timeout: Option<Duration>,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8 + start.metadata.len());
    headers.add(":method", "POST");
    let path = [b"/", &start.service[..], b"/", &start.method].concat();
    headers.add(":path", path);
    headers.add(":authority", target.authority.clone());
    headers.add(":scheme", "http");
    headers.add("te", "trailers");
    let milliseconds = timeout.map(|t| t.as_millis());
    if let Some(milliseconds) = milliseconds {
        headers.add("grpc-timeout", format!("{milliseconds}m"));
    }
    headers.add("content-type", "application/grpc");
    for (name, value) in target.metadata.iter().chain(start.metadata.entries()) {
        headers.add(name.clone(), on_the_wire(name, value));
    }
    if worker.callouts.envoy_headers {
        headers.add("x-envoy-internal", "true");
        if let Some(milliseconds) = milliseconds {
            let name = "x-envoy-expected-rq-timeout-ms";
            headers.add(name, milliseconds.to_string());
        }
    }
    headers
}

/// Binary metadata travels in base64 (gRPC, `PROTOCOL-HTTP2.md`).
fn on_the_wire(name: &[u8], value: &Bytes) -> Bytes {
    if name.ends_with(b"-bin") {
        BASE64.encode(value).into()
    } else {
        value.clone()
    }
}

/// One exchange with an endpoint of the cluster.
async fn exchange(
    worker: &WorkerShared,
    cluster: usize,
    headers: &HeaderMap,
    outbox: &Outbox,
    asked: &Asked,
    mut tell: impl FnMut(Event),
) -> GrpcStatus {
    let cluster = &worker.clusters[cluster];
    let mut fresh = false;
    let (mut attempt, first) = loop {
        let mut attempt = match Attempt::connect(worker, cluster, fresh, asked).await {
            Ok(attempt) => attempt,
            Err(failure) => return failed(&failure, &mut tell),
        };
        if let Err(reason) = attempt.send_headers(headers, false) {
            tracing::warn!("a filter's gRPC request cannot be sent: {reason}");
            let details = format!("filter_removed_required_request_headers{{{reason}}}");
            return GrpcStatus::new(UNAVAILABLE, reason.as_bytes(), details.as_bytes());
        }
        match poll_fn(|context| poll(&mut attempt, outbox, context)).await {
            // The endpoint has not looked at it.
            Err(UpstreamError::Refused) if attempt.reused && !fresh && outbox.rewind() => {
                fresh = true;
            }
            first => break (attempt, first),
        }
    };
    outbox.forget_sent();
    let mut response = Response::default();
    let mut next = Some(first);
    loop {
        let piece = match next.take() {
            Some(piece) => piece,
            None => poll_fn(|context| poll(&mut attempt, outbox, context)).await,
        };
        let ended = match piece {
            Ok(piece) => {
                let piece = complete(worker, &attempt, outbox, piece);
                response.take(piece, worker.callouts.response_limit, &mut tell)
            }
            Err(error) if response.begun => {
                attempt.failed(&error);
                tracing::debug!("a gRPC callout is cut: {error}");
                tell(Event::TrailingMetadata(HeaderMap::new()));
                let details = UpstreamFailure::from(&error).words(true, false).0;
                Some(GrpcStatus::new(INTERNAL, b"", details.as_bytes()))
            }
            Err(error) => {
                attempt.failed(&error);
                Some(failed(&UpstreamFailure::from(&error), &mut tell))
            }
        };
        if let Some(status) = ended {
            if response.whole {
                attempt.release();
            }
            return status;
        }
    }
}

/// Sends what waits, and waits for the next piece of the response.
fn poll(
    attempt: &mut Attempt<'_>,
    outbox: &Outbox,
    context: &mut Context<'_>,
) -> Poll<Result<ResponsePiece, UpstreamError>> {
    if attempt.queued() < GRPC_SEND_BYTES
        && let Some((data, ended)) = outbox.take(context)
        // A length cannot be wrong where none is declared.
        && let Err(reason) = attempt.send_body(data, ended)
    {
        tracing::warn!("a filter's gRPC request cannot be sent: {reason}");
    }
    attempt.poll(context)
}

/// Adds the headers that are the host's business.
fn complete(
    worker: &WorkerShared,
    attempt: &Attempt<'_>,
    outbox: &Outbox,
    piece: ResponsePiece,
) -> ResponsePiece {
    match piece {
        ResponsePiece::Headers {
            mut headers,
            end_of_stream,
        } => {
            // How long the endpoint took, is known when it had all of the request.
            if outbox.end_sent.get() {
                attempt.add_service_time(worker, &mut headers);
            }
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            }
        }
        other => other,
    }
}

/// The endpoint cannot be reached, or does not answer. What a stream sees of it
/// is a reply in the endpoint's place, as Envoy's router makes it.
fn failed(failure: &UpstreamFailure, tell: &mut impl FnMut(Event)) -> GrpcStatus {
    let code = grpc_status(failure.answer().0);
    let (details, message) = failure.words(false, false);
    let mut trailers = HeaderMap::with_capacity(4);
    trailers.add(":status", "200");
    trailers.add("content-type", "application/grpc");
    trailers.add("grpc-status", code.to_string());
    trailers.add("grpc-message", message.clone());
    tell(Event::InitialMetadata(HeaderMap::new()));
    tell(Event::TrailingMetadata(trailers));
    let outcome = match failure {
        UpstreamFailure::Timeout => CalloutOutcome::TimedOut,
        _ => CalloutOutcome::Failed,
    };
    GrpcStatus {
        outcome,
        ..GrpcStatus::new(code, message.as_bytes(), details.as_bytes())
    }
}

/// A response as far as it has come.
#[derive(Default)]
struct Response {
    begun: bool,
    whole: bool,
    /// Bytes that are no whole message yet.
    partial: BodyBuffer,
}

impl Response {
    /// Takes a piece; gives the status when it is the last.
    fn take(
        &mut self,
        piece: ResponsePiece,
        limit: usize,
        tell: &mut impl FnMut(Event),
    ) -> Option<GrpcStatus> {
        match piece {
            ResponsePiece::Informational(_) => None,
            ResponsePiece::Headers {
                headers,
                end_of_stream,
            } => {
                self.begun = true;
                self.whole = end_of_stream;
                let http = headers.get(b":status").filter(|s| *s != "200").cloned();
                let trailers_only = end_of_stream && headers.contains(b"grpc-status");
                if let Some(http) = http.filter(|_| !trailers_only) {
                    let http = std::str::from_utf8(&http).ok();
                    let http = http.and_then(|s| s.parse().ok()).unwrap_or(0);
                    tell(Event::InitialMetadata(HeaderMap::new()));
                    return Some(self.error(grpc_status(http), tell));
                }
                if end_of_stream {
                    tell(Event::InitialMetadata(HeaderMap::new()));
                    return Some(Self::trailers(headers, tell));
                }
                tell(Event::InitialMetadata(headers));
                None
            }
            ResponsePiece::Body {
                data,
                end_of_stream,
            } => {
                self.whole = end_of_stream;
                self.partial.append(data);
                loop {
                    match self.message(limit) {
                        Ok(Some(message)) => tell(Event::Message(message)),
                        Ok(None) => break,
                        Err(()) => {
                            self.whole = false;
                            return Some(self.error(INTERNAL, tell));
                        }
                    }
                }
                end_of_stream.then(|| self.error(UNKNOWN, tell))
            }
            ResponsePiece::Trailers(trailers) => {
                self.whole = true;
                Some(Self::trailers(trailers, tell))
            }
        }
    }

    fn error(&self, code: u32, tell: &mut impl FnMut(Event)) -> GrpcStatus {
        tell(Event::TrailingMetadata(HeaderMap::new()));
        GrpcStatus::of_peer(code, b"")
    }

    fn trailers(trailers: HeaderMap, tell: &mut impl FnMut(Event)) -> GrpcStatus {
        let code = trailers.get(b"grpc-status");
        let code = code.and_then(|c| std::str::from_utf8(c).ok()?.parse().ok());
        let message = trailers.get(b"grpc-message").cloned();
        tell(Event::TrailingMetadata(trailers));
        GrpcStatus::of_peer(code.unwrap_or(UNKNOWN), &message.unwrap_or_default())
    }

    /// Takes the next message, if it is whole. A compressed one was not asked
    /// for, and one above the limit is not waited for.
    fn message(&mut self, limit: usize) -> Result<Option<Bytes>, ()> {
        if self.partial.len() < FRAME_HEADER {
            return Ok(None);
        }
        let mut header = [0; FRAME_HEADER];
        self.partial.copy_to(0, &mut header);
        let [compressed, length @ ..] = header;
        let length = u32::from_be_bytes(length) as usize;
        if compressed != 0 {
            return Err(());
        }
        if length > limit {
            tracing::warn!(
                limit,
                "a gRPC message is larger than `callouts.response_limit`"
            );
            return Err(());
        }
        if self.partial.len() < FRAME_HEADER + length {
            return Ok(None);
        }
        self.partial.drop_front(FRAME_HEADER);
        let mut message = BytesMut::zeroed(length);
        self.partial.copy_to(0, &mut message);
        self.partial.drop_front(length);
        Ok(Some(message.freeze()))
    }
}

/// Messages that wait to be sent.
pub(super) struct Outbox {
    waiting: RefCell<BodyBuffer>,
    /// What was sent, until it is known that the endpoint has looked at it.
    sent: RefCell<Option<BodyBuffer>>,
    ended: Cell<bool>,
    end_sent: Cell<bool>,
    waker: Cell<Option<Waker>>,
    /// Bytes that wait on all streams of the VM.
    of_vm: Rc<Cell<usize>>,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.of_vm.set(self.of_vm.get() - self.len());
    }
}

impl Outbox {
    pub(super) fn new(of_vm: Rc<Cell<usize>>) -> Rc<Self> {
        Rc::new(Self {
            waiting: RefCell::default(),
            sent: RefCell::new(Some(BodyBuffer::new())),
            ended: Cell::new(false),
            end_sent: Cell::new(false),
            waker: Cell::new(None),
            of_vm,
        })
    }

    /// Adds a message; what comes after the end is dropped.
    fn push(&self, message: &Bytes, end: bool) {
        if self.ended.get() {
            return;
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        let mut header = BytesMut::with_capacity(FRAME_HEADER);
        header.put_u8(0);
        header.put_u32(length);
        let mut waiting = self.waiting.borrow_mut();
        waiting.push(header.freeze());
        waiting.push(message.clone());
        drop(waiting);
        self.waits(FRAME_HEADER + message.len());
        self.ended.set(end);
        self.wake();
    }

    fn end(&self) {
        self.ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What there is to send, and whether it is the last.
    fn take(&self, context: &Context<'_>) -> Option<(BodyBuffer, bool)> {
        self.waker.set(Some(context.waker().clone()));
        let data = self.waiting.take();
        let ends = self.ended.get() && !self.end_sent.get();
        if data.is_empty() && !ends {
            return None;
        }
        self.end_sent.set(self.ended.get());
        self.of_vm.set(self.of_vm.get() - data.len());
        let mut sent = self.sent.borrow_mut();
        // An endpoint may answer a long stream at its end only.
        sent.take_if(|sent| sent.len() + data.len() > GRPC_RESEND_BYTES);
        if let Some(sent) = &mut *sent {
            sent.append(data.clone());
        }
        Some((data, ends))
    }

    fn waits(&self, bytes: usize) {
        self.of_vm.set(self.of_vm.get() + bytes);
    }

    /// Has everything sent once more; false when not all of it is there still.
    fn rewind(&self) -> bool {
        let Some(mut all) = self.sent.borrow_mut().as_mut().map(std::mem::take) else {
            return false;
        };
        self.waits(all.len());
        all.append(self.waiting.take());
        self.waiting.replace(all);
        self.end_sent.set(false);
        true
    }

    fn forget_sent(&self) {
        self.sent.replace(None);
    }

    fn len(&self) -> usize {
        self.waiting.borrow().len()
    }
}

/// The guest's hold of a stream.
pub(super) struct Stream {
    outbox: Rc<Outbox>,
    _task: CalloutGuard,
}

impl Stream {
    pub(super) fn new(outbox: Rc<Outbox>, task: CalloutGuard) -> Self {
        Self {
            outbox,
            _task: task,
        }
    }
}

impl GrpcStream for Stream {
    fn send(&self, message: Bytes, end_of_stream: bool) -> Result<(), CalloutError> {
        let more = FRAME_HEADER + message.len();
        let of_stream = self.outbox.len() + more;
        let of_vm = self.outbox.of_vm.get() + more;
        if of_stream > GRPC_OUTBOX_BYTES || of_vm > GRPC_OUTBOXES_BYTES {
            tracing::warn!(
                of_stream,
                of_vm,
                "too much waits to be sent on a filter's gRPC stream"
            );
            return Err(CalloutError::NotSent);
        }
        self.outbox.push(&message, end_of_stream);
        Ok(())
    }

    fn close(&self) {
        self.outbox.end();
    }
}
