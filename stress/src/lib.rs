//! What the fuzzer and the soak test share.

#![forbid(unsafe_code)]

mod random;

pub use random::Random;
