//! The host against small text guests, through the crate's public face only.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod foreign;
mod guest;
mod signatures;
mod world;

mod allocator;
mod arbitrary;
mod bodies;
mod broken;
mod callbacks;
mod callouts;
mod capabilities;
mod connection;
mod context;
mod deadline;
mod failure;
mod header_phases;
mod headers;
mod imports;
mod in_turn;
mod limits;
mod load;
mod metrics;
mod pointers;
mod properties;
mod restore;
mod shared;
mod start;
mod stream;
mod wasi;
