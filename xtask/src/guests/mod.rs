//! `cargo xtask guests`: builds the guests of the tests, and the filters in other
//! languages than Rust.

mod assemblyscript;
mod bench;
mod go;
mod probe;
mod zig;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::{layout, module};

/// What became of a guest.
enum Guest {
    Built,
    /// Its toolchain cannot be had here, for this reason.
    Skipped(String),
}

/// Builds a module at a path.
type Build = fn(&Path) -> Result<Guest>;

const GUESTS: [(&str, Build); 6] = [
    ("tour-c", zig::build_c),
    ("tour-zig", zig::build_zig),
    ("tour-javascript", zig::build_javascript),
    ("guest-javascript", zig::build_javascript_guest),
    ("tour-assemblyscript", assemblyscript::build),
    ("tour-go", go::build),
];

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
    let skipped = build_or_skip()?;
    let lines = skipped.iter().map(|name| format!("{name} skipped"));
    Ok(lines.collect())
}

/// Builds them all, and returns the names of those that had to be skipped.
pub(crate) fn build_or_skip() -> Result<Vec<&'static str>> {
    build_probe()?;
    build_bench()?;
    let mut skipped = Vec::new();
    for (name, build) in GUESTS {
        let built = layout::guest_target().join(format!("{name}.wasm"));
        match build(&built)? {
            Guest::Built => module::publish(&built, name)?,
            Guest::Skipped(reason) => {
                // one of an earlier run must not be taken for this one
                let path = layout::modules().join(format!("{name}.wasm"));
                fs::remove_file(path).ok();
                eprintln!("\n    !!! {name}.wasm is SKIPPED: {reason}\n");
                skipped.push(name);
            }
        }
    }
    Ok(skipped)
}

/// Whether a file is there, and younger than all that it is made from.
fn is_fresh(file: &Path, sources: &[PathBuf]) -> bool {
    let modified = |file: &Path| fs::metadata(file).and_then(|data| data.modified()).ok();
    let made = modified(file);
    sources.iter().all(|source| made > modified(source))
}
