//! Spans as the protocol has them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind};

use super::context::TraceContext;

/// When something happens: both clocks, read once a request, so that its spans agree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    at: SystemTime,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
            at: SystemTime::now(),
        }
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanos(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began);
        let at = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from((at + since).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// From when to when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A complete span. `parent` is empty if there is none.
pub(super) fn span(
    context: TraceContext,
    parent: &[u8],
    name: String,
    kind: SpanKind,
    range: Range,
) -> Span {
    Span {
        trace_id: context.trace.to_vec(),
        span_id: context.span.to_vec(),
        parent_span_id: parent.to_vec(),
        name,
        kind: kind.into(),
        start_time_unix_nano: range.start,
        end_time_unix_nano: range.end,
        // The one bit that is known: it is sampled.
        flags: 1,
        ..Span::default()
    }
}

/// Marks a span as failed, in the way of Envoy and in that of OpenTelemetry.
pub(super) fn fail(span: &mut Span) {
    span.attributes.push(text("error", "true"));
    span.status = Some(Status {
        code: StatusCode::Error.into(),
        message: String::new(),
    });
}

/// An attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(super) fn number(key: &str, value: u64) -> KeyValue {
    attribute(
        key,
        Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
    )
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Microseconds of a duration.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
