//! Tools for people who write filters.
//!
//! [`Filter`] is the commands: a look inside a module, declarative tests without a
//! network in the form of Weir's own or in that of the Service Extensions plugin tester,
//! a price list, and new projects. [`WireSuite`] plays the same tests over sockets.
#![forbid(unsafe_code)]

mod bench;
mod cli;
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

pub use cli::Filter;
pub use hostcalls::signature;
pub use suite::wire::{Server, Surroundings, WireSuite, WireTest};
