//! The real Envoy.

use std::path::Path;
use std::process::Command;

use super::{BOUND, GuestLine};

/// Each line of the log begins with the thread's id.
const LOG_FORMAT: &str = "%t %v";

pub(super) fn command(program: &Path, bootstrap: &Path) -> Command {
    let [setpriv, options @ ..] = BOUND;
    let mut command = Command::new(setpriv);
    command
        .args(options)
        .arg(program)
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--use-dynamic-base-id",
        ])
        .args(["--log-level", "info", "--log-format", LOG_FORMAT, "-c"])
        .arg(bootstrap);
    command
}

/// `42 wasm log PLUGIN ROOT_ID VM_ID: TEXT`. What the main thread runs, to try
/// out a configuration and for itself, is left out.
pub(super) fn guest_line(line: &str, main_thread: u32) -> Option<GuestLine> {
    let (thread, message) = line.split_once(' ')?;
    let logged = message.strip_prefix("wasm log")?;
    if thread == main_thread.to_string() {
        return None;
    }
    let (who, text) = logged
        .split_once(": ")
        .or_else(|| Some((logged.strip_suffix(':')?, "")))?;
    Some(GuestLine {
        plugin: who.split_whitespace().next().unwrap_or_default().to_owned(),
        text: text.to_owned(),
    })
}

/// What a guest says in a line, on the main thread too.
pub(super) fn said(line: &str) -> Option<String> {
    let (_, logged) = line.split_once(" wasm log")?;
    let (_, text) = logged.split_once(": ")?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_s_guests_are_heard() {
        let line = guest_line("43 wasm log g/c/a g/c/a vm: #2 log: x", 42);
        let expected = GuestLine {
            plugin: "g/c/a".to_owned(),
            text: "#2 log: x".to_owned(),
        };
        assert_eq!(line, Some(expected));
        assert_eq!(guest_line("42 wasm log g/c/a: #1 tick", 42), None);
        assert_eq!(guest_line("43 all clusters initialized", 42), None);
    }
}
