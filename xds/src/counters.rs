//! [`Counters`]: what an operator sees of a client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::limits::SHOWN_BYTES;
use crate::resource_type::ResourceType;
use crate::text::cut;

/// Counts of a client; they mean what they do in Envoy.
#[derive(Debug, Default)]
pub struct Counters {
    connected: AtomicU64,
    pending_requests: AtomicU64,
    unknown: AtomicU64,
    control_plane: Mutex<String>,
    updates: [Updates; ResourceType::ALL.len()],
}

#[derive(Debug, Default)]
struct Updates {
    attempt: AtomicU64,
    success: AtomicU64,
    rejected: AtomicU64,
    failure: AtomicU64,
    time: AtomicU64,
}

/// Counts of a type's updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UpdateCounts {
    /// `update_attempt`: responses that were waited for; also those that never came.
    pub attempt: u64,
    /// `update_success`: responses that were accepted.
    pub success: u64,
    /// `update_rejected`: responses that were refused, all or part of them.
    pub rejected: u64,
    /// `update_failure`: streams that broke, or could not be made, while responses were
    /// waited for.
    pub failure: u64,
    /// `update_time`: when a response was last accepted, in milliseconds since 1970; 0
    /// if none was.
    pub time: u64,
}

impl Counters {
    /// Whether there is a stream to the server.
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed) != 0
    }

    /// What the server calls itself; empty if it has not said so.
    pub fn control_plane(&self) -> String {
        let identifier = self.control_plane.lock();
        identifier.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Responses with a type that is not known or was not asked for.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Counts of a type's updates.
    pub fn updates(&self, kind: ResourceType) -> UpdateCounts {
        let updates = self.of(kind);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        UpdateCounts {
            attempt: read(&updates.attempt),
            success: read(&updates.success),
            rejected: read(&updates.rejected),
            failure: read(&updates.failure),
            time: read(&updates.time),
        }
    }

    /// Requests that wait to be sent.
    pub fn pending_requests(&self) -> u64 {
        self.pending_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.connected.store(is_connected.into(), Ordering::Relaxed);
    }

    pub(crate) fn set_pending_requests(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.pending_requests.store(count, Ordering::Relaxed);
    }

    pub(crate) fn set_control_plane(&self, identifier: &str) {
        let identifier = cut(identifier, SHOWN_BYTES);
        let mut known = self
            .control_plane
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *known != identifier {
            *known = identifier.to_owned();
        }
    }

    pub(crate) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_attempt(&self, kind: ResourceType) {
        self.of(kind).attempt.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failure(&self, kind: ResourceType) {
        self.of(kind).failure.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_rejected(&self, kind: ResourceType) {
        self.of(kind).rejected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_success(&self, kind: ResourceType) {
        self.of(kind).success.fetch_add(1, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        self.of(kind).time.store(millis, Ordering::Relaxed);
    }

    fn of(&self, kind: ResourceType) -> &Updates {
        &self.updates[kind.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_all_of_a_long_name_of_a_server_is_kept() {
        let counters = Counters::default();
        counters.set_control_plane(&"ä".repeat(SHOWN_BYTES));
        assert_eq!(counters.control_plane().len(), SHOWN_BYTES);
    }
}
