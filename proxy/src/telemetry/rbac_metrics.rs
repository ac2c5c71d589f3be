//! What policies have let through and turned away.

use std::sync::Arc;

use super::cell::Counter;
use super::family::{self as f, Family};
use super::page::Page;
use crate::rbac::{Outcome, Verdict};

/// What numbers of policies are named after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RbacScope {
    /// Of requests, or of connections.
    pub(crate) of_requests: bool,
    /// Of the listener, or what the filter says.
    pub(crate) name: String,
    /// In front of what is said of its rules.
    pub(crate) rules_prefix: String,
    /// The same of its shadow rules.
    pub(crate) shadow_prefix: String,
}

/// The numbers of policies on one worker; filters of one scope share them.
#[derive(Debug)]
pub(crate) struct RbacCells {
    scope: RbacScope,
    enforced: Outcomes,
    shadow: Outcomes,
}

#[derive(Debug, Default)]
struct Outcomes {
    allowed: Counter,
    denied: Counter,
}

impl Outcomes {
    fn count(&self, outcome: Option<Outcome>) {
        match outcome {
            Some(outcome) if outcome.is_allowed => self.allowed.add(1),
            Some(_) => self.denied.add(1),
            None => {}
        }
    }
}

impl RbacCells {
    pub(super) fn new(scope: &RbacScope) -> Arc<Self> {
        Arc::new(Self {
            scope: scope.clone(),
            enforced: Outcomes::default(),
            shadow: Outcomes::default(),
        })
    }

    pub(super) fn is_of(&self, scope: &RbacScope) -> bool {
        self.scope == *scope
    }

    /// Policies have said this.
    pub(crate) fn count(&self, verdict: &Verdict) {
        self.enforced.count(verdict.enforced);
        self.shadow.count(verdict.shadow);
    }

    pub(super) fn show(&self, page: &mut Page) {
        let RbacScope {
            of_requests,
            name,
            rules_prefix,
            shadow_prefix,
        } = &self.scope;
        let [allowed, denied, shadow_allowed, shadow_denied]: [&'static Family; 4] =
            match of_requests {
                true => [
                    &f::HTTP_RBAC_ALLOWED,
                    &f::HTTP_RBAC_DENIED,
                    &f::HTTP_RBAC_SHADOW_ALLOWED,
                    &f::HTTP_RBAC_SHADOW_DENIED,
                ],
                false => [
                    &f::RBAC_ALLOWED,
                    &f::RBAC_DENIED,
                    &f::RBAC_SHADOW_ALLOWED,
                    &f::RBAC_SHADOW_DENIED,
                ],
            };
        for (family, prefix, counter) in [
            (allowed, rules_prefix, &self.enforced.allowed),
            (denied, rules_prefix, &self.enforced.denied),
            (shadow_allowed, shadow_prefix, &self.shadow.allowed),
            (shadow_denied, shadow_prefix, &self.shadow.denied),
        ] {
            page.count(family, &[prefix, name], counter.get());
        }
    }
}
