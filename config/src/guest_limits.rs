//! `limits` of a `wasm` block.

use std::time::Duration;

use crate::not_yet::NotYet;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, FromYaml, words};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`limits`",
    keys: &[
        ("callback", "10ms"),
        ("memory", "64MiB"),
        ("shared_data", "{ bytes: 64MiB }"),
        ("shared_queues", "{ items: 65536 }"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static SHARED_DATA_BLOCK: Block = Block {
    name: "`shared_data`",
    keys: &[
        ("bytes", "64MiB"),
        ("entries", "65536"),
        ("eviction", "lru"),
    ],
    not_yet: &[],
    hints: &[],
};

pub(crate) static SHARED_QUEUES_BLOCK: Block = Block {
    name: "`shared_queues`",
    keys: &[("bytes", "16MiB"), ("items", "65536"), ("queues", "1024")],
    not_yet: &[],
    hints: &[],
};

/// `limits`: Weir's own addition to the `wasm` block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// `callback`: time that one callback may take. Refused until it can be kept.
    pub callback: Option<Duration>,
    /// `memory`: bytes of linear memory of the VM. Refused until it can be kept.
    pub memory: Option<ByteSize>,
    /// `shared_data`: what may be kept for the `vm_id`.
    pub shared_data: Option<Spanned<SharedDataLimits>>,
    /// `shared_queues`: what may wait in queues of the `vm_id`.
    pub shared_queues: Option<Spanned<SharedQueueLimits>>,
}

/// `shared_data`: what filters of one `vm_id` may keep together. What is left
/// out has the proxy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedDataLimits {
    /// `bytes`: of all keys and values.
    pub bytes: Option<ByteSize>,
    /// `entries`: number of keys.
    pub entries: Option<usize>,
    /// `eviction`: what makes room when a limit is reached. Default: nothing.
    pub eviction: SharedDataEviction,
}

/// `eviction`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SharedDataEviction {
    /// `none`: what does not fit is refused.
    #[default]
    None,
    /// `lru`: what was neither read nor written for the longest time goes.
    Lru,
    /// `oldest`: what was not written for the longest time goes.
    Oldest,
}

words! {
    SharedDataEviction, "a way of eviction",
    "none" => Self::None,
    "lru" => Self::Lru,
    "oldest" => Self::Oldest,
}

/// `shared_queues`: what filters of one `vm_id` may have waiting. What is left
/// out has the proxy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedQueueLimits {
    /// `bytes`: in one queue.
    pub bytes: Option<ByteSize>,
    /// `items`: in one queue.
    pub items: Option<usize>,
    /// `queues`: number of queues.
    pub queues: Option<usize>,
}

impl FromYaml for Limits {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        for (key, feature) in [
            ("callback", NotYet::CallbackLimit),
            ("memory", NotYet::MemoryLimit),
        ] {
            if fields.node(key).is_some() {
                let span = fields.key_span(key);
                fields.problems.push(feature.problem(span));
            }
        }
        Self {
            callback: fields.optional("callback"),
            memory: fields.optional("memory"),
            shared_data: fields.optional("shared_data"),
            shared_queues: fields.optional("shared_queues"),
        }
    }
}

impl FromYaml for SharedDataLimits {
    const EXPECTED: &'static str = SHARED_DATA_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = SHARED_DATA_BLOCK.open(node, problems);
        Self {
            bytes: fields.optional("bytes"),
            entries: fields.optional("entries"),
            eviction: fields.optional("eviction").unwrap_or_default(),
        }
    }
}

impl FromYaml for SharedQueueLimits {
    const EXPECTED: &'static str = SHARED_QUEUES_BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = SHARED_QUEUES_BLOCK.open(node, problems);
        Self {
            bytes: fields.optional("bytes"),
            items: fields.optional("items"),
            queues: fields.optional("queues"),
        }
    }
}
