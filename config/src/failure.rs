//! What happens when a filter has failed.

use std::time::Duration;

use crate::defaults::{RELOAD_BASE_INTERVAL, RELOAD_MAX_INTERVAL_FACTOR};
use crate::error::Problem;
use crate::limits::MIN_BACKOFF;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch, nearest};
use crate::schema::Shape;
use crate::yaml::Node;

pub(crate) static RELOAD_BLOCK: Block = Block {
    name: "`reload_config`",
    keys: &[("backoff", "{ base_interval: 1s }")],
    not_yet: &[],
    hints: &[],
};

pub(crate) static BACKOFF_BLOCK: Block = Block {
    name: "`backoff`",
    keys: &[("base_interval", "1s"), ("max_interval", "10s")],
    not_yet: &[],
    hints: &[],
};

/// `failure_policy`: what a request gets when the filter has failed: trapped,
/// or run into a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// `FAIL_CLOSED`: 503.
    Closed,
    /// `FAIL_OPEN`: goes on as if the filter were not there.
    Open,
    /// `FAIL_RELOAD`: the filter is started again for the next request, after
    /// the backoff; until then as with `FAIL_CLOSED`.
    Reload,
}

pub(crate) static POLICIES_BLOCK: Block = Block {
    name: "`failure_policies`",
    keys: &[
        ("on_trap", "FAIL_RELOAD"),
        ("on_deadline", "FAIL_OPEN"),
        ("on_memory", "FAIL_CLOSED"),
        ("on_configure", "FAIL_OPEN"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `failure_policies`: Weir's own addition to the `wasm` block. Policies for
/// certain causes, in place of `failure_policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailurePolicies {
    /// `on_trap`: it trapped, ran out of stack, or ended itself.
    pub on_trap: Option<FailurePolicy>,
    /// `on_deadline`: a callback took too long.
    pub on_deadline: Option<FailurePolicy>,
    /// `on_memory`: it gave up after it had been refused memory.
    pub on_memory: Option<FailurePolicy>,
    /// `on_configure`: it did not start with its configuration. Without a policy,
    /// that is an error at start.
    pub on_configure: Option<FailurePolicy>,
}

impl FromYaml for FailurePolicies {
    const EXPECTED: &'static str = POLICIES_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = POLICIES_BLOCK.open(node, problems);
        let mut policy = |key| {
            let policy: Unspecified<FailurePolicy> = fields.optional(key).unwrap_or_default();
            policy.0
        };
        Self {
            on_trap: policy("on_trap"),
            on_deadline: policy("on_deadline"),
            on_memory: policy("on_memory"),
            on_configure: policy("on_configure"),
        }
    }
}

/// A value that Envoy's `UNSPECIFIED` leaves unset.
pub(crate) struct Unspecified<T>(pub(crate) Option<T>);

impl<T> Default for Unspecified<T> {
    fn default() -> Self {
        Self(None)
    }
}

const POLICIES: [(&str, Option<FailurePolicy>); 4] = [
    ("FAIL_CLOSED", Some(FailurePolicy::Closed)),
    ("FAIL_OPEN", Some(FailurePolicy::Open)),
    ("FAIL_RELOAD", Some(FailurePolicy::Reload)),
    ("UNSPECIFIED", None),
];

impl FromYaml for Unspecified<FailurePolicy> {
    const EXPECTED: &'static str = "`FAIL_CLOSED`, `FAIL_OPEN` or `FAIL_RELOAD`";

    fn placeholder() -> Self {
        Self(None)
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let Some(text) = node.text() else {
            return mismatch(node, problems);
        };
        if let Some((_, policy)) = POLICIES.iter().find(|(name, _)| *name == text) {
            return Self(*policy);
        }
        let problem = Problem::new(node.span, format!("there is no failure policy `{text}`"));
        let help = match nearest(text, POLICIES.iter().map(|(name, _)| *name)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it is one of {}", Self::EXPECTED),
        };
        problems.push(problem.help(help));
        Self::placeholder()
    }

    fn shape() -> Shape {
        Shape::words(POLICIES.iter().map(|(name, _)| *name))
    }
}

/// `reload_config`: how often a failed filter is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReloadConfig {
    /// `backoff`: the time between two starts.
    pub backoff: Backoff,
}

/// `backoff`: Envoy's `BackoffStrategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// `base_interval`: the first pause, at least 1ms. Required in a `backoff`;
    /// without one: 1s.
    pub base_interval: Duration,
    /// `max_interval`: the longest pause, not below `base_interval`. Default:
    /// ten times `base_interval`.
    pub max_interval: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_interval: RELOAD_BASE_INTERVAL,
            max_interval: RELOAD_BASE_INTERVAL.saturating_mul(RELOAD_MAX_INTERVAL_FACTOR),
        }
    }
}

impl FromYaml for ReloadConfig {
    const EXPECTED: &'static str = RELOAD_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = RELOAD_BLOCK.open(node, problems);
        Self {
            backoff: fields.optional("backoff").unwrap_or_default(),
        }
    }
}

impl FromYaml for Backoff {
    const EXPECTED: &'static str = BACKOFF_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BACKOFF_BLOCK.open(node, problems);
        fields.require("base_interval");
        let base = fields.valid::<Duration>("base_interval");
        let max = fields.valid::<Duration>("max_interval");
        let Some(base) = base else {
            return Self::placeholder();
        };
        if base.value < MIN_BACKOFF {
            let problem = Problem::new(base.span, "`base_interval` is less than 1ms");
            fields.problems.push(problem);
        }
        if let Some(max) = max.filter(|max| max.value < base.value) {
            let problem = Problem::new(max.span, "`max_interval` is less than `base_interval`")
                .related(base.span, "`base_interval` stands here");
            fields.problems.push(problem);
        }
        let ten_times = base.saturating_mul(RELOAD_MAX_INTERVAL_FACTOR);
        Self {
            base_interval: base.value,
            max_interval: max.map_or(ten_times, |max| max.value),
        }
    }
}
