//! The probe of the conformance suite, in Rust without an SDK.

use std::path::PathBuf;

use anyhow::Result;

use crate::progress::step;
use crate::toolchain::{TARGET, Toolchain};
use crate::{layout, process};

/// Builds it and gives where it is.
pub(super) fn build() -> Result<PathBuf> {
    let toolchain = Toolchain::find()?;
    step(&format!("building probe for {TARGET}"), || {
        process::build(
            toolchain
                .cargo_build()
                .current_dir(layout::guests().join("probe"))
                .arg("--target-dir")
                .arg(layout::guest_target()),
        )
    })?;
    Ok(layout::guest_target()
        .join(TARGET)
        .join("release/probe.wasm"))
}
