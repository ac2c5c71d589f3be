//! What the benches stand on: [`memory`], a proxy of nothing but memory, [`guest`], what
//! runs in it, [`inputs`], what both are given, and [`rig`], all together, for the micro
//! benches and the budget of instructions.
#![deny(unsafe_code)]

pub mod guest;
pub mod inputs;
pub mod memory;
pub mod rig;
