//! What the programs of this package share.

#![forbid(unsafe_code)]

mod random;
mod weir;

pub use random::Random;
pub use weir::{Weir, resident_memory};
