//! Tools for people who write filters.
//!
//! [`test`] runs declarative tests of a filter without a network, in the suite form of
//! Weir's own or in that of the Service Extensions plugin tester.
#![forbid(unsafe_code)]

mod driver;
mod fields;
mod report;
mod show;
mod suite;
pub mod test;

pub use report::{Failure, Report, TestResult, Verdict};
