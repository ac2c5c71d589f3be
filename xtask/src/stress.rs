//! `cargo xtask fuzz` and `cargo xtask soak`: programs of the package
//! weir-stress.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::layout;
use crate::process::{self, cargo};

/// Seconds of fuzzing in a run of all tests.
pub(crate) const FUZZ_SECONDS: &str = "120";
/// Callouts in a run of all tests; half a minute.
pub(crate) const SOAK_COUNT: &str = "1000000";

/// Fuzzes the host; `arguments` are the program's.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<()> {
    build()?;
    process::run(Command::new(program("weir-fuzz")).args(arguments))
}

/// Soaks Weir in callouts; `arguments` are the program's.
pub(crate) fn soak(arguments: &[&str]) -> Result<()> {
    build()?;
    let mut soak = Command::new(program("weir-soak"));
    soak.arg("--weir").arg(program("weir"));
    process::run(soak.args(arguments))
}

fn build() -> Result<()> {
    let arguments = ["build", "--workspace", "--bins"];
    process::build(cargo().current_dir(layout::root()).args(arguments))
}

fn program(name: &str) -> PathBuf {
    layout::root().join("target/debug").join(name)
}
