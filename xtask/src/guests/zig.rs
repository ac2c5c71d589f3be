//! The filters in C, Zig and JavaScript: all three are compiled by Zig, which is a compiler
//! of C as well.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Guest, is_fresh};
use crate::layout;
use crate::process::{build as run_build, cargo, run_quietly};
use crate::progress::step;
use crate::pypi::{LINUX_AARCH64, LINUX_X86_64, MACOS_AARCH64, Package};

/// Zig as Python's package index has it: its version decides what it takes.
const ZIG: Package = Package {
    requirement: "ziglang==0.17.1",
    wheels: &[
        (
            LINUX_X86_64,
            "ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54",
        ),
        (
            LINUX_AARCH64,
            "b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e",
        ),
        (
            MACOS_AARCH64,
            "09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23",
        ),
    ],
    program: "ziglang/zig",
    version: "version",
    instead: "WEIR_ZIG",
};

/// The sources of `QuickJS` that a filter needs.
const QUICKJS: [&str; 4] = ["quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"];

/// How filters in C are compiled: with a libc, and an `_initialize` in the place of a
/// `main`.
const C: [&str; 6] = [
    "cc",
    "-target",
    "wasm32-wasi",
    "-mexec-model=reactor",
    "-std=c23",
    "-O2",
];

/// How `QuickJS` and what calls it are compiled.
const ENGINE: [&str; 2] = ["-D_GNU_SOURCE", "-DNDEBUG"];

pub(super) fn build_c(module: &Path) -> Result<Guest> {
    with_zig("tour-c", |zig| {
        let folder = layout::languages().join("c");
        zig.args(C).args(["-Wall", "-Wextra", "-Werror"]);
        zig.args(["-s", "-Wl,-z,stack-size=65536", "-o"]);
        zig.arg(module).arg(folder.join("tour.c"));
    })
}

pub(super) fn build_zig(module: &Path) -> Result<Guest> {
    with_zig("tour-zig", |zig| {
        let folder = layout::languages().join("zig");
        let mut emit = OsString::from("-femit-bin=");
        emit.push(module);
        zig.arg("build-exe").arg(folder.join("tour.zig")).args([
            "-target",
            "wasm32-freestanding",
            "-O",
            "ReleaseSafe",
            "-fstrip",
            "-fno-entry",
            "-rdynamic",
            "--stack",
            "65536",
        ]);
        zig.arg(emit);
    })
}

pub(super) fn build_javascript(module: &Path) -> Result<Guest> {
    let script = layout::languages().join("javascript/tour.js");
    javascript("tour-javascript", &script, module)
}

/// The filter that tests have fail.
pub(super) fn build_javascript_guest(module: &Path) -> Result<Guest> {
    javascript(
        "guest-javascript",
        &layout::guests().join("guest.js"),
        module,
    )
}

fn javascript(name: &str, script: &Path, module: &Path) -> Result<Guest> {
    let languages = layout::languages();
    let quickjs = match quickjs() {
        Ok(folder) => folder,
        Err(reason) => {
            let reason = format!("the source of QuickJS cannot be fetched: {reason:#}");
            return Ok(Guest::Skipped(reason));
        }
    };
    // Apart from the script, so that scripts share them.
    for source in QUICKJS {
        let source = quickjs.join(source);
        let object = source.with_extension("o");
        let recipe = layout::root().join("xtask/src/guests/zig.rs");
        if is_fresh(&object, &[source.clone(), recipe]) {
            continue;
        }
        let compiled = with_zig("QuickJS", |zig| {
            zig.args(C).args(ENGINE).arg("-c").arg("-o");
            zig.arg(object).arg(source);
        })?;
        if let skipped @ Guest::Skipped(_) = compiled {
            return Ok(skipped);
        }
    }
    with_zig(name, |zig| {
        let host = languages.join("javascript/host");
        let file = script.file_name().unwrap_or_default().to_string_lossy();
        zig.args(C).args(ENGINE);
        zig.args(["-s", "-Wl,-z,stack-size=1048576"]);
        zig.arg(format!("-DFILTER_SCRIPT=\"{}\"", script.display()))
            .arg(format!("-DFILTER_NAME=\"{file}\""))
            .arg("-I")
            .arg(languages.join("c"))
            .arg("-isystem")
            .arg(&quickjs)
            .arg("-o")
            .arg(module)
            .args(["engine.c", "functions.c"].map(|source| host.join(source)))
            .args(QUICKJS.map(|source| quickjs.join(source).with_extension("o")));
    })
}

/// The folder with the source of `QuickJS`, which a crate carries.
fn quickjs() -> Result<PathBuf> {
    let vendored = layout::guest_target().join("quickjs");
    let package = vendored.join("rquickjs-sys");
    let engine = layout::languages().join("javascript/engine");
    let checksums = package.join(".cargo-checksum.json");
    if !is_fresh(&checksums, &[engine.join("Cargo.lock")]) {
        run_quietly(
            cargo()
                .args(["vendor", "--locked", "--manifest-path"])
                .arg(engine.join("Cargo.toml"))
                .arg(&vendored),
        )?;
    }
    Ok(package.join("quickjs"))
}

/// Runs Zig as `arguments` says, if it can be had.
fn with_zig(name: &str, arguments: impl FnOnce(&mut Command)) -> Result<Guest> {
    let zig = match ZIG.program() {
        Ok(zig) => zig,
        Err(reason) => return Ok(Guest::Skipped(format!("it needs Zig: {reason:#}"))),
    };
    step(&format!("building {name}"), || {
        let cache = layout::guest_target().join("zig");
        let mut command = Command::new(zig);
        command
            .env("ZIG_GLOBAL_CACHE_DIR", &cache)
            .env("ZIG_LOCAL_CACHE_DIR", &cache);
        arguments(&mut command);
        run_build(&mut command)
    })?;
    Ok(Guest::Built)
}
