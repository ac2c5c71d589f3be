//! `weir filter new`: projects that build, and whose tests pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

use super::{has, module, run};

/// Makes a project, and gives its folder and the commands that were printed.
fn new_project(folder: &Path, lang: &str) -> (PathBuf, Vec<String>) {
    let path = folder.join(lang);
    let arguments = [
        "new",
        "--lang",
        lang,
        "my-filter",
        "--path",
        path.to_str().unwrap(),
    ];
    let out = run(&arguments).passed();
    let commands = out.lines().filter_map(|line| line.strip_prefix("    "));
    (path.clone(), commands.map(str::to_owned).collect())
}

/// Runs the printed commands up to the tests, with `weir-filter` for `weir filter`.
fn build_and_test(folder: &Path, commands: &[String], setup: &str) {
    let own = env!("CARGO_BIN_EXE_weir-filter");
    let commands: Vec<_> = commands[1..commands.len() - 1]
        .iter()
        .filter(|command| !command.starts_with("rustup") && !setup.contains(&command[..7]))
        .map(|command| command.replace("weir filter", own))
        .collect();
    assert!(
        commands.last().unwrap().contains("test tests.yaml"),
        "{commands:?}"
    );
    for command in &commands {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder)
            .output()
            .unwrap();
        let text =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}:\n{text}");
    }
}

#[test]
fn a_new_project_in_rust_builds_and_its_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let (path, commands) = new_project(folder.path(), "rust");
    build_and_test(&path, &commands, "");
}

#[test]
fn a_new_project_in_go_builds_and_its_tests_pass() {
    if Command::new("go").arg("version").output().is_err() {
        eprintln!("there is no Go here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, commands) = new_project(folder.path(), "go");
    build_and_test(&path, &commands, "");
}

#[test]
fn a_new_project_in_assemblyscript_builds_and_its_tests_pass() {
    // What the filter among those in several languages is built with.
    let languages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters/languages");
    let modules = languages.join("assemblyscript/node_modules").canonicalize();
    let Ok(modules) = modules else {
        eprintln!("there is no AssemblyScript here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (path, commands) = new_project(folder.path(), "assemblyscript");
    std::os::unix::fs::symlink(modules, path.join("node_modules")).unwrap();
    build_and_test(&path, &commands, "npm install");
}

/// Builds and tests a project with the Zig that builds the filters in C and Zig.
fn zig_project_works(lang: &str) {
    let built = Path::new(&module("tour-zig")).exists();
    if !built || std::env::var_os("WEIR_ZIG").is_some() {
        eprintln!("there is no Zig of the package index here");
        return;
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = target.canonicalize().unwrap();
    let zig = target.join("toolchains/ziglang-0.17.1");
    assert!(zig.exists(), "{}", zig.display());
    let folder = tempfile::tempdir().unwrap();
    let (path, commands) = new_project(folder.path(), lang);
    let commands: Vec<_> = commands
        .iter()
        .map(|command| {
            // With the libc that it has compiled there.
            let variables = format!(
                "ZIG_GLOBAL_CACHE_DIR={}/guests/zig PYTHONPATH={}",
                target.display(),
                zig.display()
            );
            command.replace("PYTHONPATH=.zig", &variables)
        })
        .collect();
    assert!(
        commands[1].contains("pip install --target .zig ziglang==0.17.1"),
        "{commands:?}"
    );
    build_and_test(&path, &[&commands[..1], &commands[2..]].concat(), "");
}

#[test]
fn a_new_project_in_c_builds_and_its_tests_pass() {
    zig_project_works("c");
}

#[test]
fn a_new_project_in_zig_builds_and_its_tests_pass() {
    zig_project_works("zig");
}

#[test]
fn the_filter_in_every_language_passes_one_suite() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../filters/languages/tour.yaml");
    for (language, told) in [
        // The others leave no traces.
        ("rust", "Rust"),
        ("c", ""),
        ("zig", ""),
        ("go", "Go"),
        ("assemblyscript", ""),
        ("javascript", ""),
    ] {
        let plugin = module(&format!("tour-{language}"));
        let out = run(&["test", suite.to_str().unwrap(), "--plugin", &plugin]).passed();
        has(&out, &["test asks a service, and says who it is ... ok"]);
        let json = run(&["inspect", &plugin, "--format", "json"]).passed();
        let json: Json = serde_json::from_str(&json).unwrap();
        let found = json["language"].as_str().unwrap_or_default();
        assert!(found.starts_with(told), "{language}: {found}");
        assert_eq!(
            json["hosts"][0]["loads"], true,
            "{language}: {}",
            json["hosts"][0]
        );
    }
}

#[test]
fn a_project_is_made_once_and_under_a_name_that_all_languages_take() {
    let folder = tempfile::tempdir().unwrap();
    new_project(folder.path(), "c");
    let path = folder.path().join("c");
    let again = [
        "new",
        "--lang",
        "c",
        "my-filter",
        "--path",
        path.to_str().unwrap(),
    ];
    has(&run(&again).failed(), &["is there already"]);
    for name in ["My-filter", "9lives", "a--b", "a_b", "end-"] {
        has(
            &run(&["new", "--lang", "rust", name]).failed(),
            &["is no name for a filter"],
        );
    }
}
