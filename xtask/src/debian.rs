//! Packages of Debian and its kin.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{output_of, run_quietly};
use crate::progress::step;

/// Installs the packages that are missing, if this user may.
///
/// # Errors
///
/// Says what to install when that is not possible.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.iter().all(|package| version(package).is_some()) {
        return Ok(());
    }
    let names = packages.join(" ");
    if output_of(Command::new("apt-get").arg("--version")).is_none() {
        bail!("this machine has no apt-get to install {names} with");
    }
    let Some(prefix) = privilege() else {
        bail!("missing packages, install them with `sudo apt-get install {names}`");
    };
    step(&format!("apt-get install {names}"), || {
        run_quietly(apt_get(prefix).args(["update", "-q"]))?;
        // all of them, so that those which must be of one version become so
        let options = ["install", "-q", "-y", "--no-install-recommends"];
        run_quietly(apt_get(prefix).args(options).args(packages))
    })
}

/// The version of an installed package.
pub(crate) fn version(package: &str) -> Option<String> {
    let format = "-f=${db:Status-Status} ${Version}";
    let status = output_of(Command::new("dpkg-query").args(["-W", format, package]))?;
    status.strip_prefix("installed ").map(str::to_owned)
}

/// The version that would be installed.
pub(crate) fn candidate(package: &str) -> Option<String> {
    let policy = output_of(Command::new("apt-cache").args(["policy", package]))?;
    let candidate = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (candidate != "(none)").then(|| candidate.to_owned())
}

/// What has to stand in front of a command that only root may run; none if this
/// user may not.
fn privilege() -> Option<&'static [&'static str]> {
    if output_of(Command::new("id").arg("-u")).as_deref() == Some("0") {
        return Some(&[]);
    }
    output_of(Command::new("sudo").args(["-n", "true"])).map(|_| &["sudo", "-n"][..])
}

fn apt_get(prefix: &[&str]) -> Command {
    let words = [
        prefix,
        &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"],
    ]
    .concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}
