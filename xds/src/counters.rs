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

/// A count and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// As Envoy calls it.
    pub name: String,
    /// How many.
    pub value: u64,
    /// Whether it can become smaller.
    pub is_gauge: bool,
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

    /// All of them. Envoy counts endpoints, routes, secrets and extensions by resource;
    /// here each of these types is counted as a whole.
    pub fn figures(&self) -> Vec<Figure> {
        let figure = |name: String, value, is_gauge| Figure {
            name,
            value,
            is_gauge,
        };
        let connected = self.connected.load(Ordering::Relaxed);
        let pending = self.pending_requests.load(Ordering::Relaxed);
        let mut figures = vec![
            figure("control_plane.connected_state".to_owned(), connected, true),
            figure("control_plane.pending_requests".to_owned(), pending, true),
            figure(
                "control_plane.unknown_type".to_owned(),
                self.unknown(),
                false,
            ),
        ];
        for kind in ResourceType::ALL {
            let counts = self.updates(kind);
            let all = [
                ("update_attempt", counts.attempt, false),
                ("update_success", counts.success, false),
                ("update_rejected", counts.rejected, false),
                ("update_failure", counts.failure, false),
                ("update_time", counts.time, true),
            ];
            let prefix = kind.statistics_prefix();
            let named =
                |(name, value, is_gauge)| figure(format!("{prefix}.{name}"), value, is_gauge);
            figures.extend(all.map(named));
        }
        figures
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
    fn figures_have_the_names_that_envoy_gives_them() {
        let counters = Counters::default();
        counters.set_connected(true);
        counters.count_attempt(ResourceType::Cluster);
        counters.count_rejected(ResourceType::Listener);
        let figures = counters.figures();
        let set = figures.iter().filter(|figure| figure.value != 0);
        let set: Vec<_> = set.map(|figure| figure.name.as_str()).collect();
        let expected = [
            "control_plane.connected_state",
            "cluster_manager.cds.update_attempt",
            "listener_manager.lds.update_rejected",
        ];
        assert_eq!(set, expected);
    }

    #[test]
    fn not_all_of_a_long_name_of_a_server_is_kept() {
        let counters = Counters::default();
        counters.set_control_plane(&"ä".repeat(SHOWN_BYTES));
        assert_eq!(counters.control_plane().len(), SHOWN_BYTES);
    }
}
