//! `cargo xtask guests`: builds the guests of the tests.

mod assemblyscript;
mod bench;
mod go;
mod probe;

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::{layout, module};

/// What became of a guest.
enum Guest {
    Built,
    /// Its toolchain cannot be had here, for this reason.
    Skipped(String),
}

pub(crate) fn run() -> Result<()> {
    build().map(drop)
}

/// Builds the filters that proxies are measured with.
pub(crate) fn build_bench() -> Result<()> {
    bench::build()
}

/// Builds the probe of the conformance suite.
pub(crate) fn build_probe() -> Result<()> {
    probe::build()
}

/// Builds them all, and returns a line for each that had to be skipped.
pub(crate) fn build() -> Result<Vec<String>> {
    build_probe()?;
    build_bench()?;
    let assemblyscript = (
        "guest-assemblyscript",
        assemblyscript::build as fn(&Path) -> _,
    );
    let mut skipped = Vec::new();
    for (name, build) in [assemblyscript, ("guest-go", go::build)] {
        let built = layout::guest_target().join(format!("{name}.wasm"));
        match build(&built)? {
            Guest::Built => module::publish(&built, name)?,
            Guest::Skipped(reason) => {
                // one of an earlier run must not be taken for this one
                let path = layout::modules().join(format!("{name}.wasm"));
                fs::remove_file(path).ok();
                eprintln!("\n    !!! {name}.wasm is SKIPPED: {reason}\n");
                skipped.push(format!("{name} skipped"));
            }
        }
    }
    Ok(skipped)
}
