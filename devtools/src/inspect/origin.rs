//! Language and SDK that a module comes from, as far as they leave traces.

use super::module::Contents;

/// What a module was made from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) language: Option<String>,
    pub(super) sdk: Option<String>,
}

/// What the module says of itself, its names, imports and exports tell of its origin.
pub(super) fn of(contents: &Contents) -> Origin {
    Origin {
        language: language(contents),
        sdk: sdk(contents).map(str::to_owned),
    }
}

fn named(contents: &Contents, part: &str) -> bool {
    contents.functions.iter().any(|name| name.contains(part))
}

fn language(contents: &Contents) -> Option<String> {
    let tool = |name: &str| {
        let tools = contents.producers.iter();
        let mut tools = tools.filter(|p| p.name.eq_ignore_ascii_case(name));
        tools.next().map(|p| p.version.clone())
    };
    let is_tinygo = tool("TinyGo").is_some() || named(contents, "tinygo_");
    let is_quickjs = named(contents, "JS_Eval") || named(contents, "JS_NewContext");
    if is_quickjs {
        return Some("JavaScript (QuickJS)".to_owned());
    }
    if is_tinygo {
        return Some("Go (TinyGo)".to_owned());
    }
    let with_version = |language: &str, version: &str| match version.is_empty() {
        true => language.to_owned(),
        false => format!("{language} {version}"),
    };
    let told = contents.producers.iter().find(|p| p.field == "language");
    if let Some(told) = told {
        let compiler = match told.name.as_str() {
            "Rust" => tool("rustc"),
            "Go" => tool("Go cmd/compile"),
            _ => None,
        };
        let version = compiler.unwrap_or_else(|| told.version.clone());
        return Some(with_version(&told.name, &version));
    }
    if named(contents, "~lib/") || contents.exports("__pin") || contents.imports("abort") {
        return Some("AssemblyScript".to_owned());
    }
    if named(contents, "runtime.goexit") || contents.exports("go_scheduler") {
        return Some("Go".to_owned());
    }
    if named(contents, "rust_begin_unwind") || named(contents, "__rust_alloc") {
        return Some("Rust".to_owned());
    }
    if contents.imports("emscripten_notify_memory_growth") {
        return Some("C++ (Emscripten)".to_owned());
    }
    tool("clang").map(|version| with_version("C or C++, clang", &version))
}

fn sdk(contents: &Contents) -> Option<&'static str> {
    let names = [
        ("proxy_wasm::", "proxy-wasm-rust-sdk"),
        ("proxy_wasm..", "proxy-wasm-rust-sdk"),
        (
            "github.com/higress-group/proxy-wasm-go-sdk",
            "Higress proxy-wasm-go-sdk",
        ),
        (
            "github.com/proxy-wasm/proxy-wasm-go-sdk",
            "proxy-wasm-go-sdk",
        ),
        (
            "github.com/tetratelabs/proxy-wasm-go-sdk",
            "proxy-wasm-go-sdk (tetratelabs)",
        ),
        (
            "proxy-wasm-assemblyscript-sdk",
            "proxy-wasm-assemblyscript-sdk",
        ),
        ("proxy_wasm_assemblyscript", "proxy-wasm-assemblyscript-sdk"),
        (
            "assembly/runtime/RootContext",
            "proxy-wasm-assemblyscript-sdk",
        ),
        ("RegisterContextFactory", "proxy-wasm-cpp-sdk"),
        ("getRootContext", "proxy-wasm-cpp-sdk"),
    ];
    let by_name = names.into_iter().find(|(part, _)| named(contents, part));
    by_name.map(|(_, sdk)| sdk)
}
