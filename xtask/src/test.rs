//! `cargo xtask test`: everything that has to hold.

use anyhow::Result;

use crate::process::{self, cargo};
use crate::progress::Progress;
use crate::{filters, guests, layout, lint};

pub(crate) fn run() -> Result<()> {
    let mut progress = Progress::start();
    let whole = |work: fn() -> Result<()>| move || work().map(|()| Vec::new());
    if process::is_ci() {
        progress.phase("lint", whole(lint::run));
    }
    progress.phase("filters", whole(filters::run));
    progress.phase("guests in other languages", guests::build);
    progress.phase("unit tests of the filters", whole(test_filters));
    progress.phase("tests of the workspace", whole(test_workspace));
    progress.finish()
}

fn test_filters() -> Result<()> {
    process::run(
        cargo()
            .current_dir(layout::filters())
            .args(["test", "--workspace", "--target-dir"])
            .arg(layout::native_target()),
    )
}

/// The tests find the modules by `WEIR_FILTERS_DIR`.
fn test_workspace() -> Result<()> {
    process::run(
        cargo()
            .current_dir(layout::root())
            .args(["test", "--workspace"])
            .env("WEIR_FILTERS_DIR", layout::modules()),
    )
}
