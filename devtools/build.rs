//! Compiles the messages of the plugin tester into a descriptor.

use std::error::Error;
use std::path::PathBuf;

use prost_reflect::prost::Message as _;

const PROTO: &str = "src/plugin_tester/plugin_tester.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO}");
    let descriptors = protox::compile([PROTO], ["src/plugin_tester"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("plugin_tester.bin"), descriptors.encode_to_vec())?;
    Ok(())
}
