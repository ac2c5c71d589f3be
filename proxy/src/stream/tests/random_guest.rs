//! A guest that does anything at any time, as a seed has it.

use bytes::Bytes;
use weir_abi::Module;

/// What the guest may do besides pausing, continuing and adding headers.
pub(super) mod may {
    /// Change and forget body.
    pub(in super::super) const CHANGE: u32 = 1;
    /// Answer.
    pub(in super::super) const ANSWER: u32 = 2;
    /// Reset the stream.
    pub(in super::super) const CLOSE: u32 = 4;
    /// Trap.
    pub(in super::super) const TRAP: u32 = 8;
}

/// The plugin configuration that the guest takes.
pub(super) fn configuration(seed: u32, may: u32) -> Bytes {
    [seed.to_le_bytes(), may.to_le_bytes()].concat().into()
}

pub(super) fn compile() -> Module {
    Module::compile(&wat::parse_str(include_str!("random_guest.wat")).unwrap()).unwrap()
}
