//! [`Snapshot`]: the resources that there are at one time.

use std::sync::Arc;

use crate::held::Held;
use crate::resource::Resource;
use crate::resource_type::ResourceType;

/// The resources that have been accepted, and what is still awaited. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot([Arc<Held>; ResourceType::ALL.len()]);

/// What is not the same in two snapshots, of one type, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What was not there.
    pub added: Vec<Arc<Resource>>,
    /// What says something else now.
    pub changed: Vec<Arc<Resource>>,
    /// What is gone.
    pub removed: Vec<Arc<str>>,
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Snapshot {
    /// The resources of a type, by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        self.of(kind).resources().values()
    }

    /// The resource of that name.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.of(kind).resources().get(name)
    }

    /// How many resources of a type there are.
    pub fn count(&self, kind: ResourceType) -> usize {
        self.of(kind).resources().len()
    }

    /// The names of what somebody has subscribed to and the server has said nothing
    /// about: neither what it is, nor that there is no such thing. Of endpoints, routes,
    /// secrets and extensions a state-of-the-world server never says the latter, so that
    /// whoever waits needs an end to that (Envoy's `initial_fetch_timeout` is 15 s).
    pub fn awaited(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.of(kind).awaited().iter()
    }

    /// Whether the server has answered all that somebody has subscribed to.
    pub fn is_complete(&self, kind: ResourceType) -> bool {
        self.of(kind).is_complete()
    }

    /// The version of the last response of a type that was accepted as a whole; empty
    /// before the first one.
    pub fn version(&self, kind: ResourceType) -> &str {
        self.of(kind).version()
    }

    /// What has become different since `before`.
    pub fn changes_since(&self, before: &Self, kind: ResourceType) -> Changes {
        if Arc::ptr_eq(&self.0[kind.index()], &before.0[kind.index()]) {
            return Changes::default();
        }
        let mut changes = Changes::default();
        for resource in self.resources(kind) {
            match before.get(kind, &resource.name) {
                None => changes.added.push(Arc::clone(resource)),
                Some(old) if !Arc::ptr_eq(old, resource) && !old.is_same(resource) => {
                    changes.changed.push(Arc::clone(resource));
                }
                Some(_) => {}
            }
        }
        let gone = before.resources(kind);
        let gone = gone.filter(|old| self.get(kind, &old.name).is_none());
        changes.removed = gone.map(|old| Arc::clone(&old.name)).collect();
        changes
    }

    pub(crate) fn of(&self, kind: ResourceType) -> &Held {
        &self.0[kind.index()]
    }

    /// The same with this of a type.
    pub(crate) fn with(&self, kind: ResourceType, held: Held) -> Self {
        let mut other = self.clone();
        other.0[kind.index()] = Arc::new(held);
        other
    }
}
