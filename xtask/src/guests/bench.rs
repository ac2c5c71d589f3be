//! The filters that proxies are measured with.

use anyhow::Result;

use crate::progress::step;
use crate::toolchain::{TARGET, Toolchain};
use crate::{layout, module, process};

/// Builds them, as one module.
pub(super) fn build() -> Result<()> {
    let toolchain = Toolchain::find()?;
    step(&format!("building bench for {TARGET}"), || {
        process::build(
            toolchain
                .cargo_build()
                .current_dir(layout::root().join("benches/guest"))
                .arg("--target-dir")
                .arg(layout::guest_target()),
        )
    })?;
    let built = layout::guest_target()
        .join(TARGET)
        .join("release/bench.wasm");
    module::publish(&built, "bench")
}
