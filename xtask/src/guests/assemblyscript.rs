//! The filter in `AssemblyScript`, by npm.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Guest, is_fresh};
use crate::process::{build as run_build, output_of, run_quietly};
use crate::progress::step;
use crate::{debian, layout};

pub(super) fn build(module: &Path) -> Result<Guest> {
    if output_of(Command::new("npm").arg("--version")).is_none()
        && let Err(reason) = debian::install(&["npm"])
    {
        return Ok(Guest::Skipped(format!("it needs npm: {reason:#}")));
    }
    let folder = layout::languages().join("assemblyscript");
    if !is_installed(&folder) {
        let options = ["ci", "--no-audit", "--no-fund", "--fetch-retries=1"];
        let installed = step("npm ci", || {
            run_quietly(Command::new("npm").current_dir(&folder).args(options))
        });
        if let Err(reason) = installed {
            return Ok(Guest::Skipped(format!(
                "its packages cannot be fetched: {reason:#}"
            )));
        }
    }
    let sources = [
        "assembly/index.ts",
        "asconfig.json",
        "node_modules/.package-lock.json",
    ];
    // The compiler keeps nothing.
    if is_fresh(module, &sources.map(|source| folder.join(source))) {
        return Ok(Guest::Built);
    }
    step("building tour-assemblyscript", || {
        let arguments = ["exec", "--", "asc", "--target", "release", "--outFile"];
        let arguments = arguments.iter().map(OsStr::new).chain([module.as_os_str()]);
        run_build(Command::new("npm").current_dir(&folder).args(arguments))
    })?;
    Ok(Guest::Built)
}

/// Whether what is installed is what the lock file asks for, by age.
fn is_installed(folder: &Path) -> bool {
    let installed = folder.join("node_modules/.package-lock.json");
    is_fresh(&installed, &[folder.join("package-lock.json")])
}
