//! `cargo xtask release`: Weir as it is to be run, optimised by what it does under load
//! (PGO): built once so that it counts what it does, put through the scenarios of the
//! bench, and built again with what it has counted.
//!
//! What no scenario does is optimised as without: it does not count as rare.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench;
use crate::process::{self, output_of};
use crate::progress::step;
use crate::toolchain::rustc;
use crate::{layout, workspace};

/// Where the finished program is.
const PROGRAM: &str = "weir";

pub(crate) fn run() -> Result<()> {
    let merge = merger()?;
    // Else programs that run while it is built would count too.
    let target = output_of(rustc().args(["--print", "host-tuple"]))
        .context("rustc does not tell what machine it is on")?;
    let folder = layout::root().join("target/release-build");
    let (counts, finished) = (folder.join("counts"), folder.join("finished"));
    for stale in [&counts, &finished] {
        // Counts of another version are of no use, and cargo does not see that what is
        // built with them has to be built again.
        if stale.exists() {
            fs::remove_dir_all(stale)?;
        }
    }
    bench::prepare_training()?;
    let counting = Build {
        // Without optimising across crates, which changes nothing of what is counted.
        profile: "bench",
        flags: vec![of("-Cprofile-generate=", &counts)],
        target: &target,
        folder: folder.join("counting"),
    };
    let counting = step("building a weir that counts", || counting.make())?;
    bench::train(&counting)?;
    let profile = folder.join("profile");
    step("merging what it has counted", || {
        process::run_quietly(
            Command::new(&merge)
                .args(["merge", "--output"])
                .arg(&profile)
                .arg(&counts),
        )
    })?;
    let finished = Build {
        profile: "release",
        flags: vec![
            of("-Cprofile-use=", &profile),
            // What has not been counted is not small before it is fast.
            "-Cllvm-args=-pgso=false".into(),
        ],
        target: &target,
        folder: finished,
    };
    let finished = step("building weir", || finished.make())?;
    let program = layout::root().join("target/release").join(PROGRAM);
    fs::copy(&finished, &program).with_context(|| format!("cannot write {}", program.display()))?;
    println!("{}", program.display());
    Ok(())
}

fn of(option: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(option);
    flag.push(path);
    flag
}

/// LLVM's `llvm-profdata`, of the compiler's own version.
fn merger() -> Result<PathBuf> {
    let libraries = output_of(rustc().args(["--print", "target-libdir"]));
    let libraries = libraries.context("rustc does not tell where its libraries are")?;
    let tools = Path::new(&libraries).parent().map(|own| own.join("bin"));
    let merger = tools.unwrap_or_default().join("llvm-profdata");
    if !merger.is_file() {
        let mut add = Command::new("rustup");
        // Whether it did is seen by the file.
        let _ = process::run_quietly(add.args(["component", "add", "llvm-tools"]));
    }
    ensure!(
        merger.is_file(),
        "no {}; `rustup component add llvm-tools` gives one",
        merger.display()
    );
    Ok(merger)
}

/// A build of Weir.
struct Build<'a> {
    profile: &'static str,
    /// Of the compiler, beside those that it is given anyway.
    flags: Vec<OsString>,
    target: &'a str,
    folder: PathBuf,
}

impl Build<'_> {
    /// Makes it; where the program is.
    fn make(&self) -> Result<PathBuf> {
        let given = std::env::var("RUSTFLAGS").unwrap_or_default();
        let given = given.split_whitespace().map(OsString::from);
        let flags: Vec<_> = given.chain(self.flags.iter().cloned()).collect();
        let arguments = ["build", "--locked", "--package", "weir", "--bin", PROGRAM];
        let mut build = workspace::cargo(&arguments)?;
        build
            .args(["--profile", self.profile, "--target", self.target])
            .arg("--target-dir")
            .arg(&self.folder)
            // Paths may have blanks in them.
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join(OsStr::new("\x1f")));
        process::build(&mut build)?;
        // Both profiles have the same folder.
        Ok(self.folder.join(self.target).join("release").join(PROGRAM))
    }
}
