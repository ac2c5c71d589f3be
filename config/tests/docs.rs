//! The examples in the documentation work.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use weir_config::envoy::Leniency;

/// The fenced `yaml` blocks of a Markdown text, with the line each starts in.
fn yaml_blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```yaml" => open = Some((number + 1, String::new())),
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    assert!(open.is_none());
    blocks
}

#[test]
fn every_yaml_block_of_the_reference_is_a_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(folder.join("../docs/configuration.md")).unwrap();
    let blocks = yaml_blocks(&text);
    assert!(blocks.len() >= 2);
    for (line, block) in blocks {
        let name = format!("configuration.md, block of line {line}");
        if let Err(errors) = weir_config::parse(&name, &block) {
            panic!("{errors}");
        }
    }
}

#[test]
fn every_yaml_block_for_those_from_envoy_is_a_bootstrap() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(folder.join("../docs/envoy.md")).unwrap();
    let blocks = yaml_blocks(&text);
    assert!(!blocks.is_empty());
    for (line, block) in blocks {
        let name = format!("envoy.md, block of line {line}");
        if let (Err(errors), _) = weir_config::envoy::parse(&name, &block, Leniency::Strict) {
            panic!("{errors}");
        }
    }
}

/// `[`name`](../proxy/tests/FILE)` in the table of features.
#[test]
fn every_test_that_proves_a_feature_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let table = fs::read_to_string(docs.join("features.md")).unwrap();
    let mut proven = 0;
    for link in table.split("[`").skip(1) {
        let (name, rest) = link.split_once("`](").unwrap();
        let (file, _) = rest.split_once(')').unwrap();
        let text = fs::read_to_string(docs.join(file)).unwrap();
        assert!(text.contains(&format!("fn {name}(")), "{file}: {name}");
        proven += 1;
    }
    assert!(proven > 50, "{proven}");
}
