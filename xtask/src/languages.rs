//! `cargo xtask languages`: what the same filter costs in each language.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;

use crate::process::{self};
use crate::{filters, guests, layout, workspace};

/// The languages as people write them, and the names of the modules.
const LANGUAGES: [(&str, &str); 6] = [
    ("Rust", "tour-rust"),
    ("C", "tour-c"),
    ("Zig", "tour-zig"),
    ("Go", "tour-go"),
    ("AssemblyScript", "tour-assemblyscript"),
    ("JavaScript", "tour-javascript"),
];

/// Builds what is measured and what measures, and prints a table.
pub(crate) fn run() -> Result<()> {
    filters::run()?;
    guests::build()?;
    let build = ["build", "--release", "--workspace", "--bin", "weir-filter"];
    process::build(&mut workspace::cargo(&build)?)?;
    println!(
        "| Language | Module | Compiled in | Started in | Memory of a VM | A request | Hostcalls |\n\
         |---|--:|--:|--:|--:|--:|--:|"
    );
    for (language, module) in LANGUAGES {
        let file = layout::modules().join(format!("{module}.wasm"));
        let prices = Prices::measure(&file)?;
        println!(
            "| {language} | {} KiB | {} ms | {} µs | {} KiB | {:.1} µs | {:.0} |",
            std::fs::metadata(&file)?.len().div_ceil(1024),
            prices.amount("compile")? / 1_000_000,
            (prices.amount("instantiate")? + prices.amount("start and configure")?) / 1_000,
            prices.amount("memory of a VM")? / 1024,
            prices.amount("stream")? as f64 / 1_000.0,
            prices.hostcalls(),
        );
    }
    Ok(())
}

/// The price list of `weir filter bench`.
struct Prices(Vec<Json>);

impl Prices {
    fn measure(module: &Path) -> Result<Self> {
        let program = layout::root().join("target/release/weir-filter");
        let mut bench = Command::new(program);
        bench
            .arg("bench")
            .arg(module)
            .arg("--config")
            .arg(layout::languages().join("bench.conf"))
            .args(["--format", "json"]);
        let output = bench.stderr(Stdio::inherit()).output()?;
        ensure!(
            output.status.success(),
            "cannot measure {}",
            module.display()
        );
        let list: Json = serde_json::from_slice(&output.stdout)?;
        let prices = list["prices"].as_array().context("a list of prices")?;
        Ok(Self(prices.clone()))
    }

    /// An amount, in nanoseconds or bytes.
    fn amount(&self, what: &str) -> Result<u64> {
        let price = self.0.iter().find(|price| price["what"] == what);
        let amount = price.and_then(|price| price["amount"].as_u64());
        amount.with_context(|| format!("no price of {what}"))
    }

    /// Hostcalls on a request.
    fn hostcalls(&self) -> f64 {
        let is_hostcall = |price: &&Json| {
            let what = price["what"].as_str();
            what.is_some_and(|what| what.starts_with("hostcall "))
        };
        let often = |price: &Json| price["per_stream"].as_f64();
        self.0.iter().filter(is_hostcall).filter_map(often).sum()
    }
}
