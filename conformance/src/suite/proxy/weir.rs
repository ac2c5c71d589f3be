//! Weir.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{BOUND, GuestLine};

/// One CPU is one worker, as Envoy has in the suite: contexts are then numbered in
/// one VM.
pub(super) fn command(program: &Path, bootstrap: &Path) -> Command {
    let mut command = Command::new("taskset");
    command
        .args(["--cpu-list", &first_cpu()])
        .args(BOUND)
        .arg(program)
        .args(["run", "--lenient", "--envoy"])
        .arg(bootstrap)
        .env("WEIR_LOG", "info,pingora_core=warn,guest=info");
    command
}

/// The first CPU that this process may run on.
fn first_cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let first = allowed.and_then(|list| list.trim().split([',', '-']).next());
    first.unwrap_or("0").to_owned()
}

/// `TIME LEVEL guest: TEXT plugin="…" root_id="…" vm_id="…"`
pub(super) fn guest_line(line: &str) -> Option<GuestLine> {
    let (_, logged) = line.split_once(" guest: ")?;
    let (text, fields) = logged.rsplit_once(" plugin=\"")?;
    let (plugin, _) = fields.split_once('"')?;
    Some(GuestLine {
        plugin: plugin.to_owned(),
        text: text.to_owned(),
    })
}

/// What a guest says in a line; of several lines, the first.
pub(super) fn said(line: &str) -> Option<String> {
    let (_, logged) = line.split_once(" guest: ")?;
    let text = logged.rsplit_once(" plugin=\"");
    Some(text.map_or(logged, |(text, _)| text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_is_told_by_its_plugin() {
        let line =
            "2026-01-01T00:00:00Z  INFO guest: #1 tick plugin=\"g/c/a\" root_id=\"r\" vm_id=\"v\"";
        let expected = GuestLine {
            plugin: "g/c/a".to_owned(),
            text: "#1 tick".to_owned(),
        };
        assert_eq!(guest_line(line), Some(expected));
    }
}
