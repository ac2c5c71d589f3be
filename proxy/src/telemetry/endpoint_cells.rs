//! [`EndpointCells`]: what one worker counts of one endpoint.

use super::cell::Counter;

/// A worker's numbers of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct EndpointCells {
    pub(crate) connections: Counter,
    pub(crate) active_connections: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) requests: Counter,
    pub(crate) active_requests: Counter,
    /// Requests that were answered with less than 500.
    pub(crate) successes: Counter,
    /// Those that were answered with more, or not at all.
    pub(crate) errors: Counter,
    pub(crate) timeouts: Counter,
    /// For the detection of outliers: how many requests the endpoint is to blame
    /// for, and how many of them went well.
    pub(crate) external: Rate,
    /// The same of attempts to reach it, where they count apart.
    pub(crate) local: Rate,
}

/// A success rate's two numbers.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    pub(crate) total: Counter,
    pub(crate) successes: Counter,
}

impl Rate {
    pub(crate) fn count(&self, success: bool) {
        self.total.add(1);
        if success {
            self.successes.add(1);
        }
    }
}
