//! [`Present`]: what the sources have, as an offer would leave it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use weir_xds::{Offer, Resource, ResourceType, Snapshot};

use super::source::Sources;

/// What is there when an offer is judged.
pub(super) struct Candidate<'o> {
    /// The source whose offer it is.
    pub(super) source: usize,
    pub(super) offer: Option<&'o Offer>,
    /// Resources that stay what they were.
    pub(super) refused: HashSet<Arc<str>>,
}

/// What the sources have, looked at once.
pub(super) struct Present<'c> {
    candidate: &'c Candidate<'c>,
    pub(super) snapshots: Vec<Snapshot>,
    /// Of each source and type, what has been asked for and not been answered.
    pub(super) unanswered: Vec<HashSet<(ResourceType, Arc<str>)>>,
}

impl<'c> Present<'c> {
    pub(super) fn new(candidate: &'c Candidate<'c>, sources: &Sources) -> Self {
        let live: Vec<_> = sources.snapshots().collect();
        let unanswered = live.iter().map(|snapshot| {
            let kinds = ResourceType::ALL.into_iter();
            let names = kinds.flat_map(|kind| snapshot.awaited(kind).map(move |n| (kind, n)));
            names.map(|(kind, name)| (kind, Arc::clone(name))).collect()
        });
        let unanswered = unanswered.collect();
        let mut snapshots = live;
        if let Some(offer) = candidate.offer {
            snapshots[candidate.source] = offer.after.clone();
        }
        Self {
            candidate,
            snapshots,
            unanswered,
        }
    }

    pub(super) fn get(
        &self,
        source: usize,
        kind: ResourceType,
        name: &str,
    ) -> Option<Arc<Resource>> {
        let Candidate { offer, refused, .. } = self.candidate;
        let before = offer.filter(|offer| {
            source == self.candidate.source && offer.kind == kind && refused.contains(name)
        });
        let snapshot = before.map_or(&self.snapshots[source], |offer| &offer.before);
        snapshot.get(kind, name).cloned()
    }

    /// All of a type that the server of everything has.
    pub(super) fn all(&self, kind: ResourceType) -> Vec<Arc<Resource>> {
        let names = self.snapshots[0]
            .resources(kind)
            .map(|resource| &resource.name);
        let names: BTreeSet<_> = names.collect();
        let all = names.into_iter();
        all.filter_map(|name| self.get(0, kind, name)).collect()
    }
}
