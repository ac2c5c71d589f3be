//! Numbers of spans. They belong to the process: those who send them come and go with
//! configurations.

use std::sync::atomic::{AtomicU64, Ordering};

use super::family as f;
use super::page::Page;

/// A number that several threads count, none of them often.
#[derive(Debug)]
pub(crate) struct SpanCount(AtomicU64);

impl SpanCount {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// What became of spans.
#[derive(Debug)]
pub(crate) struct Spans {
    pub(crate) sent: SpanCount,
    pub(crate) dropped: SpanCount,
}

static SPANS: Spans = Spans {
    sent: SpanCount(AtomicU64::new(0)),
    dropped: SpanCount(AtomicU64::new(0)),
};

/// Those of this process.
pub(crate) fn spans() -> &'static Spans {
    &SPANS
}

impl Spans {
    pub(super) fn show(&self, page: &mut Page) {
        let get = |count: &SpanCount| count.0.load(Ordering::Relaxed);
        page.count(&f::SPANS_SENT, &[], get(&self.sent));
        page.count(&f::SPANS_DROPPED, &[], get(&self.dropped));
    }
}
