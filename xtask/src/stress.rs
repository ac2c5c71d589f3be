//! `cargo xtask fuzz`, `cargo xtask interrupts`, `cargo xtask chaos` and `cargo xtask
//! soak`: programs of the package weir-stress.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{self, cargo};
use crate::{envoy, layout, workspace};

/// Seconds of fuzzing in a run of all tests.
pub(crate) const FUZZ_SECONDS: &str = "120";
/// Callouts in a run of all tests; half a minute.
pub(crate) const SOAK_COUNT: &str = "1000000";

/// Fuzzes the host; `arguments` are the program's. After `--sanitize`, the host is one
/// that looks at each of its accesses to memory.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<()> {
    if let ["--sanitize", arguments @ ..] = arguments {
        return fuzz_sanitized(arguments);
    }
    workspace::build()?;
    process::run(Command::new(program("weir-fuzz")).args(arguments))
}

/// `AddressSanitizer`, but not for what is on the stack: the engine changes stacks, and
/// what it leaves behind on one is taken for an error by the next.
const SANITIZER_FLAGS: &str = "-Zsanitizer=address -Cllvm-args=-asan-stack=0";

/// For `AddressSanitizer`: the engine has handlers of its own for these signals, on
/// stacks of its own, and keeps what it has compiled.
const SANITIZER_OPTIONS: &str = "handle_segv=0:handle_sigill=0:handle_sigfpe=0:handle_sigbus=0:\
    allow_user_segv_handler=1:use_sigaltstack=0:detect_leaks=0";

fn fuzz_sanitized(arguments: &[&str]) -> Result<()> {
    // With a target, build scripts and macros are as ever.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = layout::root().join("target/sanitized");
    let mut build = cargo();
    build
        .current_dir(layout::root())
        .args(["build", "--package", "weir-stress", "--bin", "weir-fuzz"])
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        // Compilers that are released take the flag too, if they are told so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", SANITIZER_FLAGS);
    process::build(&mut build)?;
    let program = folder.join(target).join("debug/weir-fuzz");
    let mut fuzz = Command::new(program);
    process::run(fuzz.args(arguments).env("ASAN_OPTIONS", SANITIZER_OPTIONS))
}

/// Calls that are interrupted in a run of all tests, in each way.
pub(crate) const INTERRUPTS_COUNT: &str = "5000";

/// Interrupts guests; `arguments` are the program's.
pub(crate) fn interrupts(arguments: &[&str]) -> Result<()> {
    workspace::build()?;
    let mut interrupts = Command::new(program("weir-interrupts"));
    interrupts
        .arg("--probe")
        .arg(layout::modules().join("probe.wasm"));
    process::run(interrupts.args(arguments))
}

/// What a run of all tests does of chaos; some seconds each.
pub(crate) const CHAOS: [&[&str]; 6] = [
    &[
        "connections",
        "--idle",
        "2000",
        "--slow",
        "200",
        "--handshakes",
        "50",
        "--bad",
        "5000",
        "--timeout",
        "3",
        "--seconds",
        "1",
        "--each",
        "500",
    ],
    &["upstreams", "--rounds", "1", "--seconds", "1"],
    &["healthy", "--rounds", "1", "--seconds", "2"],
    &["leaks", "--count", "60000"],
    &["recovery", "--count", "200"],
    &["reloads", "--count", "40", "--seconds", "8"],
];

/// Runs Weir where others misbehave; `arguments` are the program's. After
/// `--beside-envoy`, the real Envoy is put to the same tests where it can be.
pub(crate) fn chaos(arguments: &[&str]) -> Result<()> {
    workspace::build()?;
    let mut chaos = Command::new(program("weir-chaos"));
    let arguments = match arguments {
        ["--beside-envoy", arguments @ ..] => {
            chaos.arg("--envoy").arg(envoy::find()?);
            arguments
        }
        arguments => arguments,
    };
    chaos
        .arg("--weir")
        .arg(program("weir"))
        .arg("--hello")
        .arg(layout::modules().join("hello.wasm"));
    process::run(chaos.args(arguments))
}

/// Soaks Weir in callouts; `arguments` are the program's.
pub(crate) fn soak(arguments: &[&str]) -> Result<()> {
    workspace::build()?;
    let mut soak = Command::new(program("weir-soak"));
    soak.arg("--weir").arg(program("weir"));
    process::run(soak.args(arguments))
}

fn program(name: &str) -> PathBuf {
    layout::root().join("target/debug").join(name)
}
