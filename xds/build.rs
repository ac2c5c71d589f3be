//! Takes the descriptors of Envoy's messages from the crate that has their types, and
//! compiles those that it lacks.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// What never stands in a resource, unless something that does refers to it.
const LEFT_OUT: [&str; 3] = ["envoy/service/", "envoy/data/", "envoy/admin/"];

/// Messages that stand in Envoy's, and that the crate has not.
const OTHERS: [&str; 5] = [
    "proto/istio/metadata_exchange.proto",
    "proto/istio/peer_metadata.proto",
    "proto/istio/stats.proto",
    "proto/udpa/type/v1/typed_struct.proto",
    "proto/xds/type/v3/typed_struct.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let bytes = fs::read(source_of("envoy-types")?.join("src/generated/types.bin"))?;
    let mut set = FileDescriptorSet::decode(&*bytes)?;
    let wanted = wanted(&set);
    set.file.retain(|file| wanted.contains(file.name()));
    for path in OTHERS {
        println!("cargo::rerun-if-changed={path}");
    }
    let others = protox::compile(OTHERS, ["proto"])?;
    // What they refer to is in Envoy's, too.
    let known: HashSet<_> = set.file.iter().map(|file| file.name().to_owned()).collect();
    let new = others.file.into_iter();
    set.file
        .extend(new.filter(|file| !known.contains(file.name())));
    for file in &mut set.file {
        // Comments.
        file.source_code_info = None;
    }
    let target = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(target, set.encode_to_vec())?;
    Ok(())
}

/// The names of the files that are needed.
fn wanted(set: &FileDescriptorSet) -> HashSet<String> {
    let files: HashMap<_, _> = set.file.iter().map(|file| (file.name(), file)).collect();
    let is_root = |name: &&str| !LEFT_OUT.iter().any(|folder| name.starts_with(folder));
    let mut left: Vec<&str> = files.keys().copied().filter(is_root).collect();
    let mut wanted = HashSet::new();
    while let Some(name) = left.pop() {
        if wanted.insert(name.to_owned())
            && let Some(file) = files.get(name)
        {
            left.extend(file.dependency.iter().map(String::as_str));
        }
    }
    wanted
}

/// The folder of a crate that this one depends on.
fn source_of(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let output = Command::new(env::var("CARGO")?)
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
        ])
        .arg(env::var("TARGET")?)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let mut packages = packages.filter(|package| package["name"] == name);
    let manifest = packages
        .next()
        .and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.ok_or_else(|| format!("there is no crate {name}"))?;
    let mut folder = PathBuf::from(manifest);
    folder.pop();
    Ok(folder)
}
