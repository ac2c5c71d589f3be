//! [`Tracer`]: which requests get spans.

use std::rc::Rc;
use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::Span;
use weir_abi::HeaderMap;
use weir_config::Config;

use super::context::{TRACEPARENT, TRACESTATE, TraceContext, random};
use super::exporter::Exporter;
use super::request::RequestTrace;

/// Decides which requests get spans; shared by all workers, which write nothing in it.
pub(crate) struct Tracer {
    pub(crate) config: weir_config::Tracing,
    /// Who this proxy is.
    node: weir_config::Node,
    exporter: Exporter,
}

impl Tracer {
    /// What the configuration asks for: the one before, if it is the same.
    ///
    /// # Errors
    /// When its thread does not start.
    pub(crate) fn of(
        config: &Config,
        previous: Option<&Arc<Self>>,
    ) -> std::io::Result<Option<Arc<Self>>> {
        let Some(tracing) = &config.tracing else {
            return Ok(None);
        };
        let same = |before: &&Arc<Self>| before.config == *tracing && before.node == config.node;
        if let Some(before) = previous.filter(same) {
            return Ok(Some(Arc::clone(before)));
        }
        Ok(Some(Arc::new(Self {
            config: tracing.clone(),
            node: config.node.clone(),
            exporter: Exporter::start(tracing, &config.node)?,
        })))
    }

    /// Decides whether a request gets spans, and tells whoever sees its headers.
    pub(crate) fn begin(self: &Arc<Self>, headers: &mut HeaderMap) -> Option<Rc<RequestTrace>> {
        let parent = TraceContext::of(headers);
        let sampled = parent.map_or_else(|| self.chooses(), |parent| parent.sampled);
        if parent.is_some() && !sampled {
            // Those behind follow who is in front.
            return None;
        }
        let context = TraceContext {
            trace: parent.map(|p| p.trace).or_else(random)?,
            span: random()?,
            sampled,
        };
        if parent.is_none() {
            // It belonged to what was not well-formed.
            headers.remove(TRACESTATE.as_bytes());
            headers.remove(TRACEPARENT.as_bytes());
        }
        headers.replace(TRACEPARENT, context.text());
        sampled.then(|| RequestTrace::new(Arc::clone(self), context, parent.map(|p| p.span)))
    }

    fn chooses(&self) -> bool {
        let part = self.config.sampling;
        let drawn = || random().map_or(u32::MAX, u32::from_le_bytes);
        // Evenly enough: the remainder favours no part by more than 1 in 4,000.
        part == weir_config::Sampling::default() || drawn() % 1_000_000 < part.0
    }

    pub(super) fn node(&self) -> &weir_config::Node {
        &self.node
    }

    pub(super) fn export(&self, spans: Vec<Span>) {
        self.exporter.export(spans);
    }

    /// Waits until what has been recorded so far is sent, or could not be.
    pub(crate) fn flush(&self) {
        self.exporter.flush();
    }
}
