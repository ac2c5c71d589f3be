//! Counts responses, and logs those that are errors.

use log::{debug, warn};
use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MetricType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

// ANCHOR: define
/// Numbers of the metrics, the same for every stream.
#[derive(Clone, Copy, Default)]
struct Metrics {
    errors: u32,
    in_flight: u32,
    body_bytes: u32,
}

impl Metrics {
    fn define() -> Result<Self, Status> {
        Ok(Self {
            errors: define_metric(MetricType::Counter, "shop.errors")?,
            in_flight: define_metric(MetricType::Gauge, "shop.in_flight")?,
            body_bytes: define_metric(MetricType::Histogram, "shop.body_bytes")?,
        })
    }
}
// ANCHOR_END: define

#[derive(Default)]
struct Root {
    metrics: Metrics,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        match Metrics::define() {
            Ok(metrics) => self.metrics = metrics,
            Err(_) => return false,
        }
        true
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            metrics: self.metrics,
            bytes: 0,
        }))
    }
}

struct Stream {
    metrics: Metrics,
    bytes: u64,
}

impl Context for Stream {}

// ANCHOR: use
impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let _ = increment_metric(self.metrics.in_flight, 1);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let status = self.get_http_response_header(":status").unwrap_or_default();
        debug!("answered with {status}");
        if status.starts_with('5') {
            warn!("the shop fails: {status}");
            let _ = increment_metric(self.metrics.errors, 1);
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        self.bytes += size as u64;
        Action::Continue
    }

    fn on_log(&mut self) {
        let _ = increment_metric(self.metrics.in_flight, -1);
        let _ = record_metric(self.metrics.body_bytes, self.bytes);
    }
}
// ANCHOR_END: use
