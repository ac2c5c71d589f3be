//! When a request is sent once more, as configured.

use std::time::Duration;

use weir_abi::HeaderMap;
use weir_config::RetryOn;

use super::matcher::HeaderMatcher;

/// A compiled retry policy.
#[derive(Debug)]
pub(crate) struct RetryPolicy {
    pub(crate) on: RetryOn,
    pub(crate) retries: u32,
    pub(crate) status_codes: Vec<u16>,
    pub(super) response_headers: Vec<HeaderMatcher>,
    /// If there are any, a request that matches none is not sent again.
    pub(super) request_headers: Vec<HeaderMatcher>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) attempt_idle_timeout: Option<Duration>,
    pub(crate) pause: Duration,
    pub(crate) pause_max: Duration,
    /// Bytes of a body that are kept, if not as many as a filter may hold.
    pub(crate) buffer_limit: Option<usize>,
}

impl RetryPolicy {
    /// Whether this request may be sent again at all.
    pub(crate) fn is_for(&self, request: &HeaderMap) -> bool {
        let mut wanted = self.request_headers.iter();
        wanted.len() == 0 || wanted.any(|header| header.matches(request))
    }

    /// Whether a response has one of the headers that ask for another attempt.
    pub(crate) fn wants(&self, response: &HeaderMap) -> bool {
        self.response_headers
            .iter()
            .any(|header| header.matches(response))
    }
}
