//! [`Fixed`]: what only a restart changes.

use std::num::NonZeroUsize;

use weir_config::envoy::DynamicResources;
use weir_config::{Address, Cluster, Config, FileMode};

/// What must be the same in every generation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fixed {
    workers: Option<NonZeroUsize>,
    pub(super) admin: Option<(Address, Option<FileMode>)>,
    /// The management server, the cluster that it is in, and who is known to it.
    discovery: Option<(DynamicResources, Option<Cluster>, weir_config::Node)>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            workers: config.workers,
            admin: config
                .admin
                .as_ref()
                .map(|admin| (admin.address.value.clone(), admin.mode)),
            discovery: config.dynamic_resources.clone().map(|dynamic| {
                let cluster = config.cluster(&dynamic.cluster).cloned();
                (dynamic, cluster, config.node.clone())
            }),
        }
    }

    /// Why the other cannot follow, if it cannot.
    pub(super) fn refusal(&self, other: &Self) -> Option<String> {
        let key = if self.workers != other.workers {
            "workers"
        } else if self.admin != other.admin {
            "admin"
        } else if self.discovery != other.discovery {
            "dynamic_resources"
        } else {
            return None;
        };
        Some(format!("`{key}` can only be changed by a restart"))
    }
}

/// Why a reload from one configuration to the other is refused, if it is.
pub(crate) fn refusal(before: &Config, now: &Config) -> Option<String> {
    Fixed::of(before).refusal(&Fixed::of(now))
}
