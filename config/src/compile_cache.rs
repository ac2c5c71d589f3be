//! Where compiled modules are kept.

use std::path::PathBuf;

use crate::defaults::COMPILE_CACHE_SIZE;
use crate::error::Problem;
use crate::limits::MIN_COMPILE_CACHE_SIZE;
use crate::problems::Problems;
use crate::read::{Block, ByteSize, FromYaml};
use crate::source::Spanned;
use crate::yaml::Node;

pub(crate) static BLOCK: Block = Block {
    name: "`compile_cache`",
    keys: &[("path", "/var/cache/weir"), ("max_size", "1GiB")],
    not_yet: &[],
    hints: &[],
};

/// `compile_cache`: a folder in which compiled modules are kept, so that a start need
/// not compile them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileCache {
    /// `path`: the folder, of mode 0700; it is made if need be. Required.
    pub path: Spanned<PathBuf>,
    /// `max_size`: bytes that it may have, at least 1MiB. Default: 1GiB.
    pub max_size: ByteSize,
}

impl FromYaml for CompileCache {
    const EXPECTED: &'static str = BLOCK.name;

    fn placeholder() -> Self {
        Self {
            path: FromYaml::placeholder(),
            max_size: COMPILE_CACHE_SIZE,
        }
    }

    fn read(node: &Node, problems: &mut Problems) -> Self {
        let mut fields = BLOCK.open(node, problems);
        let path = fields.required("path");
        let size = fields.valid::<ByteSize>("max_size");
        if let Some(size) = size.filter(|size| size.value < MIN_COMPILE_CACHE_SIZE) {
            let message = format!("`max_size` is less than {MIN_COMPILE_CACHE_SIZE}");
            let help = "a compiled filter has some hundred KiB to several MiB";
            fields
                .problems
                .push(Problem::new(size.span, message).help(help));
        }
        Self {
            path,
            max_size: size.map_or(COMPILE_CACHE_SIZE, |size| size.value),
        }
    }
}
