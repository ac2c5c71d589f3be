use std::fs;
use std::path::Path;

use super::validator::validate;
use super::*;
use crate::blocks;

#[test]
fn every_key_of_every_block_has_a_shape() {
    let schema = schema();
    let mut undescribed = Vec::new();
    let definitions = schema["$defs"].as_object().unwrap();
    assert_eq!(definitions.len(), blocks::ALL.len());
    for block in blocks::ALL {
        let definition = &definitions[&definition(block)];
        assert_eq!(definition["title"], block.name);
        let properties = definition["properties"].as_object().unwrap();
        let keys: Vec<_> = properties.keys().map(String::as_str).collect();
        assert_eq!(keys, block.key_names().collect::<Vec<_>>());
        for (key, property) in properties {
            let has = |word: &str| property.get(word).is_some();
            let says = ["type", "enum", "const", "anyOf", "$ref"]
                .into_iter()
                .any(has);
            // What is handed to a filter may be anything.
            assert!(says || key == "configuration", "{}: {key}", block.name);
            if !has("description") {
                undescribed.push(format!("{}: {key}", block.name));
            }
        }
    }
    assert_eq!(undescribed, [""; 0]);
}

#[test]
fn what_must_be_there_is_what_readers_miss() {
    let schema = schema();
    let of = |name: &str| &schema["$defs"][name];
    assert_eq!(schema["$ref"], "#/$defs/configuration");
    assert_eq!(of("configuration")["required"], json!(["listeners"]));
    assert_eq!(of("listener")["required"], json!(["address", "name"]));
    assert_eq!(of("cluster")["required"], json!(["name"]));
    assert_eq!(of("route")["required"], json!(["match"]));
    let any = |keys: &[&str]| {
        let any: Vec<_> = keys.iter().map(|k| json!({ "required": [k] })).collect();
        json!([{ "anyOf": any }])
    };
    let ways = of("cluster")["allOf"].clone();
    assert_eq!(ways, any(&["endpoints", "original_dst"]));
    assert_eq!(
        of("route")["allOf"],
        any(&[
            "cluster",
            "weighted_clusters",
            "cluster_header",
            "redirect",
            "direct_response"
        ])
    );
    assert_eq!(
        of("local")["allOf"],
        any(&[
            "filename",
            "inline_bytes",
            "inline_string",
            "environment_variable"
        ])
    );
    assert_eq!(
        of("listener")["properties"]["access_log"]["anyOf"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        of("cluster")["properties"]["protocol"]["enum"],
        json!(["http1", "http2", "downstream"])
    );
}

#[test]
fn every_example_of_a_key_is_as_the_schema_says() {
    let schema = schema();
    for block in blocks::ALL {
        for (key, example) in block.keys {
            let mut part = schema.clone();
            let part_of = format!("/$defs/{}/properties/{key}", definition(block));
            let property = schema.pointer(&part_of).unwrap().clone();
            let root = part.as_object_mut().unwrap();
            root.remove("$ref");
            root.extend(property.as_object().unwrap().clone());
            let wrong = validate(&part, &value(example).unwrap());
            assert!(wrong.is_empty(), "{key}: {example}: {wrong:?}");
        }
    }
}

/// The fenced `yaml` blocks of the Markdown files in a folder.
fn yaml_blocks(folder: &Path, blocks: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            let text = fs::read_to_string(&path).unwrap();
            let parts = text.split("```yaml\n").skip(1);
            let block = parts.map(|part| part.split("```").next().unwrap().to_owned());
            blocks.extend(block.map(|block| (path.display().to_string(), block)));
        }
    }
}

/// A configuration with the filters and clusters that an example shows, if it shows no
/// more than that.
fn whole(example: &Json) -> Option<Json> {
    let filters = example.get("http_filters")?;
    let listener = json!({ "name": "edge", "address": "0.0.0.0:80", "http_filters": filters });
    let clusters = example
        .get("clusters")
        .cloned()
        .unwrap_or_else(|| json!([]));
    Some(json!({ "listeners": [listener], "clusters": clusters }))
}

#[test]
fn what_is_a_configuration_is_one_by_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = Vec::new();
    yaml_blocks(root, &mut texts);
    yaml_blocks(&root.join("docs"), &mut texts);
    for entry in fs::read_dir(root.join("filters")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_blocks(&path, &mut texts);
        }
    }
    for folder in ["config/tests/golden", "config/tests/envoy"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                let text = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&text).into_owned();
                texts.push((path.display().to_string(), text));
            }
        }
    }
    for entry in fs::read_dir(root.join("proxy/tests/check")).unwrap() {
        let path = entry.unwrap().path().join("weir.yaml");
        texts.push((
            path.display().to_string(),
            fs::read_to_string(&path).unwrap(),
        ));
    }
    let schema = schema();
    let (mut valid, mut refused) = (0, 0);
    for (name, text) in &texts {
        let (text, json) = match value(text).and_then(|json| whole(&json)) {
            Some(whole) => (whole.to_string(), Some(whole)),
            None => (text.clone(), value(text)),
        };
        let wrong = json.map(|json| validate(&schema, &json));
        if crate::parse(name, &text).is_ok() {
            let wrong = wrong.unwrap();
            assert!(wrong.is_empty(), "{name}: {wrong:#?}");
            valid += 1;
        } else if wrong.is_some_and(|wrong| !wrong.is_empty()) {
            refused += 1;
        }
    }
    assert!(valid >= 15, "{valid} examples");
    assert!(refused >= 30, "{refused} wrong ones");
}

#[test]
fn what_is_wrong_is_so_by_the_schema() {
    let schema = schema();
    let good = "listeners: [{ name: edge, address: 0.0.0.0:80, routes: \
        [{ match: { prefix: / }, cluster: web, timeout: 1s }] }]\n\
        clusters: [{ name: web, endpoints: [127.0.0.1:9000], protocol: http2 }]";
    assert_eq!(validate(&schema, &value(good).unwrap()), [""; 0]);
    for (right, wrong, place) in [
        ("listeners:", "listener:", "required"),
        ("name: edge", "nam: edge", "/listeners/0/nam: unknown"),
        ("0.0.0.0:80", "somewhere", "/listeners/0/address: pattern"),
        ("timeout: 1s", "timeout: 1", "/timeout: anyOf"),
        ("timeout: 1s", "timeout: soon", "/timeout: anyOf"),
        ("cluster: web,", "", "/listeners/0/routes/0: allOf"),
        ("timeout: 1s", "redirect: {}", "/listeners/0/routes/0: not"),
        ("http2", "http3", "/clusters/0/protocol: enum"),
        (
            "[127.0.0.1:9000]",
            "127.0.0.1:9000",
            "/clusters/0/endpoints: type",
        ),
        ("prefix: /", "{}", "/listeners/0/routes/0/match: allOf"),
    ] {
        assert!(good.contains(right));
        let text = good.replacen(right, wrong, 1).replace("{ {} }", "{}");
        let found = validate(&schema, &value(&text).unwrap());
        assert!(
            found.iter().any(|wrong| wrong.contains(place)),
            "{wrong}: {found:?}"
        );
        assert!(crate::parse("weir.yaml", &text).is_err(), "{wrong}");
    }
}
