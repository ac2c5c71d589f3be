//! [`ConnectionLimit`]: how many connections a listener may have at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts a listener's connections on all workers, if there is a limit: a connection
/// costs two writes that others see, a request none.
#[derive(Debug, Default)]
pub(crate) struct ConnectionLimit(AtomicUsize);

/// A connection is there, as long as this lives.
#[derive(Debug)]
pub(crate) struct CountedConnection(Arc<ConnectionLimit>);

impl ConnectionLimit {
    /// Room for one more, if there are fewer than `max`.
    pub(crate) fn admit(self: &Arc<Self>, max: NonZeroUsize) -> Option<CountedConnection> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        let counted = CountedConnection(Arc::clone(self));
        (before < max.get()).then_some(counted)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Self(limit) = self;
        limit.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_makes_room() {
        let (limit, two) = (Arc::new(ConnectionLimit::default()), NonZeroUsize::MIN);
        let two = two.saturating_add(1);
        let first = limit.admit(two);
        let second = limit.admit(two);
        assert!(first.is_some() && second.is_some());
        assert!(limit.admit(two).is_none());
        drop(first);
        assert!(limit.admit(two).is_some());
    }
}
