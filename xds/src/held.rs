//! [`Held`]: the resources of one type, and what a response makes of them.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;

use crate::interest::Interest;
use crate::judge::{Rejection, Verdict};
use crate::limits::{RESOURCE_BYTES, RESOURCES};
use crate::resource::Resource;
use crate::snapshot::Changes;
use crate::update::Update;

/// The resources of one type that have been accepted, and what is awaited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Shares what is the same with what it was made of: a response costs what it
    /// changes, however much there is.
    resources: OrdMap<Arc<str>, Arc<Resource>>,
    /// Names that somebody wants and that no response has spoken of.
    awaited: BTreeSet<Arc<str>>,
    /// Somebody wants all there are, and there was no response.
    awaits_all: bool,
    /// Of the last response that was accepted as a whole.
    version: Arc<str>,
    /// Bytes of the resources.
    bytes: usize,
}

/// How much there may be of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimits {
    /// Resources. Default: [`crate::limits::RESOURCES`].
    pub count: usize,
    /// Bytes of all of them. Default: [`crate::limits::RESOURCE_BYTES`].
    pub bytes: usize,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            count: RESOURCES,
            bytes: RESOURCE_BYTES,
        }
    }
}

impl Held {
    pub(crate) fn resources(&self) -> &OrdMap<Arc<str>, Arc<Resource>> {
        &self.resources
    }

    pub(crate) fn awaited(&self) -> &BTreeSet<Arc<str>> {
        &self.awaited
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.awaited.is_empty() && !self.awaits_all
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The version to go on from on another stream. Without it, a server sends
    /// everything: also what it has not answered yet.
    pub(crate) fn version_to_resume(&self) -> &str {
        if self.is_complete() {
            &self.version
        } else {
            ""
        }
    }

    /// Awaits what is newly wanted, and nothing that is not wanted any more. `None` if
    /// that changes nothing.
    pub(crate) fn expecting(&self, before: &Interest, now: &Interest) -> Option<Self> {
        if before == now {
            return None;
        }
        let mut after = self.clone();
        after.awaited.retain(|name| now.wants(name));
        let is_new = |name: &&Arc<str>| {
            let was_told = *before != Interest::All && before.wants(name);
            !was_told && !self.resources.contains_key(*name)
        };
        after.awaited.extend(now.names().filter(is_new).cloned());
        after.awaits_all = *now == Interest::All && (self.awaits_all || *before != Interest::All);
        Some(after)
    }

    /// Drops what is not wanted. `None` if there is no such thing.
    pub(crate) fn without_unwanted(&self, interest: &Interest) -> Option<Self> {
        if self.resources.keys().all(|name| interest.wants(name)) {
            return None;
        }
        let mut after = self.clone();
        let unwanted = self.resources.keys().filter(|name| !interest.wants(name));
        for name in unwanted {
            after.resources.remove(name);
        }
        after.bytes = after.resources.values().map(|r| r.size()).sum();
        Some(after)
    }

    /// What there would be after a response, as far as it was asked for, and what that
    /// changes.
    ///
    /// # Errors
    /// It would be more than there may be.
    pub(crate) fn after(
        &self,
        update: &Update,
        asked: &Interest,
        limits: ResourceLimits,
    ) -> Result<(Self, Changes), Rejection> {
        let mut after = self.clone();
        let mut changes = Changes::default();
        let wanted = update.resources.iter().filter(|r| asked.wants(&r.name));
        for resource in wanted {
            after.awaited.remove(&resource.name);
            after.put(resource, &mut changes);
        }
        for name in &update.removed {
            after.awaited.remove(name);
            after.remove(name, &mut changes);
        }
        if update.is_whole {
            let named: BTreeSet<_> = update.resources.iter().map(|r| &r.name).collect();
            let is_gone = |name: &&Arc<str>| !named.contains(*name);
            let gone: Vec<_> = self.resources.keys().filter(is_gone).cloned().collect();
            for name in &gone {
                after.remove(name, &mut changes);
            }
            after.awaited.retain(|name| !asked.wants(name));
        }
        after.awaits_all = false;
        after.version = Arc::clone(&update.version);
        if after.resources.len() > limits.count {
            let count = after.resources.len();
            let message = format!("there would be {count}, and {} are allowed", limits.count);
            return Err(Rejection::of_all(message));
        }
        if after.bytes > limits.bytes {
            let bytes = after.bytes;
            let message = format!(
                "all would have {bytes} bytes, and {} are allowed",
                limits.bytes
            );
            return Err(Rejection::of_all(message));
        }
        Ok((after, changes))
    }

    /// What there is after the verdict on what there would be.
    pub(crate) fn settled(&self, after: Self, verdict: &Verdict) -> Self {
        let mut settled = after;
        match verdict {
            Verdict::Accepted => return settled,
            Verdict::Partly(rejections) => {
                for name in rejections.iter().filter_map(|r| r.name.as_ref()) {
                    settled.restore(name, self);
                }
            }
            Verdict::Rejected(_) => {
                settled.resources = self.resources.clone();
                settled.bytes = self.bytes;
            }
        }
        settled.version = Arc::clone(&self.version);
        settled
    }

    /// The same for somebody who has become interested in more, or less, since `before`:
    /// `now` has it right what is awaited, but for what was answered.
    pub(crate) fn among(mut self, before: &Self, now: &Self) -> Self {
        let was_answered =
            |name: &Arc<str>| before.awaited.contains(name) && !self.awaited.contains(name);
        let awaited = now.awaited.iter().filter(|name| !was_answered(name));
        self.awaited = awaited.cloned().collect();
        self.awaits_all = now.awaits_all && !before.awaits_all;
        self
    }

    fn put(&mut self, resource: &Arc<Resource>, changes: &mut Changes) {
        let name = &resource.name;
        let old = self.resources.get(name);
        match old {
            None => changes.added.push(Arc::clone(resource)),
            Some(old) if old.is_same(resource) => {
                if old.version == resource.version {
                    return;
                }
            }
            Some(_) => changes.changed.push(Arc::clone(resource)),
        }
        self.bytes += resource.size();
        self.bytes -= old.map_or(0, |old| old.size());
        self.resources
            .insert(Arc::clone(name), Arc::clone(resource));
    }

    fn remove(&mut self, name: &Arc<str>, changes: &mut Changes) {
        if let Some(old) = self.resources.remove(name) {
            self.bytes -= old.size();
            changes.removed.push(Arc::clone(name));
        }
    }

    /// Has a resource be as it was.
    fn restore(&mut self, name: &Arc<str>, before: &Self) {
        let new = match before.resources.get(name) {
            Some(old) => {
                self.bytes += old.size();
                let name = Arc::clone(&old.name);
                self.resources.insert(name, Arc::clone(old))
            }
            None => self.resources.remove(name),
        };
        self.bytes -= new.map_or(0, |new| new.size());
    }
}
