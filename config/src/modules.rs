//! Modules that are fetched: how large they may be, and where copies are kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::defaults::{CACHE_EXPIRY, CACHE_SIZE, MODULE_SIZE};
use crate::problems::Problems;
use crate::read::{Block, ByteSize, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`modules`",
    keys: &[
        ("module_size", "64MiB"),
        ("cache", "/var/cache/weir"),
        ("cache_size", "1GiB"),
        ("cache_expiry", "168h"),
    ],
    not_yet: &[],
    hints: &[],
};

/// `modules`: modules that are fetched, and copies of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// `module_size`: bytes of one module, and of what it is wrapped in. Default:
    /// 64MiB.
    pub module_size: usize,
    /// `cache`: a folder for copies. Default: `weir` in the user's folder for
    /// caches; none is kept where that cannot be written to.
    pub cache: Option<Spanned<PathBuf>>,
    /// `cache_size`: bytes of all copies. Default: 1GiB.
    pub cache_size: u64,
    /// `cache_expiry`: how long a copy is kept that nobody uses. Default: 168h.
    pub cache_expiry: Duration,
}

impl Default for Modules {
    fn default() -> Self {
        Self {
            module_size: MODULE_SIZE,
            cache: None,
            cache_size: CACHE_SIZE,
            cache_expiry: CACHE_EXPIRY,
        }
    }
}

impl FromYaml for Modules {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self::default()
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let other = Self::default();
        let cache_size: Option<ByteSize> = fields.optional("cache_size");
        Self {
            module_size: fields.bytes("module_size", other.module_size),
            cache: fields.optional("cache"),
            cache_size: cache_size.map_or(other.cache_size, |size| size.0),
            cache_expiry: fields
                .optional("cache_expiry")
                .unwrap_or(other.cache_expiry),
        }
    }
}
