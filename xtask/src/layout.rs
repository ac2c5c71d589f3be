//! Where things are.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The workspace of Weir's own filters.
pub(crate) fn filters() -> PathBuf {
    root().join("filters")
}

/// The same filter in several languages, a folder each.
pub(crate) fn languages() -> PathBuf {
    filters().join("languages")
}

/// The filters that the guide shows.
pub(crate) fn guide_examples() -> PathBuf {
    root().join("docs/guide/examples")
}

/// The guests of the conformance suite.
pub(crate) fn guests() -> PathBuf {
    root().join("conformance/guests")
}

/// The finished modules, each named after its folder.
pub(crate) fn modules() -> PathBuf {
    root().join("target/filters")
}

/// Cargo's target directory for guests, shared so that their standard library is
/// built once.
pub(crate) fn guest_target() -> PathBuf {
    root().join("target/guests")
}

/// Cargo's target directory for the filters' native tests and lints.
pub(crate) fn native_target() -> PathBuf {
    root().join("target/guests-native")
}

/// Toolchains that were fetched because the machine has none.
pub(crate) fn toolchains() -> PathBuf {
    root().join("target/toolchains")
}

/// Programs of others that the tests run.
pub(crate) fn programs() -> PathBuf {
    root().join("target/programs")
}

/// Output of build steps that is shown only if they fail.
pub(crate) fn logs() -> PathBuf {
    root().join("target/xtask-logs")
}
