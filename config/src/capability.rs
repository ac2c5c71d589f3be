//! Envoy's `CapabilityRestrictionConfig`.

use crate::problems::Problems;
use crate::read::{Block, FromYaml, mismatch};
use crate::schema::Shape;
use crate::yaml::{Node, Value};

pub(crate) static BLOCK: Block = Block {
    name: "`capability_restriction_config`",
    keys: &[("allowed_capabilities", "{ proxy_log: {} }")],
    not_yet: &[],
    hints: &[],
};

/// `capability_restriction_config`: the hostcalls and callbacks that a filter may
/// have; without any name, all of them, as in Envoy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CapabilityRestriction {
    /// `allowed_capabilities`, in the order of the file.
    pub(crate) allowed: Vec<String>,
}

/// The capabilities' names, with settings that are ignored, in Envoy too.
struct Capabilities(Vec<String>);

impl FromYaml for CapabilityRestriction {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let allowed = fields.optional::<Capabilities>("allowed_capabilities");
        Self {
            allowed: allowed.map_or_else(Vec::new, |names| names.0),
        }
    }
}

impl FromYaml for Capabilities {
    const EXPECTED: &'static str = "a mapping of capabilities such as `{ proxy_log: {} }`";

    fn placeholder() -> Self {
        Self(Vec::new())
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        match &node.value {
            Value::Mapping(names) => Self(names.iter().map(|n| n.key.text.clone()).collect()),
            Value::Scalar(_) | Value::Sequence(_) | Value::Broken => mismatch(node, problems),
        }
    }

    fn shape() -> Shape {
        Shape::mapping()
    }
}
