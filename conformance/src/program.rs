//! Programs of others that tests need.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The packages of Debian that have them.
const PACKAGES: [(&str, &str); 10] = [
    ("curl", "curl"),
    ("h2load", "nghttp2-client"),
    ("ip", "iproute2"),
    ("ip6tables", "iptables"),
    ("ip6tables-save", "iptables"),
    ("iptables", "iptables"),
    ("iptables-save", "iptables"),
    ("nginx", "nginx libnginx-mod-stream"),
    ("openssl", "openssl"),
    ("setpriv", "util-linux"),
];

/// Those that `cargo xtask test` builds, or fetches, itself.
const BUILT: [&str; 3] = ["control-plane", "helm", "kubeconform"];

/// Where daemons are, which need not be on the path of every user.
const SBIN: &str = "/usr/sbin";

/// A program.
///
/// Panics when it is not there: a test that cannot run must say so.
pub fn program(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push(SBIN.into());
    if BUILT.contains(&name) {
        // Versions differ in what they take.
        folders = vec![built("")];
    }
    let mut places = folders.into_iter().map(|folder| folder.join(name));
    let Some(place) = places.find(|place| place.is_file()) else {
        assert!(
            !BUILT.contains(&name),
            "{name} is missing; `cargo xtask test` builds it"
        );
        let package = PACKAGES.iter().find(|(program, _)| *program == name);
        let package = package.map_or(name, |(_, package)| package);
        panic!(
            "{name} is missing; `cargo xtask test` installs it where it may, or \
             `sudo apt-get install {package}`"
        );
    };
    let mut command = Command::new(place);
    command.stdin(Stdio::null());
    command
}

/// What `cargo xtask test` puts beside the programs that it builds: a file or a folder.
pub fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/programs")
        .join(name)
}

/// Runs `PROGRAM ARGS…` in `folder` to its end; arguments are parted by spaces.
pub fn run_program(folder: &Path, name: &str, arguments: &str) -> Output {
    let mut command = program(name);
    command.args(arguments.split_whitespace());
    command.current_dir(folder).output().unwrap()
}
