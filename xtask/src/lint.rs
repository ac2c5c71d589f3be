//! `cargo xtask lint`: formatting and lints of both workspaces.

use anyhow::Result;

use crate::process::{self, cargo};
use crate::progress::step;
use crate::{layout, workspace};

pub(crate) fn run() -> Result<()> {
    workspace::prepare()?;
    let workspaces = [
        ("workspace", layout::root().to_owned(), None),
        ("filters", layout::filters(), Some(layout::native_target())),
    ];
    for (name, folder, target) in workspaces {
        step(&format!("{name}: cargo fmt --check"), || {
            process::run(
                cargo()
                    .current_dir(&folder)
                    .args(["fmt", "--all", "--check"]),
            )
        })?;
        step(&format!("{name}: cargo clippy"), || {
            let mut clippy = cargo();
            clippy
                .current_dir(&folder)
                .args(["clippy", "--workspace", "--all-targets"]);
            if let Some(target) = target {
                clippy.arg("--target-dir").arg(target);
            }
            process::build(clippy.args(["--", "-D", "warnings"]))
        })?;
    }
    Ok(())
}
