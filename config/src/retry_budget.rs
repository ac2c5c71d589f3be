//! How many retries a cluster takes at once.

use crate::defaults::{RETRY_BUDGET, RETRY_CONCURRENCY};
use crate::problems::Problems;
use crate::read::{Block, FromYaml, Percent};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`retry_budget`",
    keys: &[("budget_percent", "20%"), ("min_retry_concurrency", "3")],
    not_yet: &[],
    hints: &[],
};

/// `retry_budget`: in place of `circuit_breakers.max_retries`, how many retries there
/// may be at once is a part of the requests under way, on all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// `budget_percent`: this part of them. Default: 20%.
    pub budget_percent: Percent,
    /// `min_retry_concurrency`: so many in any case. Default: 3.
    pub min_retry_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            budget_percent: RETRY_BUDGET,
            min_retry_concurrency: RETRY_CONCURRENCY,
        }
    }
}

impl FromYaml for RetryBudget {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let other = Self::default();
        Self {
            budget_percent: fields
                .optional("budget_percent")
                .unwrap_or(other.budget_percent),
            min_retry_concurrency: fields
                .optional("min_retry_concurrency")
                .unwrap_or(other.min_retry_concurrency),
        }
    }
}
