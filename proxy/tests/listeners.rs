//! What becomes of connections before anything is read from them: which filter chain
//! they are for, and where they were going.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

#[path = "listeners/filter_chains.rs"]
mod filter_chains;
#[path = "listeners/original_dst.rs"]
mod original_dst;
