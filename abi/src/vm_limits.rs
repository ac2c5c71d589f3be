//! [`VmLimits`]: what one VM may take, and [`Limit`]: what it has run into.

use std::fmt;
use std::time::Duration;

use crate::limits::{
    CALLOUTS_MAX, LOG_LINE_BYTES, MAP_BYTES_MAX, MEMORY_BYTES, METRICS_MAX, ROOT_CALLBACK_TIME,
};

/// What one VM may take, beside the time of its callbacks and what it shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmLimits {
    /// Bytes of its memory. More is refused when the guest asks for it, and a
    /// module that begins with more is not started. Default: [`MEMORY_BYTES`].
    pub memory: usize,
    /// How long each start function may take. Default: [`ROOT_CALLBACK_TIME`].
    pub start: Duration,
    /// Callouts under way, and begun in one callback. Default: [`CALLOUTS_MAX`].
    pub callouts: usize,
    /// Metrics that it may define. Default: [`METRICS_MAX`].
    pub metrics: usize,
    /// Bytes of a header map that it may add to. Default: [`MAP_BYTES_MAX`].
    pub header_bytes: usize,
    /// Bytes of a line that it logs; the rest is cut off. Default:
    /// [`LOG_LINE_BYTES`].
    pub log_line_bytes: usize,
}

impl Default for VmLimits {
    fn default() -> Self {
        Self {
            memory: MEMORY_BYTES,
            start: ROOT_CALLBACK_TIME,
            callouts: CALLOUTS_MAX,
            metrics: METRICS_MAX,
            header_bytes: MAP_BYTES_MAX,
            log_line_bytes: LOG_LINE_BYTES,
        }
    }
}

/// Something that a guest may only have so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Callouts under way, and bytes of their requests.
    Callouts,
    /// Metrics.
    Metrics,
    /// Bytes or entries of a header map.
    HeaderBytes,
    /// Bytes of a body.
    BodyBytes,
    /// Bytes of a line in the log.
    LogLineBytes,
    /// Lines in the log.
    LogLines,
    /// Shared data.
    SharedData,
    /// Shared queues.
    SharedQueues,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 8] = [
        Self::Callouts,
        Self::Metrics,
        Self::HeaderBytes,
        Self::BodyBytes,
        Self::LogLineBytes,
        Self::LogLines,
        Self::SharedData,
        Self::SharedQueues,
    ];

    /// Its name in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Callouts => "callouts",
            Self::Metrics => "metrics",
            Self::HeaderBytes => "header_bytes",
            Self::BodyBytes => "body_bytes",
            Self::LogLineBytes => "log_line_bytes",
            Self::LogLines => "log_lines",
            Self::SharedData => "shared_data",
            Self::SharedQueues => "shared_queues",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
