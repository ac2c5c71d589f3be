//! The modules that are measured.

use std::error::Error;
use std::path::PathBuf;

use weir_abi::Module;

use crate::inputs::module_text;

/// The module that [`module_text`] has of `items`.
///
/// # Errors
/// When that is no module.
pub fn module(items: &str) -> Result<Module, Box<dyn Error>> {
    Ok(Module::compile(&wat::parse_str(module_text(items))?)?)
}

/// A filter made with the Rust SDK, such as `hello`; `None`, and a line that says so,
/// when it has not been built.
///
/// # Errors
/// When the file is no module.
pub fn built(name: &str) -> Result<Option<Module>, Box<dyn Error>> {
    let folder = std::env::var_os("WEIR_FILTERS_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/filters"),
        PathBuf::from,
    );
    let path = folder.join(name).with_extension("wasm");
    if !path.exists() {
        eprintln!(
            "skipped, as {} is missing; `cargo xtask filters` or `cargo xtask guests` builds it",
            path.display()
        );
        return Ok(None);
    }
    Ok(Some(Module::compile(&std::fs::read(path)?)?))
}
