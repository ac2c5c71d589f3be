//! Every file `golden/*.yaml` has to be refused with the text of its `.txt`.
//!
//! `WEIR_UPDATE_GOLDEN=1 cargo test -p weir-config --test golden` writes the
//! texts anew; read them aloud before committing them.

#![allow(clippy::unwrap_used)]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(folder).unwrap();
    let mut cases: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension() == Some(OsStr::new("yaml")))
        .collect();
    cases.sort();
    cases
}

fn updating() -> bool {
    std::env::var_os("WEIR_UPDATE_GOLDEN").is_some()
}

#[test]
fn wrong_configurations_are_refused_in_the_expected_words() {
    let mut failures = Vec::new();
    for case in cases() {
        let text = fs::read_to_string(&case).unwrap();
        let name = case.file_name().unwrap().to_str().unwrap();
        let Err(errors) = weir_config::parse(name, &text) else {
            failures.push(format!("{name} is accepted"));
            continue;
        };
        let expected_file = case.with_extension("txt");
        if updating() {
            fs::write(&expected_file, errors.plain()).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_file).unwrap_or_default();
        if errors.plain() != expected {
            let found = errors.plain();
            failures.push(format!(
                "{name}\n--- expected\n{expected}--- found\n{found}"
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_expected_text_belongs_to_a_case() {
    if updating() {
        return;
    }
    for case in cases() {
        assert!(case.with_extension("txt").exists(), "{}", case.display());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{}", path.display());
    }
}
