//! [`Discovered`]: the listeners and clusters that have come from a management server and
//! can be served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_config::envoy::assemble;
use weir_config::{Cluster, Config, ConfigErrors, Listener};

/// Listeners and clusters, with all that they refer to.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(super) listeners: BTreeMap<Arc<str>, Arc<Listener>>,
    pub(super) clusters: BTreeMap<Arc<str>, Arc<Cluster>>,
}

impl View {
    /// Whether the other one is made of the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        is_same(&self.listeners, &other.listeners) && is_same(&self.clusters, &other.clusters)
    }
}

fn is_same<T>(one: &BTreeMap<Arc<str>, Arc<T>>, other: &BTreeMap<Arc<str>, Arc<T>>) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
}

/// What is to be served of what has come; whoever reads the configuration adds it.
#[derive(Debug, Default)]
pub(crate) struct Discovered(Mutex<Arc<View>>);

impl Discovered {
    pub(super) fn current(&self) -> Arc<View> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, view: Arc<View>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// The configuration with what has come.
    ///
    /// # Errors
    /// It does not go together.
    pub(crate) fn added_to(&self, config: &Config) -> Result<Config, ConfigErrors> {
        let view = self.current();
        let listeners = view.listeners.values().map(|listener| (**listener).clone());
        let clusters = view.clusters.values().map(|cluster| (**cluster).clone());
        assemble(config, listeners, clusters)
    }
}
