//! Which cluster a request goes to.

use crate::error::Problem;
use crate::problems::Problems;
use crate::read::{Block, Fields, FromYaml};
use crate::route::header_mutation::HeaderMutations;
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a weighted cluster",
    keys: &[
        ("name", "web"),
        ("weight", "90"),
        ("request_headers_to_add", "[{ key: x-to, value: web }]"),
        ("request_headers_to_remove", "[x-internal]"),
        ("response_headers_to_add", "[{ key: x-from, value: web }]"),
        ("response_headers_to_remove", "[x-internal]"),
    ],
    not_yet: &[],
    hints: &[("cluster", "name", "it is called `name` here, as in Envoy")],
};

/// Which cluster a request goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `cluster`: this one of the `clusters`.
    Cluster(Spanned<String>),
    /// `weighted_clusters`: one of several, by chance.
    Weighted(Vec<WeightedCluster>),
    /// `cluster_header`: the one that this header of the request names; a request
    /// without it, or with the name of none, is answered with 503.
    Header(String),
}

/// `weighted_clusters[]`: a cluster, and how much of the requests it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightedCluster {
    /// `name`: one of the `clusters`. Required.
    pub name: Spanned<String>,
    /// `weight`: it gets this part of the sum of all weights, which is not 0. Required.
    pub weight: u32,
    /// How headers change, before all else that changes them.
    pub headers: HeaderMutations,
}

impl Destination {
    /// The clusters that are named.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Spanned<String>> {
        let (one, several) = match self {
            Self::Cluster(name) => (Some(name), &[][..]),
            Self::Weighted(clusters) => (None, &clusters[..]),
            Self::Header(_) => (None, &[][..]),
        };
        one.into_iter()
            .chain(several.iter().map(|cluster| &cluster.name))
    }

    /// `key`: which of `cluster`, `weighted_clusters` and `cluster_header` is there.
    pub(super) fn read(key: &str, fields: &mut Fields<'_, '_>) -> Self {
        match key {
            "weighted_clusters" => {
                let clusters: Spanned<Vec<WeightedCluster>> = fields.required(key);
                check_weights(&clusters, fields.problems);
                Self::Weighted(clusters.value)
            }
            "cluster_header" => Self::Header(fields.required_text(key).value.to_ascii_lowercase()),
            _ => Self::Cluster(fields.required_text("cluster")),
        }
    }
}

/// Notes weights of which no cluster could be chosen.
pub(crate) fn check_weights(clusters: &Spanned<Vec<WeightedCluster>>, problems: &mut Problems) {
    let weights = clusters.value.iter().map(|c| u64::from(c.weight));
    let sum: u64 = weights.sum();
    let message = if sum == 0 {
        "the weights of the clusters come to 0"
    } else if sum > u64::from(u32::MAX) {
        "the weights of the clusters come to more than 4294967295"
    } else {
        return;
    };
    problems.push(Problem::new(clusters.span, message));
}

impl FromYaml for WeightedCluster {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            name: Spanned::placeholder(),
            weight: 1,
            headers: HeaderMutations::default(),
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            name: fields.required_text("name"),
            weight: fields.required("weight").value,
            headers: HeaderMutations::read(&mut fields),
        }
    }
}
