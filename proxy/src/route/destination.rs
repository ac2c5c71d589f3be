//! Which cluster a request goes to.

use weir_abi::HeaderMap;

use super::header_mutation::HeaderMutations;
use crate::callout::ClusterNames;
use crate::random;

/// Which cluster a request goes to.
#[derive(Debug)]
pub(crate) enum Destination {
    /// Index of the cluster in the generation; `None` if it has not been discovered.
    Cluster(Option<usize>),
    Weighted(Vec<WeightedCluster>),
    /// The one that this header names, lower case.
    Header(String),
}

/// A cluster that gets a part of the requests.
#[derive(Debug)]
pub(crate) struct WeightedCluster {
    /// As in [`Destination::Cluster`].
    pub(super) cluster: Option<usize>,
    /// The weights of this one and those before.
    pub(super) up_to: u64,
    pub(super) headers: HeaderMutations,
}

/// What has been chosen for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Index of the cluster in the generation.
    pub(crate) cluster: usize,
    /// Place among the weighted clusters, if it is one of them.
    weighted: Option<usize>,
}

/// The random number of a stream: it stays with its choice when its route is looked up
/// again.
pub(crate) type Lot = std::cell::OnceCell<u64>;

impl Destination {
    /// Where `request` goes; `None` if there is no such cluster.
    pub(crate) fn choose(
        &self,
        request: &HeaderMap,
        lot: &Lot,
        names: &ClusterNames,
    ) -> Option<Chosen> {
        let (cluster, weighted) = match self {
            Self::Cluster(cluster) => ((*cluster)?, None),
            Self::Weighted(clusters) => {
                let sum = clusters.last()?.up_to;
                let lot = lot.get_or_init(|| random::below(u64::MAX)) % sum.max(1);
                let place = clusters.partition_point(|c| c.up_to <= lot);
                (clusters.get(place)?.cluster?, Some(place))
            }
            Self::Header(name) => (names.find(request.get(name.as_bytes())?)?, None),
        };
        Some(Chosen { cluster, weighted })
    }

    /// How the chosen one changes headers, if it has a word on it.
    pub(super) fn headers(&self, chosen: Chosen) -> Option<&HeaderMutations> {
        match (self, chosen.weighted) {
            (Self::Weighted(clusters), Some(place)) => Some(&clusters.get(place)?.headers),
            _ => None,
        }
    }
}
