//! What becomes of a request, by what is kept of the ones before it.

use std::time::Duration;

use crate::config::Limit;
use crate::{bucket, window};

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// It passes once this is kept.
    Pass(Vec<u8>, Rest),
    /// There have been enough.
    Refuse(Rest),
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rest {
    /// Requests that may come now.
    pub(crate) requests: u32,
    /// Until there are more: after a refusal, until the next one passes.
    pub(crate) reset: Duration,
}

impl Rest {
    /// The reset in full seconds.
    pub(crate) fn seconds(self) -> u64 {
        self.reset.as_secs() + u64::from(self.reset.subsec_nanos() > 0)
    }
}

impl Limit {
    /// Decides about a request at `now`, since 1970.
    pub(crate) fn decide(&self, kept: Option<&[u8]>, now: Duration) -> Decision {
        match self.burst {
            None => window::decide(self, kept, now),
            Some(burst) => bucket::decide(self, burst, kept, now),
        }
    }
}
