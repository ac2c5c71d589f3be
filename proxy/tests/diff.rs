//! `weir diff`, and `POST /reload`, which tells the same.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use weir_conformance::guests::numbered;
use weir_conformance::{Weir, run};

const OLD: &str = "
workers: 2
admin: { address: 127.0.0.1:0 }
listeners:
- name: edge
  address: 127.0.0.1:0
  http_filters:
  - name: auth
    wasm: { vm_config: { vm_id: auth, code: { local: { filename: a.wasm } } } }
  - name: log
    wasm: { vm_config: { vm_id: log, code: { local: { filename: a.wasm } } } }
  routes:
  - { match: { prefix: /api }, cluster: api }
  - { match: { prefix: / }, cluster: web }
- { name: inner, address: 127.0.0.1:0 }
clusters:
- { name: api, endpoints: [127.0.0.1:9000] }
- { name: web, endpoints: [127.0.0.1:9001] }
";

/// [`OLD`], with some of it replaced.
fn with(replacements: &[(&str, &str)]) -> String {
    let mut text = OLD.to_owned();
    for (old, new) in replacements {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    text
}

/// Exit code, standard output and standard error of `weir diff ARGS old.yaml new.yaml`.
fn diff(new: &str, args: &[&str]) -> (i32, String, String) {
    let folder = TempDir::new().unwrap();
    for (name, number) in [("a.wasm", 1), ("b.wasm", 2)] {
        fs::write(folder.path().join(name), numbered(number)).unwrap();
    }
    fs::write(folder.path().join("old.yaml"), OLD).unwrap();
    fs::write(folder.path().join("new.yaml"), new).unwrap();
    let args = [&["diff"], args, &["old.yaml", "new.yaml"]].concat();
    let output = run(folder.path(), &args);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn two_that_are_the_same_differ_in_nothing() {
    let same = with(&[("\nworkers: 2\n", "\n# Two.\nworkers:   2\n")]);
    let (code, printed, _) = diff(&same, &[]);
    assert_eq!((code, printed.as_str()), (0, "nothing changes\n"));
}

/// The listener `inner` with a filter chain that is for some connections only.
const INNER_CHAINS: &str = "- name: inner\n  address: 127.0.0.1:0\n  \
     filter_chains: [{ name: a, match: { destination_port: 1 } }]";

#[test]
fn every_change_is_told_by_what_it_changes() {
    let (vm, filters) = (
        "~ VM auth (vm_id auth): code\n",
        "~ listener edge: connections kept; filters: [auth, log] with new VMs\n",
    );
    let cases = [
        (with(&[("a.wasm", "b.wasm")]), format!("{vm}{filters}")),
        (
            with(&[("wasm: { vm", "wasm: { configuration: x, vm")]),
            format!("~ VM auth (vm_id auth): configuration of auth\n{filters}"),
        ),
        (
            with(&[("- { name: inner, address: 127.0.0.1:0 }\n", "")]),
            "- listener inner: connections drained; 127.0.0.1:0\n".to_owned(),
        ),
        (
            with(&[(
                "inner, address: 127.0.0.1:0",
                "inner, address: 127.0.0.1:8099",
            )]),
            "~ listener inner: connections drained; 127.0.0.1:0 -> 127.0.0.1:8099\n".to_owned(),
        ),
        (
            with(&[("name: inner,", "name: inner, http: { codec: http2 },")]),
            "~ listener inner: connections drained; http\n".to_owned(),
        ),
        (
            with(&[("prefix: / }, cluster: web", "prefix: / }, cluster: api")]),
            "~ route edge/default/prefix /: web -> api\n".to_owned(),
        ),
        (
            with(&[("  - { match: { prefix: /api }, cluster: api }\n", "")]),
            "- route edge/default/prefix /api\n".to_owned(),
        ),
        (
            with(&[
                ("prefix: /api }, cluster: api", "prefix: / }, cluster: web"),
                (
                    "prefix: / }, cluster: web }\n- ",
                    "prefix: /api }, cluster: api }\n- ",
                ),
            ]),
            "~ route edge/default: order of routes\n".to_owned(),
        ),
        (
            with(&[("[127.0.0.1:9001]", "[127.0.0.1:9002], connect_timeout: 1s")]),
            "~ cluster web: +127.0.0.1:9002; -127.0.0.1:9001; settings\n".to_owned(),
        ),
        (
            with(&[(
                "clusters:",
                "clusters:\n- { name: new, endpoints: [127.0.0.1:1] }",
            )]),
            "+ cluster new\n".to_owned(),
        ),
        (
            with(&[("workers: 2", "drain_timeout: 5s\nworkers: 2")]),
            "~ setting drain_timeout\n".to_owned(),
        ),
        (
            with(&[("workers: 2", "workers: 3")]),
            "! a reload would be refused: `workers` can only be changed by a restart\n".to_owned(),
        ),
        (
            with(&[("- { name: inner, address: 127.0.0.1:0 }", INNER_CHAINS)]),
            "~ listener inner: connections drained\n\
             + filter chain inner/a\n\
             - filter chain inner: connections drained\n"
                .to_owned(),
        ),
    ];
    for (new, expected) in cases {
        let (code, printed, complaints) = diff(&new, &[]);
        assert_eq!((code, printed), (1, expected), "{complaints}\n{new}");
    }
}

#[test]
fn json_tells_what_is_kept_too() {
    let new = with(&[
        ("a.wasm", "b.wasm"),
        ("/api }, cluster: api", "/api }, cluster: web"),
    ]);
    let (code, printed, _) = diff(&new, &["--json"]);
    let json: Json = serde_json::from_str(&printed).unwrap();
    assert_eq!(code, 1);
    assert_eq!(
        json,
        json!({
            "vms": [
                { "name": "auth (vm_id auth)", "change": "changed", "details": ["code"] },
                { "name": "log (vm_id log)", "change": "kept" },
            ],
            "listeners": [
                {
                    "name": "edge",
                    "change": "changed",
                    "details": ["filters: [auth, log] with new VMs"],
                    "connections": "kept",
                },
                { "name": "inner", "change": "kept", "connections": "kept" },
            ],
            "filter_chains": [],
            "routes": [
                {
                    "name": "edge/default/prefix /api",
                    "change": "changed",
                    "details": ["api -> web"],
                },
                { "name": "edge/default/prefix /", "change": "kept" },
            ],
            "clusters": [
                { "name": "api", "change": "kept" },
                { "name": "web", "change": "kept" },
            ],
            "settings": [],
            "changed": true,
            "refused": null,
        })
    );
}

#[test]
fn one_that_is_not_valid_is_trouble() {
    let (code, printed, complaints) = diff(&with(&[("cluster: web", "cluster: wep")]), &[]);
    assert_eq!((code, printed.as_str()), (2, ""));
    assert!(complaints.contains("new.yaml:14:"), "{complaints}");
    let folder = TempDir::new().unwrap();
    assert_eq!(
        run(folder.path(), &["diff", "a", "b"]).status.code(),
        Some(2)
    );
}

#[test]
fn a_reload_tells_the_same() {
    let weir = Weir::start_with(OLD, |folder| {
        fs::write(folder.join("a.wasm"), numbered(1)).unwrap();
        fs::write(folder.join("b.wasm"), numbered(2)).unwrap();
    });
    let new = with(&[
        ("a.wasm", "b.wasm"),
        ("[127.0.0.1:9001]", "[127.0.0.1:9002]"),
    ]);
    let report = weir.reload_with(&new);
    let (_, printed, _) = diff(&new, &[]);
    let summary = "generation 2, 2 listeners, 1 VMs kept, 1 new\n";
    assert_eq!(report, format!("{summary}{printed}"));
    assert_eq!(
        weir.reload_with(&new),
        "generation 3, 2 listeners, 2 VMs kept, 0 new\n"
    );
}

#[test]
fn the_schema_is_printed() {
    let folder = TempDir::new().unwrap();
    let output = run(folder.path(), &["schema"]);
    assert!(output.status.success());
    let schema: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$ref"], "#/$defs/configuration");
}
