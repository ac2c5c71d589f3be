//! [`Subscriptions`]: what a consumer asks for, changed at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::held::Held;
use crate::interest::{Interest, Interests};
use crate::resource_type::ResourceType;
use crate::server::Service;
use crate::snapshot::Snapshot;

/// What is wanted and what there is, for the client and its consumers. Who locks both
/// locks what is wanted first.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) wanted: watch::Sender<Interests>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            wanted: watch::Sender::new(Interests::default()),
            snapshot: watch::Sender::new(Snapshot::default()),
        }
    }

    /// Has something else be wanted of a type. What there is says at once that it is
    /// awaited: whoever asks and then waits must not find that all is there.
    fn change(&self, kind: ResourceType, change: impl FnOnce(&Interest) -> Interest) {
        self.wanted.send_if_modified(|wanted| {
            let before = wanted.of(kind);
            let now = change(before);
            let is_other = self.replace(kind, |held| held.expecting(before, &now));
            wanted.set(kind, now);
            is_other
        });
    }

    /// Drops what is not wanted of a type. The client does so when it tells the server,
    /// and not before: what is wanted again by then is not sent again.
    pub(crate) fn drop_unwanted(&self, kind: ResourceType, interest: &Interest) {
        self.replace(kind, |held| held.without_unwanted(interest));
    }

    /// Has there be what was decided on; `before` was there when it was offered.
    pub(crate) fn settle(&self, kind: ResourceType, before: &Held, settled: Held) {
        self.replace(kind, |now| Some(settled.among(before, now)));
    }

    /// Whether there is something else now.
    fn replace(&self, kind: ResourceType, other: impl FnOnce(&Held) -> Option<Held>) -> bool {
        self.snapshot.send_if_modified(|snapshot| {
            let Some(held) = other(snapshot.of(kind)) else {
                return false;
            };
            *snapshot = snapshot.with(kind, held);
            true
        })
    }
}

/// What a consumer asks for. Can be changed at any time; what the server knows follows,
/// also on another stream. Cheap to clone: all clones are the same.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    shared: Shared,
    service: Service,
}

/// Why something cannot be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// One has to give names.
    #[error("there is no subscription to every {0}: give names")]
    NoWildcard(ResourceType),
    /// The client uses a service for a single type, and it is another one.
    #[error("no {0} can be asked for: the service is one for another type")]
    OtherService(ResourceType),
}

impl Subscriptions {
    pub(crate) fn new(shared: Shared, service: Service) -> Self {
        Self { shared, service }
    }

    /// Asks for all resources of a type, instead of by name.
    ///
    /// # Errors
    /// The type has no such subscription, or the service does not have the type.
    pub fn subscribe_all(&self, kind: ResourceType) -> Result<(), SubscribeError> {
        if !kind.has_wildcard() {
            return Err(SubscribeError::NoWildcard(kind));
        }
        self.change(kind, |_| Interest::All)
    }

    /// Asks for more resources of a type by their names. Where all are asked for, these
    /// are among them.
    ///
    /// # Errors
    /// The service does not have the type.
    pub fn subscribe<N: Into<Arc<str>>>(
        &self,
        kind: ResourceType,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), SubscribeError> {
        self.change(kind, |before| match before {
            Interest::All => Interest::All,
            Interest::Nothing | Interest::Names(_) => {
                let mut all: BTreeSet<_> = before.names().cloned().collect();
                all.extend(names.into_iter().map(Into::into));
                Interest::of_names(all)
            }
        })
    }

    /// Asks no more for these resources of a type, which were asked for by their names.
    ///
    /// # Errors
    /// The service does not have the type.
    pub fn unsubscribe<N: AsRef<str>>(
        &self,
        kind: ResourceType,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), SubscribeError> {
        self.change(kind, |before| match before {
            Interest::All => Interest::All,
            Interest::Nothing | Interest::Names(_) => {
                let mut all: BTreeSet<_> = before.names().cloned().collect();
                for name in names {
                    all.remove(name.as_ref());
                }
                Interest::of_names(all)
            }
        })
    }

    /// Asks for just these resources of a type, and for none if there are no names.
    ///
    /// # Errors
    /// The service does not have the type.
    pub fn set<N: Into<Arc<str>>>(
        &self,
        kind: ResourceType,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), SubscribeError> {
        let names = names.into_iter().map(Into::into).collect();
        self.change(kind, |_| Interest::of_names(names))
    }

    fn change(
        &self,
        kind: ResourceType,
        change: impl FnOnce(&Interest) -> Interest,
    ) -> Result<(), SubscribeError> {
        if !self.service.has(kind) {
            return Err(SubscribeError::OtherService(kind));
        }
        self.shared.change(kind, change);
        Ok(())
    }
}
