//! The filter in Go.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::Guest;
use crate::go::toolchain;
use crate::layout;
use crate::process::{build as run_build, run_quietly};
use crate::progress::step;

pub(super) fn build(module: &Path) -> Result<Guest> {
    let folder = layout::languages().join("go");
    let go = match toolchain() {
        Ok(go) => go,
        Err(reason) => return Ok(Guest::Skipped(format!("it needs Go: {reason:#}"))),
    };
    let fetched = run_quietly(
        Command::new(&go)
            .current_dir(&folder)
            .args(["mod", "download"]),
    );
    if let Err(reason) = fetched {
        return Ok(Guest::Skipped(format!(
            "its modules cannot be fetched: {reason:#}"
        )));
    }
    step("building tour-go", || {
        run_build(
            Command::new(&go)
                .current_dir(&folder)
                .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
                .args(["build", "-trimpath", "-buildmode=c-shared", "-o"])
                .arg(module),
        )
    })?;
    Ok(Guest::Built)
}
