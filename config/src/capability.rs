//! Envoy's `CapabilityRestrictionConfig`.

use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "`capability_restriction_config`",
    keys: &[("allowed_capabilities", "{}")],
    not_yet: &[],
    hints: &[],
};

/// `capability_restriction_config`: without capabilities it allows all of them,
/// as in Envoy, and that is all that can be asked for yet.
#[derive(Debug)]
pub(crate) struct CapabilityRestriction;

/// The capabilities' names and their (ignored, in Envoy too) settings.
struct Capabilities;

impl FromYaml for CapabilityRestriction {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        fields.optional::<Capabilities>("allowed_capabilities");
        Self
    }
}

impl FromYaml for Capabilities {
    const EXPECTED: &'static str = "a mapping of capabilities such as `{ proxy_log: {} }`";

    fn placeholder() -> Self {
        Self
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match &node.value {
            Value::Mapping(names) if names.is_empty() => Self,
            Value::Mapping(_) => {
                problems.push(NotYet::CapabilityRestriction.problem(node.at));
                Self
            }
            Value::Scalar(_) | Value::Sequence(_) | Value::Broken => mismatch(node, problems),
        }
    }
}
