//! [`Discovered`]: the listeners and clusters that have come from a management server and
//! can be served.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_config::envoy::assemble;
use weir_config::{Cluster, Config, ConfigErrors, Listener};
use weir_xds::ResourceType;

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

    /// What is in this one and not the same in the other: clusters come first.
    pub(super) fn others_than(&self, other: &Self) -> Vec<(ResourceType, Arc<str>)> {
        let clusters = others(&self.clusters, &other.clusters);
        let listeners = others(&self.listeners, &other.listeners);
        let clusters = clusters.map(|name| (ResourceType::Cluster, name));
        let listeners = listeners.map(|name| (ResourceType::Listener, name));
        clusters.chain(listeners).collect()
    }

    /// What the other one has of the names of this one.
    pub(super) fn among(&self, other: &Self) -> Self {
        Self {
            clusters: among(&self.clusters, &other.clusters),
            listeners: among(&self.listeners, &other.listeners),
        }
    }

    /// This one with these clusters and listeners of another.
    pub(super) fn with(&self, other: &Self, names: &[(ResourceType, Arc<str>)]) -> Self {
        let mut with = self.clone();
        for (kind, name) in names {
            let name = Arc::clone(name);
            if *kind == ResourceType::Cluster {
                let cluster = other.clusters.get(&name).cloned();
                with.clusters.extend(cluster.map(|cluster| (name, cluster)));
            } else {
                let listener = other.listeners.get(&name).cloned();
                with.listeners
                    .extend(listener.map(|listener| (name, listener)));
            }
        }
        with
    }
}

type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

fn is_same<T>(one: &Named<T>, other: &Named<T>) -> bool {
    let mut pairs = one.iter().zip(other);
    one.len() == other.len() && pairs.all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
}

fn others<T>(these: &Named<T>, than: &Named<T>) -> impl Iterator<Item = Arc<str>> {
    let is_other = |(name, value): &(&Arc<str>, &Arc<T>)| {
        than.get(*name).is_none_or(|t| !Arc::ptr_eq(t, value))
    };
    these
        .iter()
        .filter(is_other)
        .map(|(name, _)| Arc::clone(name))
}

fn among<T>(names: &Named<T>, of: &Named<T>) -> Named<T> {
    let is_among = |(name, _): &(&Arc<str>, &Arc<T>)| names.contains_key(*name);
    let among = of.iter().filter(is_among);
    among
        .map(|(name, value)| (Arc::clone(name), Arc::clone(value)))
        .collect()
}

/// What is to be served of what has come; whoever reads the configuration adds it.
#[derive(Debug, Default)]
pub(crate) struct Discovered {
    view: Mutex<Arc<View>>,
    /// The bootstrap whose warnings have been told.
    told: Mutex<String>,
}

impl Discovered {
    pub(super) fn current(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, view: Arc<View>) {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    /// Whether the bootstrap is another than when this was last asked: each discovery has
    /// it read again.
    pub(crate) fn is_news(&self, bootstrap: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *told != bootstrap;
        if is_news {
            bootstrap.clone_into(&mut told);
        }
        is_news
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
