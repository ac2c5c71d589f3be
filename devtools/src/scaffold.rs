//! New projects: templates that are part of the binary.

use std::fs;
use std::path::Path;

/// A file of a project.
type File = (&'static str, &'static str);

/// The files that every project has.
const COMMON: &[File] = &[
    ("tests.yaml", include_str!("../templates/common/tests.yaml")),
    ("weir.yaml", include_str!("../templates/common/weir.yaml")),
];

/// The ABI in C, and in Zig.
const PROXY_WASM_H: &str = include_str!("../../filters/languages/c/proxy_wasm.h");
const PROXY_WASM_ZIG: &str = include_str!("../../filters/languages/zig/proxy_wasm.zig");

/// A language that projects are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    Go,
    AssemblyScript,
    C,
    Zig,
}

impl Language {
    fn files(self) -> &'static [File] {
        match self {
            Self::Rust => &[
                ("Cargo.toml", include_str!("../templates/rust/Cargo.toml")),
                ("src/lib.rs", include_str!("../templates/rust/src/lib.rs")),
                (".gitignore", "/target\n"),
            ],
            Self::Go => &[
                ("go.mod", include_str!("../templates/go/go.mod")),
                ("go.sum", include_str!("../templates/go/go.sum")),
                ("main.go", include_str!("../templates/go/main.go")),
                (".gitignore", "*.wasm\n"),
            ],
            Self::AssemblyScript => &[
                (
                    "package.json",
                    include_str!("../templates/assemblyscript/package.json"),
                ),
                (
                    "asconfig.json",
                    include_str!("../templates/assemblyscript/asconfig.json"),
                ),
                (
                    "assembly/index.ts",
                    include_str!("../templates/assemblyscript/assembly/index.ts"),
                ),
                (".gitignore", "/build\n/node_modules\n"),
            ],
            Self::C => &[
                ("filter.c", include_str!("../templates/c/filter.c")),
                ("proxy_wasm.h", PROXY_WASM_H),
                (".gitignore", "*.wasm\n/.zig\n"),
            ],
            Self::Zig => &[
                ("filter.zig", include_str!("../templates/zig/filter.zig")),
                ("proxy_wasm.zig", PROXY_WASM_ZIG),
                (".gitignore", "*.wasm\n/.zig\n/.zig-cache\n"),
            ],
        }
    }

    /// Where the module is when it has been built.
    fn module(self, name: &str) -> String {
        match self {
            Self::Rust => {
                let file = name.replace('-', "_");
                format!("target/wasm32-wasip1/release/{file}.wasm")
            }
            Self::AssemblyScript => format!("build/{name}.wasm"),
            Self::Go | Self::C | Self::Zig => format!("{name}.wasm"),
        }
    }

    /// The commands that build it, in the project's folder.
    pub(crate) fn build(self, module: &str) -> Vec<String> {
        let commands: &[&str] = match self {
            Self::Rust => &[
                "rustup target add wasm32-wasip1",
                "cargo build --release --target wasm32-wasip1",
            ],
            Self::Go => {
                let go = "GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared";
                return vec![format!("{go} -o {module} .")];
            }
            Self::AssemblyScript => &["npm install", "npm run build"],
            Self::C => {
                let options =
                    "-target wasm32-wasi -mexec-model=reactor -O2 -s -Wl,-z,stack-size=65536";
                return zig(&format!("cc {options} -o {module} filter.c"));
            }
            Self::Zig => {
                let options = "-target wasm32-freestanding -O ReleaseSafe -fstrip -fno-entry -rdynamic --stack 65536";
                return zig(&format!(
                    "build-exe filter.zig {options} -femit-bin={module}"
                ));
            }
        };
        commands
            .iter()
            .map(|command| (*command).to_owned())
            .collect()
    }
}

/// The commands that run Zig, which compiles C too, as Python's package index has it.
/// It goes into the project: many systems let nobody add to the packages of their Python.
fn zig(arguments: &str) -> Vec<String> {
    vec![
        format!("python3 -m pip install --target .zig {ZIG}"),
        format!("PYTHONPATH=.zig python3 -m ziglang {arguments}"),
    ]
}

/// The version decides what Zig takes.
const ZIG: &str = "ziglang==0.17.1";

/// The commands that build, test and run a project, in this order.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) build: Vec<String>,
    pub(crate) test: String,
    pub(crate) run: String,
}

/// Makes a project in `folder`, which must not be there yet.
///
/// # Errors
/// Why not: a name that no language takes, a folder that is there, a file that cannot be
/// written.
pub(crate) fn create(language: Language, name: &str, folder: &Path) -> Result<Commands, String> {
    check(name)?;
    if folder.exists() {
        return Err(format!("{} is there already", folder.display()));
    }
    let module = language.module(name);
    for (path, text) in language.files().iter().chain(COMMON) {
        let text = text
            .replace("{{name}}", name)
            .replace("{{module}}", &module);
        write(&folder.join(path), &text)?;
    }
    Ok(Commands {
        build: language.build(&module),
        test: "weir filter test tests.yaml".to_owned(),
        run: "weir run weir.yaml".to_owned(),
    })
}

/// A name that is one in every language, in a header and in a path.
fn check(name: &str) -> Result<(), String> {
    let is_letter = |c: char| c.is_ascii_lowercase();
    let fits = name.starts_with(is_letter)
        && !name.ends_with('-')
        && !name.contains("--")
        && name
            .chars()
            .all(|c| is_letter(c) || c.is_ascii_digit() || c == '-');
    fits.then_some(()).ok_or_else(|| {
        format!("`{name}` is no name for a filter: write it as `my-filter`, in small letters")
    })
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
