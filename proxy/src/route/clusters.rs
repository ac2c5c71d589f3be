//! [`ClusterTable`]: what routes need to know of clusters.

use std::sync::Arc;

use weir_config::{Config, Metadata};

use crate::callout::ClusterNames;

/// The clusters of a generation, by their places in it.
pub(crate) struct ClusterTable {
    pub(crate) names: Arc<ClusterNames>,
    pub(super) metadata: Arc<[Metadata]>,
}

impl ClusterTable {
    pub(crate) fn of(config: &Config) -> Self {
        let names = config.clusters.iter().map(|c| c.name.value.as_str());
        let metadata = config.clusters.iter().map(|c| c.metadata.clone());
        Self {
            names: Arc::new(ClusterNames::new(names)),
            metadata: metadata.collect(),
        }
    }

    /// The place of a cluster; `None` if there is no such cluster, as there may be where
    /// clusters are discovered.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.find(name.as_bytes())
    }
}
