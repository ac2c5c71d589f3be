//! The test form of the Service Extensions plugin tester: messages in protobuf's text
//! form or in YAML, and what running them means.
//!
//! A test here is no life of a stream in a proxy: each phase is one callback, whose
//! status holds nothing back.

mod bench;
mod input;
mod locate;
mod message;
mod phases;
mod read;
mod run;
mod textproto;
mod yaml;

pub(crate) use self::read::{Form, Overrides, Suite};
pub(crate) use self::run::run;
