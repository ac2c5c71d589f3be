//! `cargo xtask test`: everything that has to hold.

use anyhow::Result;

use crate::process::{self, cargo};
use crate::progress::Progress;
use crate::{
    book, budget, conformance, filters, guests, layout, lint, programs, stress, workspace,
};

pub(crate) fn run() -> Result<()> {
    let mut progress = Progress::start();
    let whole = |work: fn() -> Result<()>| move || work().map(|()| Vec::new());
    if process::is_ci() {
        progress.phase("lint", whole(lint::run));
    }
    progress.phase("programs of the tests", || Ok(programs::install()));
    progress.phase("filters", whole(filters::run));
    progress.phase("guests of the tests", guests::build);
    progress.phase("unit tests of the filters", whole(test_filters));
    progress.phase("tests of the workspace", whole(test_workspace));
    progress.phase("budget of instructions", || budget::run(false));
    progress.phase("pages of the guide", book::try_run);
    progress.phase("conformance with Envoy", || conformance::run(&[]));
    progress.phase("streams made by chance", || {
        conformance::run(&["--random", "1", "--count", "300"])
    });
    progress.phase("hostile guests", || {
        stress::fuzz(&["--seconds", stress::FUZZ_SECONDS]).map(|()| Vec::new())
    });
    for (name, way) in [
        ("guests interrupted by signals", None),
        ("guests that count", Some("--counter")),
    ] {
        progress.phase(name, || {
            let count = ["--count", stress::INTERRUPTS_COUNT];
            let arguments: Vec<_> = count.into_iter().chain(way).collect();
            stress::interrupts(&arguments).map(|()| Vec::new())
        });
    }
    progress.phase("chaos beside healthy requests", || {
        for arguments in stress::CHAOS {
            stress::chaos(arguments)?;
        }
        Ok(Vec::new())
    });
    progress.phase("callouts to servers that fail", || {
        stress::soak(&["--count", stress::SOAK_COUNT]).map(|()| Vec::new())
    });
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
    let mut test = workspace::cargo(&["test", "--workspace", "--no-fail-fast"])?;
    process::run(test.env("WEIR_FILTERS_DIR", layout::modules()))
}
