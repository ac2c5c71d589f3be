//! How much a file may ask for, aliases included.

use crate::error::Problem;
use crate::limits::{MAX_ALIASED_BYTES, MAX_NESTING, MAX_NODES};
use crate::source::Span;
use crate::yaml::syntax;

/// What a value adds to the tree wherever it stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) nodes: usize,
    /// Bytes of text.
    pub(super) bytes: usize,
    /// Lists and mappings inside one another.
    pub(super) depth: usize,
}

impl Size {
    /// A scalar whose text does not count.
    pub(super) const NODE: Self = Self {
        nodes: 1,
        bytes: 0,
        depth: 0,
    };

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            bytes: self.bytes + other.bytes,
            depth: self.depth.max(other.depth),
        }
    }

    pub(super) fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

/// What was used so far.
#[derive(Debug, Default)]
pub(super) struct Budget {
    nodes: usize,
    aliased_bytes: usize,
    /// Lists and mappings around the value that is being read.
    pub(super) depth: usize,
}

impl Budget {
    /// Adds a value. The text of scalars needs no budget where it is written,
    /// as the file itself is bounded, but where an alias repeats it.
    pub(super) fn add(&mut self, added: Size, span: Span) -> Result<(), Problem> {
        self.nodes += added.nodes;
        self.aliased_bytes += added.bytes;
        let message = if self.nodes > MAX_NODES {
            format!("more than {MAX_NODES} values, aliases expanded")
        } else if self.aliased_bytes > MAX_ALIASED_BYTES {
            format!("aliases add more than {MAX_ALIASED_BYTES} bytes of text")
        } else if self.depth + added.depth > MAX_NESTING {
            syntax::too_deep()
        } else {
            return Ok(());
        };
        Err(Problem::new(span, message))
    }
}
