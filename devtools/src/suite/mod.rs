//! Weir's own form of a test suite: YAML that tells what happens to a filter and what
//! is expected of it.

mod bench;
mod check;
mod data;
mod expect;
mod matcher;
mod read;
mod run;
mod step;
pub(crate) mod wire;
mod world;

pub(crate) use self::bench::Rounds;
pub(crate) use self::matcher::{original, regex};
pub(crate) use self::read::{Suite, Test};
pub(crate) use self::run::run;
