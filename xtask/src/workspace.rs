//! Building Weir itself.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, output_of};
use crate::{debian, layout};

/// Gets what building the workspace takes besides Rust.
///
/// # Errors
/// There is no `cmake`, which a library in C needs, and none can be installed.
pub(crate) fn prepare() -> Result<()> {
    match output_of(Command::new("cmake").arg("--version")) {
        Some(_) => Ok(()),
        None => debian::install(&["cmake"]),
    }
}

/// cargo in the workspace, with these arguments.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    prepare()?;
    let mut cargo = process::cargo();
    cargo.current_dir(layout::root()).args(arguments);
    Ok(cargo)
}

/// Builds every program of the whole workspace, as the tests do: fewer packages would
/// have other features, and everything would be built once more.
pub(crate) fn build() -> Result<()> {
    process::build(&mut cargo(&["build", "--workspace", "--bins"])?)
}
