//! Connections to endpoints that seem to come from the client.

use crate::problems::Problems;
use crate::read::{Block, FromYaml};
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`original_src`",
    keys: &[("mark", "1337")],
    not_yet: &[],
    hints: &[],
};

/// `original_src`: connections to endpoints for a client's requests are made from the
/// client's own IP address, whatever machine has it; needs `CAP_NET_ADMIN`, and routes
/// that bring the answers back here. Each address gets connections of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OriginalSrc {
    /// `mark`: the mark of their packets, for such routes; 0 is none. Default: 0.
    pub mark: u32,
}

impl FromYaml for OriginalSrc {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            mark: fields.optional("mark").unwrap_or(0),
        }
    }
}
