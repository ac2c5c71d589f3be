//! [`Verdict`]: what policies have said, and how others are told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;
use weir_config::{Metadata, RbacAction, Struct};

use super::{Rbac, Rules};

/// Where rules that log say whether a request is worth it.
const COMMON: &str = "envoy.common";

/// What rules have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) is_allowed: bool,
    /// Place of the policy that has matched, if one has.
    pub(super) policy: Option<usize>,
}

/// What policies have said.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(super) rbac: Arc<Rbac>,
    pub(crate) shadow: Option<Outcome>,
    pub(crate) enforced: Option<Outcome>,
}

impl Verdict {
    /// Whether the request, or the connection, goes on.
    pub(crate) fn is_allowed(&self) -> bool {
        self.enforced.is_none_or(|enforced| enforced.is_allowed)
    }

    /// Why it does not, in Envoy's words.
    pub(crate) fn details(&self) -> String {
        let policy = policy(self.rbac.rules.as_ref(), self.enforced);
        let policy = policy.filter(|name| !name.is_empty()).unwrap_or("none");
        format!("rbac_access_denied_matched_policy[{policy}]")
    }

    /// The keys of dynamic metadata: about what was enforced only if `of_request`, as in
    /// Envoy.
    fn tell(&self, of_request: bool, object: &mut BTreeMap<String, Json>) {
        let Rbac {
            rules,
            shadow,
            rules_prefix,
            shadow_prefix,
        } = &*self.rbac;
        let enforced = self.enforced.filter(|_| of_request);
        for (rules, outcome, prefix, kind) in [
            (shadow, self.shadow, shadow_prefix, "shadow"),
            (rules, enforced, rules_prefix, "enforced"),
        ] {
            let Some(outcome) = outcome else {
                continue;
            };
            if let Some(name) = policy(rules.as_ref(), Some(outcome)) {
                let key = format!("{prefix}{kind}_effective_policy_id");
                object.insert(key, name.into());
            }
            let result = match outcome.is_allowed {
                true => "allowed",
                false => "denied",
            };
            object.insert(format!("{prefix}{kind}_engine_result"), result.into());
        }
    }

    /// Whether the request is worth a line in the log, if rules say so.
    fn log_hint(&self) -> Option<bool> {
        let rules = self.rbac.rules.as_ref()?;
        (rules.action == RbacAction::Log).then_some(self.enforced?.policy.is_some())
    }
}

/// The name of the policy that has matched.
fn policy(rules: Option<&Rules>, outcome: Option<Outcome>) -> Option<&str> {
    let policy = rules?.policies.get(outcome?.policy?)?;
    Some(&policy.name)
}

/// What the filters that gave these verdicts, in their order, leave for others.
pub(crate) fn dynamic_metadata(verdicts: &[Verdict], of_request: bool) -> Metadata {
    let filter = match of_request {
        true => "envoy.filters.http.rbac",
        false => "envoy.filters.network.rbac",
    };
    let mut own = BTreeMap::new();
    for verdict in verdicts {
        verdict.tell(of_request, &mut own);
    }
    let mut namespaces = vec![(filter.to_owned(), Struct::from_iter(own))];
    if let Some(hint) = verdicts.iter().filter_map(Verdict::log_hint).next_back() {
        let common = [("access_log_hint".to_owned(), Json::Bool(hint))];
        namespaces.push((COMMON.to_owned(), common.into_iter().collect()));
    }
    namespaces.retain(|(_, object)| !object.is_empty());
    Metadata { namespaces }
}
