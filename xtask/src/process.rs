//! Running other programs.

use std::fs::{self, File};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::layout;

/// Whether nobody watches: `CI` is set to something other than a no.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// The cargo that runs this program. What it makes lies where it is looked for,
/// [`layout`](crate::layout).
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env_remove("CARGO_TARGET_DIR");
    cargo
}

/// A process that is killed, if it has not ended, when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program with its output in view.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    succeeded(command, status)
}

/// Runs a build step: with its output in view, but in CI only if it fails.
pub(crate) fn build(command: &mut Command) -> Result<()> {
    if is_ci() {
        run_quietly(command)
    } else {
        run(command)
    }
}

/// Runs a program and shows its output only if it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    fs::create_dir_all(layout::logs())?;
    let path = layout::logs().join(format!("{}.log", std::process::id()));
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        io::copy(&mut File::open(&path)?, &mut io::stderr())?;
    }
    fs::remove_file(&path)?;
    succeeded(command, status)
}

/// The standard output of a program without surrounding blanks; none if it cannot
/// be started or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

/// Runs a program silently; false if it cannot be started, fails, or does not end
/// in time.
pub(crate) fn succeeds_within(command: &mut Command, limit: Duration) -> bool {
    let silent = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let Ok(mut child) = silent.spawn() else {
        return false;
    };
    let output = child.stdout.take();
    let (sender, ended) = mpsc::channel();
    // its output ends when it does
    thread::spawn(move || {
        output.map(|mut output| io::copy(&mut output, &mut io::sink()));
        sender.send(())
    });
    if ended.recv_timeout(limit).is_err() {
        // it may have ended just now, which is as good
        child.kill().ok();
    }
    child.wait().is_ok_and(|status| status.success())
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}

/// The command as a person would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn program_succeeds_in_time_or_not_at_all() {
        assert!(succeeds_within(&mut Command::new("true"), LONG));
        assert!(!succeeds_within(&mut Command::new("false"), LONG));
        assert!(!succeeds_within(&mut Command::new("no-such-program"), LONG));
        let mut endless = Command::new("sleep");
        assert!(!succeeds_within(
            endless.arg("600"),
            Duration::from_millis(50)
        ));
    }
}
