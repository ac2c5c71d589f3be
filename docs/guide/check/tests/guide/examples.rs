//! The filters that the guide shows parts of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use weir_guide::root;

use crate::{book, module};

fn folder() -> PathBuf {
    root().join("docs/guide/examples")
}

/// Names of the examples: each has a suite.
fn examples() -> Vec<String> {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let examples = manifest.split("[[example]]").skip(1);
    let name = |example: &str| example.split('"').nth(1).unwrap().to_owned();
    examples.map(name).collect()
}

fn test(folder: &Path, suite: &str, module: &Path) -> Output {
    let module = module.to_str().unwrap();
    weir_conformance::run(folder, &["filter", "test", suite, "--plugin", module])
}

/// Runs the suite in `file`; panics with what it printed unless all tests pass.
#[track_caller]
pub(crate) fn passes(folder: &Path, suite: &str, module: &Path) {
    let output = test(folder, suite, module);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{suite}: {printed}");
    assert!(!printed.contains(" 0 passed"), "{suite}: {printed}");
}

#[test]
fn every_example_passes_its_suite() {
    let examples = examples();
    assert!(!examples.is_empty());
    for name in &examples {
        passes(&folder(), &format!("{name}.tests.yaml"), &module(name));
    }
    let suites = fs::read_dir(folder()).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_str().unwrap().ends_with(".tests.yaml")
    });
    assert_eq!(suites.count(), examples.len());
}

#[test]
fn every_example_is_shown() {
    let book = book();
    let chapters: String = book
        .chapters()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for name in examples() {
        let file = format!("../examples/{}.rs:", name.replace('-', "_"));
        assert!(chapters.contains(&file), "{name}");
    }
}
