//! `cargo xtask conformance`: Weir and a real Envoy, case by case.

use anyhow::Result;

use crate::process::{self};
use crate::{envoy, filters, guests, layout, workspace};

/// Prepares everything and runs the suite. Returns a line for what could not be
/// done.
pub(crate) fn run(arguments: &[&str]) -> Result<Vec<String>> {
    let random = arguments.contains(&"--random");
    let skipped = if random {
        guests::build_probe()?;
        Vec::new()
    } else {
        guests::build_or_skip()?
    };
    filters::run()?;
    workspace::build()?;
    let programs = layout::root().join("target/debug");
    let mut suite = std::process::Command::new(programs.join("weir-conformance"));
    suite.arg("--modules").arg(layout::modules());
    suite
        .arg("--scratch")
        .arg(layout::root().join("target/conformance"));
    suite
        .arg("--weir")
        .arg(programs.join("weir"))
        .args(arguments);
    let mut missing = Vec::new();
    for module in skipped {
        suite.args(["--without", module]);
        missing.push(format!("without the cases of {module}"));
    }
    match envoy::find() {
        Ok(program) => drop(suite.arg("--envoy").arg(program)),
        Err(reason) => {
            eprintln!(
                "\n    !!! There is no Envoy here: {reason:#}\
                 \n    !!! Weir is compared with what was RECORDED of Envoy.\n"
            );
            if random {
                return Ok(vec!["not without Envoy, to compare with".to_owned()]);
            }
            missing.push("without Envoy, against its record".to_owned());
        }
    }
    process::run(&mut suite)?;
    Ok(missing)
}
