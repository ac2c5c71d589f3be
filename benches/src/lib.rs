//! What the benches stand on: [`memory`], a proxy of nothing but memory, for the
//! micro benches; [`load`], a load generator and an upstream, for the load bench.
#![deny(unsafe_code)]

pub mod load;
pub mod memory;
