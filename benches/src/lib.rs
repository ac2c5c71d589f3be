//! What the benches stand on: [`memory`], a proxy of nothing but memory, [`guest`], what
//! runs in it, [`inputs`], what both are given, and [`rig`], all together, for the micro benches and the budget of
//! instructions; [`load`], load generators and an upstream, for the load bench.
#![deny(unsafe_code)]

pub mod guest;
pub mod inputs;
pub mod load;
pub mod memory;
pub mod rig;
