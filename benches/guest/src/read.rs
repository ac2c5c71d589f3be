//! The headers that one filter reads; the micro benches do the same without a guest.

/// What a stream's headers are read for.
pub(crate) const READ: [&str; 10] = [
    ":method",
    ":path",
    ":authority",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "cookie",
    "x-request-id",
    "authorization",
];
