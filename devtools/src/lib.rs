//! Tools for people who write filters.
//!
//! [`Filter`] is the commands: a look inside a module, declarative tests without a
//! network in the form of Weir's own or in that of the Service Extensions plugin tester,
//! a price list, and new projects. [`dev`] is what `weir dev` needs of them, and
//! [`WireSuite`] plays the same tests over sockets.
#![forbid(unsafe_code)]

mod bench;
mod cli;
pub mod dev;
mod driver;
mod fields;
mod hostcalls;
mod inspect;
mod junit;
mod measure;
mod plugin_tester;
mod report;
mod scaffold;
mod show;
mod suite;
mod test;
mod trace;
mod watch;

pub use cli::{Bench, Filter, Inspect, New, Test, Tool};
pub use hostcalls::signature;
pub use suite::wire::{Server, Surroundings, WireSuite, WireTest};
pub use watch::Watched;
