//! [`Snapshots`]: what a client has, followed by a consumer.

use tokio::sync::watch;

use crate::snapshot::Snapshot;

/// What a client has. A consumer that is slow misses what was there in between, never
/// the last one.
#[derive(Debug, Clone)]
pub struct Snapshots(watch::Receiver<Snapshot>);

impl Snapshots {
    pub(crate) fn new(receiver: watch::Receiver<Snapshot>) -> Self {
        Self(receiver)
    }

    /// What there is now.
    pub fn current(&self) -> Snapshot {
        self.0.borrow().clone()
    }

    /// Waits until there is something else than was last waited for; `None` when there
    /// is neither a client nor a subscription any more.
    pub async fn changed(&mut self) -> Option<Snapshot> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }

    /// Waits for something in particular, which may be there already; `None` as above.
    pub async fn wait_for(&mut self, mut is_it: impl FnMut(&Snapshot) -> bool) -> Option<Snapshot> {
        loop {
            let snapshot = self.0.borrow_and_update().clone();
            if is_it(&snapshot) {
                return Some(snapshot);
            }
            self.0.changed().await.ok()?;
        }
    }
}
