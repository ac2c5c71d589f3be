//! Response flags: why a request went the way it did, in the access log's short
//! form (names as in Envoy).

use std::fmt;

/// Set of response flags. The bits are Envoy's, as `response.flags` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ResponseFlags(u64);

impl ResponseFlags {
    /// The cluster has no endpoint.
    pub(crate) const NO_HEALTHY_UPSTREAM: Self = Self(1 << 1);
    /// No upstream answered within the route's timeout.
    pub(crate) const UPSTREAM_TIMEOUT: Self = Self(1 << 2);
    /// The upstream reset the stream.
    pub(crate) const UPSTREAM_REMOTE_RESET: Self = Self(1 << 4);
    /// The connection to the upstream could not be made.
    pub(crate) const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 5);
    /// The upstream closed the connection.
    pub(crate) const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 6);
    /// The cluster takes no more.
    pub(crate) const UPSTREAM_OVERFLOW: Self = Self(1 << 7);
    /// No route matched.
    pub(crate) const NO_ROUTE: Self = Self(1 << 8);
    /// The client went away.
    pub(crate) const DOWNSTREAM_TERMINATION: Self = Self(1 << 14);
    /// No further attempt at a connection is made.
    pub(crate) const UPSTREAM_RETRY_LIMIT_EXCEEDED: Self = Self(1 << 15);
    /// Nothing moved on the stream for too long.
    pub(crate) const STREAM_IDLE_TIMEOUT: Self = Self(1 << 16);
    /// The client's message was malformed.
    pub(crate) const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 18);
    /// The upstream's message was malformed.
    pub(crate) const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 23);
    /// The cluster does not exist.
    pub(crate) const NO_CLUSTER_FOUND: Self = Self(1 << 24);

    const NAMES: [(Self, &str); 13] = [
        (Self::NO_HEALTHY_UPSTREAM, "UH"),
        (Self::UPSTREAM_TIMEOUT, "UT"),
        (Self::UPSTREAM_REMOTE_RESET, "UR"),
        (Self::UPSTREAM_CONNECTION_FAILURE, "UF"),
        (Self::UPSTREAM_CONNECTION_TERMINATION, "UC"),
        (Self::UPSTREAM_OVERFLOW, "UO"),
        (Self::NO_ROUTE, "NR"),
        (Self::DOWNSTREAM_TERMINATION, "DC"),
        (Self::UPSTREAM_RETRY_LIMIT_EXCEEDED, "URX"),
        (Self::STREAM_IDLE_TIMEOUT, "SI"),
        (Self::DOWNSTREAM_PROTOCOL_ERROR, "DPE"),
        (Self::UPSTREAM_PROTOCOL_ERROR, "UPE"),
        (Self::NO_CLUSTER_FOUND, "NC"),
    ];

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.0 & flag.0 != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        if separator.is_empty() {
            f.write_str("-")?;
        }
        Ok(())
    }
}
