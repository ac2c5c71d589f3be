//! The modules that are measured.

use std::error::Error;
use std::path::PathBuf;

use weir_abi::Module;

/// What the filter hello is configured with.
pub const HELLO_CONFIGURATION: &str = r#"{"request":"from Weir","response":"from Weir"}"#;

/// A module of ABI 0.2.1 in text form: `items`, which may begin with imports, a
/// memory, and an allocator that hands out the same block again and again.
///
/// # Errors
/// When that is no module.
pub fn module(items: &str) -> Result<Module, Box<dyn Error>> {
    let text = format!(
        r#"(module {items}
          (memory (export "memory") 2)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32)
            (i32.const 65536)))"#
    );
    Ok(Module::compile(&wat::parse_str(text)?)?)
}

/// What hello does, by hand: sets a header in each direction. It has the callbacks that
/// the Rust SDK has.
pub const HEADERS: &str = include_str!("headers.wat");

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
