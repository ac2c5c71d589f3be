//! File descriptors: as many as the process may have, and some of them not for clients.

use std::os::fd::RawFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::{DESCRIPTORS_KEPT_MIN, DESCRIPTORS_KEPT_PART};

/// Raises the soft limit of open descriptors to the hard one: the lower one is for
/// programs that use `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open file descriptors: {error}");
    }
}

/// The first descriptor that is kept for connections to endpoints, the admin, and
/// files; `None` if there may be any number. The system gives the lowest that is free.
pub(crate) fn first_kept() -> Option<RawFd> {
    let limit = getrlimit(Resource::Nofile).current?;
    let kept = (limit / DESCRIPTORS_KEPT_PART).max(DESCRIPTORS_KEPT_MIN);
    let kept = kept.min(limit / 2);
    // One of more than there can be is no limit.
    RawFd::try_from(limit.saturating_sub(kept)).ok()
}
