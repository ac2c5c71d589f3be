//! Who may do what: Envoy's role-based access control.
//!
//! [`Rbac`] is compiled once a generation and shared by all workers. It judges a
//! [`Subject`] and changes nothing: what becomes of a request or a connection, and what
//! is counted, is for those who ask.

mod build;
mod condition;
mod metadata;
mod ranges;
#[cfg(test)]
mod tests;
mod verdict;

use std::sync::Arc;

use weir_config::RbacAction;

use self::condition::Condition;
pub(crate) use self::condition::Subject;
pub(crate) use self::verdict::{Outcome, Verdict, dynamic_metadata};

/// Compiled policies.
#[derive(Debug)]
pub(crate) struct Rbac {
    /// What is enforced.
    rules: Option<Rules>,
    /// What is only found out.
    shadow: Option<Rules>,
    /// In front of keys of metadata about `rules`.
    rules_prefix: String,
    /// The same for `shadow`.
    shadow_prefix: String,
}

#[derive(Debug)]
struct Rules {
    action: RbacAction,
    /// In the order in which they are asked.
    policies: Vec<Policy>,
}

#[derive(Debug)]
struct Policy {
    name: String,
    permissions: Vec<Condition>,
    principals: Vec<Condition>,
}

impl Policy {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        let any = |conditions: &[Condition]| conditions.iter().any(|c| c.matches(subject));
        any(&self.permissions) && any(&self.principals)
    }
}

impl Rules {
    fn judge(&self, subject: &Subject<'_>) -> Outcome {
        let mut policies = self.policies.iter();
        let policy = policies.position(|policy| policy.matches(subject));
        Outcome {
            is_allowed: match self.action {
                RbacAction::Allow => policy.is_some(),
                RbacAction::Deny => policy.is_none(),
                RbacAction::Log => true,
            },
            policy,
        }
    }
}

impl Rbac {
    /// What the policies say of `subject`.
    pub(crate) fn judge(self: &Arc<Self>, subject: &Subject<'_>) -> Verdict {
        let judge = |rules: &Rules| rules.judge(subject);
        Verdict {
            shadow: self.shadow.as_ref().map(judge),
            enforced: self.rules.as_ref().map(judge),
            rbac: Arc::clone(self),
        }
    }
}
