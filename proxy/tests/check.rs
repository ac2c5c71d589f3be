//! `weir check` on what can be wrong with a configuration and with the modules
//! that it names: each folder of `tests/check` holds a `weir.yaml`, modules as
//! text, and in `expected.txt` what is printed.
//!
//! `WEIR_UPDATE_GOLDEN=1` writes what is printed now to `expected.txt`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use weir_conformance::{Weir, check, command};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// Puts the case's modules into `folder`, those in text form as binaries.
fn modules(case: &Path, folder: &Path) {
    for entry in fs::read_dir(case).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.extension().is_some_and(|e| e == "wat") {
            let module = wat::parse_file(&path).unwrap();
            fs::write(folder.join(name).with_extension("wasm"), module).unwrap();
        } else if path.extension().is_some_and(|e| e == "wasm") {
            fs::copy(&path, folder.join(name)).unwrap();
        }
    }
}

#[test]
fn every_problem_is_told_with_its_place() {
    let update = std::env::var_os("WEIR_UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let config = fs::read_to_string(case.join("weir.yaml")).unwrap();
        let (passed, printed) = check(&config, |folder| modules(&case, folder));
        assert_eq!(passed, name.starts_with("ok-"), "{name}:\n{printed}");
        let expected = case.join("expected.txt");
        if update {
            fs::write(&expected, &printed).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != printed {
            wrong.push(format!("--- {name}\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn run_refuses_what_check_refuses() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check/module-not-there");
    let config = fs::read_to_string(case.join("weir.yaml")).unwrap();
    let ended = std::panic::catch_unwind(|| Weir::start(&config));
    let message = *ended.err().unwrap().downcast::<String>().unwrap();
    assert!(message.contains("exit status: 1"), "{message}");
    assert!(message.contains("cannot read the module"), "{message}");
}

#[test]
fn a_port_in_use_is_told_with_its_place() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!(
        "admin: {{ address: 127.0.0.1:0 }}\nlisteners:\n- name: edge\n  address: {address}\n  \
         routes: []\n"
    );
    let ended = std::panic::catch_unwind(|| Weir::start(&config));
    let message = *ended.err().unwrap().downcast::<String>().unwrap();
    let expected = format!("weir.yaml:4:12: listener `edge` cannot bind {address}: ");
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn who_has_read_enough_may_close_the_pipe() {
    let mut command = command();
    let command = command.arg("schema").stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    // It is longer than a pipe holds.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}
