//! [`RequestTrace`]: what happens to one request that gets spans.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use weir_abi::{Direction, HeaderMap};
use weir_config::Address;

use super::context::{TRACEPARENT, TraceContext, random};
use super::span::{self, Clock, Range, micros, number, text};
use super::tracer::Tracer;
use crate::limits::TRACE_TEXT_BYTES;
use crate::stream::{FilteredStream, StreamInfo};

/// What happens to one request.
pub(crate) struct RequestTrace {
    tracer: Arc<Tracer>,
    context: TraceContext,
    parent: Option<[u8; 8]>,
    clock: Clock,
    filters: RefCell<Vec<FilterTime>>,
    /// Those that are complete.
    spans: RefCell<Vec<Span>>,
}

/// What a filter had to do with one direction.
#[derive(Debug, Clone, Copy)]
struct FilterTime {
    index: usize,
    direction: Direction,
    began: Instant,
    ended: Instant,
    callbacks: u64,
    /// In callbacks.
    busy: Duration,
}

impl RequestTrace {
    pub(super) fn new(
        tracer: Arc<Tracer>,
        context: TraceContext,
        parent: Option<[u8; 8]>,
    ) -> Rc<Self> {
        Rc::new(Self {
            tracer,
            context,
            parent,
            clock: Clock::start(),
            filters: RefCell::default(),
            spans: RefCell::default(),
        })
    }

    /// A callback of the filter at `index` began at `began`, and has ended.
    pub(crate) fn called(&self, index: usize, direction: Direction, began: Instant) {
        let now = Instant::now();
        let mut filters = self.filters.borrow_mut();
        let busy = now.saturating_duration_since(began);
        match find(&mut filters, index, direction) {
            Some(time) => {
                time.ended = now;
                time.callbacks += 1;
                time.busy += busy;
            }
            None => filters.push(FilterTime {
                index,
                direction,
                began,
                ended: now,
                callbacks: 1,
                busy,
            }),
        }
    }

    /// The filter at `index` has ended its pause.
    pub(crate) fn resumed(&self, index: usize, direction: Direction) {
        if let Some(time) = find(&mut self.filters.borrow_mut(), index, direction) {
            time.ended = Instant::now();
        }
    }

    /// A request to an endpoint begins, whose headers tell of it.
    pub(crate) fn upstream(
        self: &Rc<Self>,
        headers: &mut HeaderMap,
        cluster: &str,
        address: &Address,
    ) -> Option<UpstreamSpan> {
        let context = TraceContext {
            span: random()?,
            ..self.context
        };
        headers.replace(TRACEPARENT, context.text());
        Some(UpstreamSpan {
            trace: Rc::clone(self),
            context,
            cluster: cluster.to_owned(),
            address: address.clone(),
            began: Instant::now(),
            code: None,
            failed: false,
        })
    }

    /// The stream is over: its spans are complete.
    pub(crate) fn end(&self, stream: &FilteredStream, listener: weir_config::Direction) {
        let is_outbound = listener == weir_config::Direction::Outbound;
        let mut spans = self.spans.take();
        let times = self.filters.take();
        spans.extend(times.iter().filter_map(|time| self.filter(stream, time)));
        spans.push(self.server(stream, is_outbound));
        self.tracer.export(spans);
    }

    fn range(&self, start: Instant, end: Instant) -> Range {
        Range {
            start: self.clock.nanos(start),
            end: self.clock.nanos(end),
        }
    }

    fn filter(&self, stream: &FilteredStream, time: &FilterTime) -> Option<Span> {
        let name = stream.filter_name(time.index)?;
        let context = TraceContext {
            span: random()?,
            ..self.context
        };
        let range = self.range(time.began, time.ended);
        let title = format!("filter {name}");
        let mut span = span::span(
            context,
            &self.context.span,
            title,
            SpanKind::Internal,
            range,
        );
        let direction = match time.direction {
            Direction::Request => "request",
            Direction::Response => "response",
        };
        span.attributes = vec![
            text("component", "proxy"),
            text("weir.filter", name),
            text("weir.direction", direction),
            number("weir.callbacks", time.callbacks),
            number("weir.callback_time_us", micros(time.busy)),
        ];
        Some(span)
    }

    /// The span of the whole, with the attributes that Envoy gives one.
    fn server(&self, stream: &FilteredStream, is_outbound: bool) -> Span {
        let info = &stream.info;
        let headers = stream.request_map();
        let get = |name: &str| headers.get(name.as_bytes()).map(shown);
        let host = get(":authority").unwrap_or_default();
        let (name, kind) = if is_outbound {
            (format!("egress {host}"), SpanKind::Client)
        } else {
            ("ingress".to_owned(), SpanKind::Server)
        };
        let parent = self.parent.as_ref().map_or(&[][..], |parent| &parent[..]);
        let range = self.range(self.clock.began(), Instant::now());
        let mut span = span::span(self.context, parent, name, kind, range);
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let scheme = get(":scheme").unwrap_or_default();
        let path = headers.get(b":path").or_else(|| headers.get(b":authority"));
        let path = path.map(shown).unwrap_or_default();
        let code = info.response_code.get();
        let node = self.tracer.node();
        span.attributes = vec![
            text("component", "proxy"),
            text("node_id", node.id.as_str()),
            text("zone", node.locality.zone.as_str()),
            text("http.url", format!("{scheme}://{host}{path}")),
            text("http.method", get(":method").unwrap_or_default()),
            text("http.protocol", info.protocol.name()),
            text("user_agent", or_dash(get("user-agent"))),
            text(
                "downstream_cluster",
                or_dash(get("x-envoy-downstream-service-cluster")),
            ),
            text("peer.address", info.client.without_port()),
            text("request_size", info.bytes_received.get().to_string()),
            text("response_size", info.bytes_sent.get().to_string()),
            text("response_flags", flags(info)),
            text("http.status_code", code.unwrap_or(0).to_string()),
        ];
        span.attributes
            .extend(get("x-request-id").map(|id| text("guid:x-request-id", id)));
        if let Some(cluster) = info.cluster.borrow().as_deref() {
            span.attributes.push(text("upstream_cluster", cluster));
            span.attributes.push(text("upstream_cluster.name", cluster));
        }
        if code.is_none_or(|code| code >= 500) {
            span::fail(&mut span);
        }
        span
    }
}

fn find(filters: &mut [FilterTime], index: usize, direction: Direction) -> Option<&mut FilterTime> {
    let mut filters = filters.iter_mut();
    filters.find(|time| time.index == index && time.direction == direction)
}

/// A header's value, as far as a span has it.
fn shown(value: &Bytes) -> String {
    let text = String::from_utf8_lossy(value);
    text[..text.floor_char_boundary(TRACE_TEXT_BYTES)].to_owned()
}

/// As the access log has them.
fn flags(info: &StreamInfo) -> String {
    info.flags().to_string()
}

/// A request to an endpoint; complete when it is dropped.
pub(crate) struct UpstreamSpan {
    trace: Rc<RequestTrace>,
    context: TraceContext,
    cluster: String,
    address: Address,
    began: Instant,
    code: Option<u16>,
    failed: bool,
}

impl UpstreamSpan {
    /// The endpoint has answered.
    pub(crate) fn answered(&mut self, code: u16) {
        self.code = Some(code);
    }

    /// It has not, or not with all of it.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for UpstreamSpan {
    fn drop(&mut self) {
        let trace = &self.trace;
        let range = trace.range(self.began, Instant::now());
        let name = format!("router {} egress", self.cluster);
        let parent = &trace.context.span;
        let mut span = span::span(self.context, parent, name, SpanKind::Client, range);
        let address = self.address.to_string();
        span.attributes = vec![
            text("component", "proxy"),
            text("upstream_cluster", self.cluster.as_str()),
            text("upstream_cluster.name", self.cluster.as_str()),
            text("upstream_address", address.as_str()),
            text("peer.address", address),
            text("http.status_code", self.code.unwrap_or(0).to_string()),
        ];
        if self.failed || self.code.is_none_or(|code| code >= 500) {
            span::fail(&mut span);
        }
        trace.spans.borrow_mut().push(span);
    }
}

impl std::fmt::Debug for UpstreamSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamSpan").finish_non_exhaustive()
    }
}
