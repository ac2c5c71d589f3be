//! Finds a Rust toolchain that builds for `wasm32-wasip1`.

use std::env;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::debian;
use crate::process::{cargo, output_of, succeeds_within};

pub(crate) const TARGET: &str = "wasm32-wasip1";

/// Debian's compiler and the source of its standard library, which must be of one
/// version, and the C library below it.
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "wasi-libc"];
const WASI_LIBRARIES: &str = "/usr/lib/wasm32-wasi";

/// How long a server may take to answer before it counts as out of reach.
const PROBE_TIME: Duration = Duration::from_secs(5);
/// How long rustup may take to download some 20 MB.
const DOWNLOAD_TIME: Duration = Duration::from_secs(120);

/// What guests are built with.
pub(crate) enum Toolchain {
    /// The active toolchain: it has the target's standard library.
    Active,
    /// Debian's, which builds the standard library from source.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// The first that works: the target as it is installed, the target by rustup,
    /// Debian's packages.
    ///
    /// # Errors
    ///
    /// Says what to install when none does.
    pub(crate) fn find() -> Result<Self> {
        if has_target() || (can_download() && add_target() && has_target()) {
            return Ok(Self::Active);
        }
        println!("    no {TARGET} from rustup, using Debian's Rust packages");
        debian_toolchain().with_context(|| {
            format!("no toolchain builds for {TARGET}; `rustup target add {TARGET}` gives one")
        })
    }

    /// A `cargo build` for the target.
    pub(crate) fn cargo_build(&self) -> Command {
        let mut command = match self {
            Self::Active => {
                let mut command = cargo();
                command.arg("build");
                command
            }
            Self::Debian { linker } => {
                let mut command = Command::new("/usr/bin/cargo");
                command
                    .args(["build", "-Zbuild-std=std,panic_abort"])
                    .env("RUSTC", "/usr/bin/rustc")
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker)
                    .env("RUSTFLAGS", format!("-L{WASI_LIBRARIES}"))
                    // cargo's own, for the libraries of the active toolchain
                    .env_remove("LD_LIBRARY_PATH");
                command
            }
        };
        command.args(["--release", "--target", TARGET]);
        command
    }
}

/// The compiler.
pub(crate) fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn has_target() -> bool {
    let libraries = output_of(rustc().args(["--print", "target-libdir", "--target", TARGET]));
    let files = libraries.and_then(|libraries| Path::new(&libraries).read_dir().ok());
    files.into_iter().flatten().flatten().any(|file| {
        let name = file.file_name();
        name.to_string_lossy().starts_with("libstd-")
    })
}

fn add_target() -> bool {
    println!("    rustup target add {TARGET}");
    succeeds_within(
        Command::new("rustup").args(["target", "add", TARGET]),
        DOWNLOAD_TIME,
    )
}

/// Whether there is a rustup whose server answers: rustup itself waits long for one
/// that does not. Behind an HTTP proxy only rustup can tell.
fn can_download() -> bool {
    if output_of(Command::new("rustup").arg("--version")).is_none() {
        return false;
    }
    let proxies = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    if proxies.iter().any(|name| env::var_os(name).is_some()) {
        return true;
    }
    let server = env::var("RUSTUP_DIST_SERVER");
    answers(server.as_deref().unwrap_or("https://static.rust-lang.org"))
}

fn answers(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split('/').next().unwrap_or_default();
    let port = if scheme == "http" { 80 } else { 443 };
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:{port}")
    };
    let (sender, receiver) = mpsc::channel();
    // looking up a name cannot be given a deadline: left behind if it takes too long
    thread::spawn(move || {
        let mut addresses = address.to_socket_addrs().into_iter().flatten();
        let reached = addresses.any(|at| TcpStream::connect_timeout(&at, PROBE_TIME).is_ok());
        sender.send(reached)
    });
    receiver.recv_timeout(PROBE_TIME).unwrap_or(false)
}

fn debian_toolchain() -> Result<Toolchain> {
    debian::install(&PACKAGES)?;
    let [compiler, source] = ["rustc-web", "rust-web-src"].map(debian::version);
    if compiler != source {
        bail!(
            "rustc-web is {} and rust-web-src is {}: install both in one version",
            compiler.unwrap_or_default(),
            source.unwrap_or_default()
        );
    }
    Ok(Toolchain::Debian { linker: linker()? })
}

/// The active toolchain's own linker, else LLVM's as Debian packs it.
fn linker() -> Result<PathBuf> {
    let own = output_of(rustc().args(["--print", "target-libdir"]));
    let own = own.and_then(|libraries| Some(Path::new(&libraries).parent()?.join("bin/rust-lld")));
    match own.filter(|linker| linker.is_file()) {
        Some(linker) => Ok(linker),
        None => {
            debian::install(&["lld"])?;
            Ok(PathBuf::from("/usr/bin/wasm-ld"))
        }
    }
}
