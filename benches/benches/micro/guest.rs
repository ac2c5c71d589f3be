//! The modules that are measured.

use std::path::PathBuf;

use weir_abi::Module;

/// What the filter hello is configured with.
pub(crate) const HELLO_CONFIGURATION: &str = r#"{"request":"from Weir","response":"from Weir"}"#;

/// A module of ABI 0.2.1 in text form: `items`, which may begin with imports, a
/// memory, and an allocator that hands out the same block again and again.
pub(crate) fn module(items: &str) -> Module {
    let text = format!(
        r#"(module {items}
          (memory (export "memory") 2)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32)
            (i32.const 65536)))"#
    );
    Module::compile(&wat::parse_str(text).unwrap()).unwrap()
}

/// The filter hello, made with the Rust SDK; `None`, and a line that says so,
/// when it has not been built.
pub(crate) fn hello() -> Option<Module> {
    let folder = std::env::var_os("WEIR_FILTERS_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/filters"),
        PathBuf::from,
    );
    let path = folder.join("hello.wasm");
    if !path.exists() {
        println!(
            "skipped, as {} is missing; `cargo xtask filters` builds it",
            path.display()
        );
        return None;
    }
    Some(Module::compile(&std::fs::read(path).unwrap()).unwrap())
}
