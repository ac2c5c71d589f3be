//! [`Project`]: where a module is built, and how.

use std::path::{Path, PathBuf};

use crate::scaffold::Language;

/// Files by which a project is known, in this order.
const MARKS: [&str; 4] = ["Cargo.toml", "go.mod", "package.json", "Makefile"];

/// Where a module is built, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Project {
    pub(super) folder: PathBuf,
    /// What it was known by.
    pub(super) mark: &'static str,
    /// For a shell in the folder.
    pub(super) command: String,
    /// Variables that the command gets.
    pub(super) environment: Vec<(String, String)>,
}

impl Project {
    /// The project of a module, an absolute path: in the nearest folder above it with a
    /// file that tells how it is built. The search ends where a repository begins.
    /// `command` takes the place of what that file would say; the project may be the
    /// module's own folder then.
    pub(super) fn of(module: &Path, command: Option<&str>) -> Option<Self> {
        let own = module.parent()?;
        for folder in own.ancestors() {
            for mark in MARKS {
                if !folder.join(mark).is_file() {
                    continue;
                }
                let module = module.strip_prefix(folder).ok();
                let usual = module.and_then(|module| recipe(mark, module));
                let built = match (command, usual) {
                    (Some(command), usual) => {
                        let environment = usual.map(|(_, environment)| environment);
                        Some((command.to_owned(), environment.unwrap_or_default()))
                    }
                    (None, usual) => usual,
                };
                if let Some((command, environment)) = built {
                    return Some(Self {
                        folder: folder.to_owned(),
                        mark,
                        command,
                        environment,
                    });
                }
            }
            if folder.join(".git").exists() {
                break;
            }
        }
        command.map(|command| Self {
            folder: own.to_owned(),
            mark: "--build",
            command: command.to_owned(),
            environment: Vec::new(),
        })
    }
}

/// A command, and variables that it gets.
type Recipe = (String, Vec<(String, String)>);

/// How a project that is known by `mark` builds `module`, a path within it; `None` if it
/// does not.
fn recipe(mark: &str, module: &Path) -> Option<Recipe> {
    let plain = |command: String| Some((command, Vec::new()));
    match mark {
        "Cargo.toml" => cargo(module),
        "go.mod" => plain(Language::Go.build(&quoted(module)).join(" && ")),
        "package.json" => plain("test -d node_modules || npm install && npm run build".to_owned()),
        _ => plain("make".to_owned()),
    }
}

/// Cargo builds what is at `target/TARGET/PROFILE/NAME.wasm`. Line tables are added, which
/// cost a filter nothing but bytes: a backtrace is into the source then.
fn cargo(module: &Path) -> Option<Recipe> {
    let parts: Vec<_> = module.iter().map(|part| part.to_str()).collect();
    let [Some("target"), Some(target), Some(profile), Some(_)] = parts[..] else {
        return None;
    };
    if !target.starts_with("wasm32-") {
        return None;
    }
    let (option, name) = match profile {
        "debug" => (String::new(), "DEV".to_owned()),
        "release" => (" --release".to_owned(), "RELEASE".to_owned()),
        other => (
            format!(" --profile {other}"),
            other.to_uppercase().replace('-', "_"),
        ),
    };
    let variable =
        |setting: &str, value: &str| (format!("CARGO_PROFILE_{name}_{setting}"), value.to_owned());
    Some((
        format!("cargo build{option} --target {target}"),
        vec![
            variable("DEBUG", "line-tables-only"),
            variable("STRIP", "none"),
        ],
    ))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if path.chars().all(plain) {
        return path;
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with these files.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        // Nothing above it counts.
        fs::create_dir(folder.path().join(".git")).unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    /// Folder, mark and command of the project of a module.
    fn found(
        files: &[&str],
        module: &str,
        command: Option<&str>,
    ) -> Option<(String, &'static str, String)> {
        let folder = folder(files);
        let project = Project::of(&folder.path().join(module), command)?;
        let within = project.folder.strip_prefix(folder.path()).unwrap();
        Some((within.display().to_string(), project.mark, project.command))
    }

    #[test]
    fn the_nearest_project_that_builds_the_module_is_found() {
        for (files, module, folder, mark, command) in [
            (
                &["Cargo.toml"][..],
                "target/wasm32-wasip1/release/a.wasm",
                "",
                "Cargo.toml",
                "cargo build --release --target wasm32-wasip1",
            ),
            (
                &["Makefile", "a/Cargo.toml"],
                "a/target/wasm32-unknown-unknown/debug/a.wasm",
                "a",
                "Cargo.toml",
                "cargo build --target wasm32-unknown-unknown",
            ),
            (
                &["Cargo.toml"],
                "target/wasm32-wasip1/wasm-small/a.wasm",
                "",
                "Cargo.toml",
                "cargo build --profile wasm-small --target wasm32-wasip1",
            ),
            (
                &["go.mod"],
                "out/it's.wasm",
                "",
                "go.mod",
                "GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared \
                 -o 'out/it'\\''s.wasm' .",
            ),
            (
                &["package.json"],
                "build/a.wasm",
                "",
                "package.json",
                "test -d node_modules || npm install && npm run build",
            ),
            // Cargo does not build this one.
            (
                &["Makefile", "a/Cargo.toml"],
                "a/dist/a.wasm",
                "",
                "Makefile",
                "make",
            ),
        ] {
            let expected = (folder.to_owned(), mark, command.to_owned());
            assert_eq!(found(files, module, None), Some(expected), "{module}");
        }
        assert_eq!(found(&["Cargo.toml"], "target/filters/a.wasm", None), None);
        assert_eq!(found(&[], "a.wasm", None), None);
    }

    #[test]
    fn a_command_that_is_given_runs_where_the_project_is() {
        let run = |files: &[&str], module: &str| {
            let (folder, mark, command) = found(files, module, Some("sh build.sh")).unwrap();
            assert_eq!(command, "sh build.sh");
            (folder, mark)
        };
        let root = (String::new(), "Cargo.toml");
        assert_eq!(run(&["Cargo.toml"], "target/filters/a.wasm"), root);
        assert_eq!(run(&[], "c/a.wasm"), ("c".to_owned(), "--build"));
    }
}
