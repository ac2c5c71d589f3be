//! `cargo xtask filters`: builds Weir's own filters, and those that the guide shows.

use std::fs;

use anyhow::{Context, Result};

use crate::progress::step;
use crate::toolchain::{TARGET, Toolchain};
use crate::{layout, module, process};

pub(crate) fn run() -> Result<()> {
    let names = names()?;
    let toolchain = Toolchain::find()?;
    let build = |options: &[&str]| {
        process::build(
            toolchain
                .cargo_build()
                .current_dir(layout::filters())
                .args(options)
                .arg("--target-dir")
                .arg(layout::guest_target()),
        )
    };
    step(
        &format!("building {} for {TARGET}", names.join(", ")),
        || build(&[]),
    )?;
    let built = layout::guest_target().join(TARGET).join("release");
    for name in names {
        let artifact = built.join(format!("{}.wasm", name.replace('-', "_")));
        module::publish(&artifact, &name).with_context(|| {
            format!("the package in filters/{name} has to be named `{name}` as its folder is")
        })?;
    }
    module::publish(&built.join("tour_rust.wasm"), "tour-rust")?;
    step("building the examples of the guide", || {
        build(&["--package", "guide-examples", "--examples"])
    })?;
    for name in examples()? {
        let artifact = format!("examples/{}.wasm", name.replace('-', "_"));
        module::publish(&built.join(artifact), &format!("guide/{name}"))?;
    }
    Ok(())
}

/// The examples of the guide: each has a suite of tests.
fn examples() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for file in fs::read_dir(layout::guide_examples())? {
        let name = file?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".tests.yaml").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// The folders that hold a filter, not a library of filters.
fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in fs::read_dir(layout::filters())? {
        let folder = folder?;
        let manifest = fs::read_to_string(folder.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib") {
            names.push(folder.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
