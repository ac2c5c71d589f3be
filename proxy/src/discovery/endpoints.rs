//! [`EndpointTable`]: the endpoints that come from a management server, by the names that
//! clusters know them by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_config::ClusterEndpoint;

/// Those of one name; `None` as long as nobody has said anything about it.
pub(crate) type Assignment = Option<Arc<Vec<ClusterEndpoint>>>;

/// What every name stands for; there for as long as the process. Clusters follow their
/// own: another endpoint is no other configuration.
#[derive(Debug, Default)]
pub(crate) struct EndpointTable(Mutex<HashMap<Arc<str>, watch::Sender<Assignment>>>);

impl EndpointTable {
    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<str>, watch::Sender<Assignment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `name` stands for, now and later.
    pub(crate) fn subscribe(&self, name: &str) -> watch::Receiver<Assignment> {
        let mut table = self.locked();
        let sender = table.entry(name.into()).or_default();
        sender.subscribe()
    }

    /// Has `name` stand for something else.
    pub(super) fn set(&self, name: &Arc<str>, endpoints: Vec<ClusterEndpoint>) {
        let mut table = self.locked();
        let sender = table.entry(Arc::clone(name)).or_default();
        sender.send_replace(Some(Arc::new(endpoints)));
    }

    /// Whether somebody has said what `name` stands for.
    pub(super) fn is_known(&self, name: &str) -> bool {
        let table = self.locked();
        table
            .get(name)
            .is_some_and(|sender| sender.borrow().is_some())
    }

    /// Forgets all other names, unless a cluster still follows them.
    pub(super) fn keep(&self, is_wanted: impl Fn(&str) -> bool) {
        let keep = |name: &Arc<str>, sender: &mut watch::Sender<Assignment>| {
            is_wanted(name) || sender.receiver_count() > 0
        };
        self.locked().retain(keep);
    }
}
