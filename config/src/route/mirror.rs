//! Copies of requests.

use crate::problems::Problems;
use crate::read::{Block, FromYaml, Percent};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "a mirror policy",
    keys: &[
        ("cluster", "shadow"),
        ("fraction", "10%"),
        ("disable_shadow_host_suffix_append", "true"),
    ],
    not_yet: &[],
    hints: &[("runtime_fraction", "fraction", "write `fraction: 10%`")],
};

/// `request_mirror_policies[]`: a copy of requests goes to another cluster, whose
/// responses nobody sees. Of a virtual host: of its routes that have none themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorPolicy {
    /// `cluster`: the name of one of the `clusters`. Required.
    pub cluster: Spanned<String>,
    /// `fraction`: of how many requests. Default: of all.
    pub fraction: Percent,
    /// `disable_shadow_host_suffix_append`: whether the host stays as it is; or else
    /// `-shadow` is added to it. Default: false.
    pub disable_shadow_host_suffix_append: bool,
}

impl FromYaml for MirrorPolicy {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            cluster: Spanned::placeholder(),
            fraction: Percent::ALL,
            disable_shadow_host_suffix_append: false,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        Self {
            cluster: fields.required_text("cluster"),
            fraction: fields.optional("fraction").unwrap_or(Percent::ALL),
            disable_shadow_host_suffix_append: fields
                .optional("disable_shadow_host_suffix_append")
                .unwrap_or(false),
        }
    }
}
