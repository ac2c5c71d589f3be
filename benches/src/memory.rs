//! A proxy of nothing but memory: what a guest is measured against when no
//! socket may blur the figures.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{
    BodyBuffer, DefineError, Direction, Failure, FilterIndex, HeaderMap, Host, HttpMap,
    LocalResponse, LogLevel, Metric, MetricType, Origin, PropertiesFull, Property, PropertyError,
    Stream,
};

use crate::inputs::{REQUEST, RESPONSE};

/// A host whose clock stands still, so that a hostcall is measured and not the
/// clock, and that throws away what guests log.
#[derive(Debug)]
pub struct MemoryHost;

impl Host for MemoryHost {
    fn log(&self, _: Origin<'_>, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> Option<LogLevel> {
        Some(LogLevel::Info)
    }

    fn failed(&self, _: Origin<'_>, failure: &Failure, _: Option<&dyn Stream>) {
        eprintln!("the guest failed: {failure}");
    }

    fn define_metric(&self, _: MetricType, _: &str) -> Result<Rc<dyn Metric>, DefineError> {
        Ok(Rc::new(NoMetric))
    }

    fn wall_clock(&self) -> Duration {
        Duration::from_secs(1_767_225_600)
    }

    fn monotonic_clock(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// A metric that keeps nothing.
struct NoMetric;

impl Metric for NoMetric {
    fn add(&self, _: i64) {}

    fn record(&self, _: u64) {}

    fn value(&self) -> u64 {
        0
    }
}

/// A stream with headers in both directions, no trailers, and what it is given for
/// the body of its response.
#[derive(Debug)]
pub struct MemoryStream {
    request: RefCell<HeaderMap>,
    response: RefCell<HeaderMap>,
    body: RefCell<BodyBuffer>,
}

impl MemoryStream {
    /// Has `bytes` for the body of the response.
    pub fn set_response_body(&self, bytes: Bytes) {
        let mut body = BodyBuffer::default();
        body.push(bytes);
        self.body.replace(body);
    }
}

impl Default for MemoryStream {
    /// [`REQUEST`] and [`RESPONSE`].
    fn default() -> Self {
        Self {
            request: RefCell::new(REQUEST.into_iter().collect()),
            response: RefCell::new(RESPONSE.into_iter().collect()),
            body: RefCell::default(),
        }
    }
}

impl Stream for MemoryStream {
    fn headers(&self, map: HttpMap) -> Option<RefMut<'_, HeaderMap>> {
        match map {
            HttpMap::RequestHeaders => Some(self.request.borrow_mut()),
            HttpMap::ResponseHeaders => Some(self.response.borrow_mut()),
            HttpMap::RequestTrailers | HttpMap::ResponseTrailers => None,
        }
    }

    fn add_trailers(&self, _: Direction) -> bool {
        false
    }

    fn body(&self, _: FilterIndex, direction: Direction) -> Option<RefMut<'_, BodyBuffer>> {
        (direction == Direction::Response).then(|| self.body.borrow_mut())
    }

    fn property(&self, _: &[&[u8]]) -> Result<Property, PropertyError> {
        Err(PropertyError::NotFound)
    }

    fn set_property(&self, _: &[u8], _: Bytes) -> Result<(), PropertiesFull> {
        Ok(())
    }

    fn continue_stream(&self, _: FilterIndex, _: Direction) {}

    fn close_stream(&self, _: FilterIndex) {}

    fn send_local_response(&self, _: FilterIndex, _: LocalResponse) {}
}
