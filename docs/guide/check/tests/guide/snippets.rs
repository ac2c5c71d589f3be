//! Blocks of code: what each kind is held against.
//!
//! | Behind the backticks | |
//! |---|---|
//! | `rust` and other languages | shows a part of a file that is built, and nothing of its own |
//! | `yaml` | a configuration: `weir check` |
//! | `yaml filter` | entries of `http_filters` of one |
//! | `yaml suite` | a suite: `weir filter test` |
//! | `yaml tests` | tests of one, shown of a file that is run |
//! | `yaml envoy` | a bootstrap of Envoy's: `weir check --envoy` |
//! | `yaml envoy-filter` | an entry of `http_filters` of one |
//! | `json` | JSON |
//! | `console` | commands that are run, and what they print |
//! | `console fails` | the same, and the last one fails |

use std::fs;
use std::path::{Path, PathBuf};

use weir_conformance::{check, run};
use weir_guide::{fences, root, tidy};

use crate::{book, chapters, document, examples, followed_by, module};

/// Folders whose programs are built, and run by tests.
const BUILT: [&str; 3] = ["docs/guide/examples", "filters", "devtools/templates"];
const LANGUAGES: [&str; 8] = [
    "rust",
    "go",
    "typescript",
    "javascript",
    "c",
    "zig",
    "toml",
    "yaml tests",
];

/// What a snippet is held against in a test of its own.
const CHECKED: [&str; 8] = [
    "yaml",
    "yaml filter",
    "yaml suite",
    "yaml envoy",
    "yaml envoy-filter",
    "json",
    "console",
    "console fails",
];

#[test]
fn no_block_of_code_is_left_unchecked() {
    for (path, text) in chapters() {
        for fence in fences(&text) {
            let place = format!(
                "{}, block {:?} of line {}",
                path.display(),
                fence.info,
                fence.line
            );
            let info = fence.info.as_deref();
            let info = info.unwrap_or_else(|| panic!("{place}: indented code has no kind"));
            let known = CHECKED.contains(&info) || LANGUAGES.contains(&info);
            // What is printed stands apart from the command there.
            let known = known || info == "text" && followed_by(&path).is_some();
            assert!(known, "{place}: nothing checks code of this kind");
            assert!(!fence.body.trim().is_empty(), "{place}: empty");
        }
    }
}

#[test]
fn programs_are_parts_of_files_that_are_built() {
    let mut count = 0;
    for path in book().files() {
        let text = fs::read_to_string(path).unwrap();
        for fence in fences(&text) {
            if !fence.info.is_some_and(|info| LANGUAGES.contains(&&*info)) {
                continue;
            }
            let place = format!("{}, block of line {}", path.display(), fence.line);
            for line in fence.body.lines() {
                let name = line
                    .strip_prefix("{{#include ")
                    .and_then(|l| l.strip_suffix("}}"));
                let name = name.unwrap_or_else(|| panic!("{place}: code of its own: {line}"));
                let file = name.split(':').next().unwrap();
                let file = tidy(&path.parent().unwrap().join(file));
                let file = file.strip_prefix(root()).unwrap();
                let built = BUILT.iter().any(|folder| file.starts_with(folder));
                assert!(built, "{place}: nothing builds {}", file.display());
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn chapters_that_are_followed_elsewhere_are() {
    for path in book().chapters() {
        if let Some(test) = followed_by(path) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(
                document(test).contains(&format!("guide/src/{name}")),
                "{test}"
            );
        }
    }
}

/// Blocks of this kind, with their places.
fn blocks(kind: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let here = |(path, _): &(PathBuf, String)| followed_by(path).is_none();
    for (path, text) in chapters().into_iter().filter(here) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for fence in fences(&text) {
            if fence.info.as_deref() == Some(kind) {
                blocks.push((format!("{name}, block of line {}", fence.line), fence.body));
            }
        }
    }
    blocks
}

/// Puts the modules that a configuration names into the folder in which it is checked.
fn modules(config: &str, folder: &Path) {
    let files = config.split("filename: ").skip(1);
    let files = files.filter_map(|rest| rest.split(|c: char| " }\n".contains(c)).next());
    for file in files {
        let target = folder.join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
        fs::copy(module(name), target).unwrap();
    }
}

/// `text` as far to the right as the entries of a list that stand there.
fn indented(text: &str, spaces: usize) -> String {
    let lines = text.lines().map(|line| format!("{:spaces$}{line}\n", ""));
    lines.collect()
}

#[test]
fn configurations_are_valid_and_their_filters_start() {
    for (place, config) in blocks("yaml") {
        let (passed, printed) = check(&config, |folder| modules(&config, folder));
        assert!(passed, "{place}: {printed}");
    }
    for (place, filters) in blocks("yaml filter") {
        let config = format!(
            "listeners:\n- name: edge\n  address: 127.0.0.1:0\n  http_filters:\n{}  \
             routes: [{{ match: {{ prefix: / }}, direct_response: {{ status: 204 }} }}]\n",
            indented(&filters, 2)
        );
        let (passed, printed) = check(&config, |folder| modules(&config, folder));
        assert!(passed, "{place}: {printed}");
    }
}

const ENVOY: &str = r#"static_resources:
  listeners:
    - name: edge
      address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: ingress
                route_config: { virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, direct_response: { status: 204 } }] }] }
                http_filters:
"#;
const ROUTER: &str = r#"                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;

#[test]
fn bootstraps_of_envoy_are_read() {
    let wrapped = blocks("yaml envoy-filter").into_iter();
    let wrapped = wrapped.map(|(place, filter)| {
        let filter = indented(&filter, 18);
        (place, format!("{ENVOY}{filter}{ROUTER}"))
    });
    for (place, bootstrap) in blocks("yaml envoy").into_iter().chain(wrapped) {
        let folder = tempfile::tempdir().unwrap();
        modules(&bootstrap, folder.path());
        fs::write(folder.path().join("envoy.yaml"), &bootstrap).unwrap();
        let output = run(folder.path(), &["check", "--envoy", "envoy.yaml"]);
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(output.status.success(), "{place}: {printed}");
    }
}

#[test]
fn suites_pass() {
    for (place, suite) in blocks("yaml suite") {
        let plugin = suite.lines().find_map(|line| line.strip_prefix("plugin: "));
        let plugin = plugin.unwrap_or_else(|| panic!("{place}: no plugin"));
        let name = Path::new(plugin).file_stem().unwrap().to_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("suite.yaml"), &suite).unwrap();
        examples::passes(folder.path(), "suite.yaml", &module(name));
    }
}

#[test]
fn json_is_json() {
    for (place, text) in blocks("json") {
        let read = serde_json::from_str::<serde_json::Value>(&text);
        assert!(read.is_ok(), "{place}: {read:?}");
    }
}
