//! The probe of the conformance suite, in Rust without an SDK.

use anyhow::Result;

use crate::progress::step;
use crate::toolchain::{TARGET, Toolchain};
use crate::{layout, module, process};

/// Its modules, and the feature of each: one a version of the ABI.
const VERSIONS: [(&str, &[&str]); 3] = [
    ("probe-0_1_0", &["--features", "abi_0_1_0"]),
    ("probe-0_2_0", &["--features", "abi_0_2_0"]),
    ("probe", &[]),
];

/// Builds it for every version of the ABI.
pub(super) fn build() -> Result<()> {
    let toolchain = Toolchain::find()?;
    let built = layout::guest_target()
        .join(TARGET)
        .join("release/probe.wasm");
    for (name, features) in VERSIONS {
        step(&format!("building {name} for {TARGET}"), || {
            process::build(
                toolchain
                    .cargo_build()
                    .current_dir(layout::guests().join("probe"))
                    .args(features)
                    .arg("--target-dir")
                    .arg(layout::guest_target()),
            )
        })?;
        module::publish(&built, name)?;
    }
    Ok(())
}
