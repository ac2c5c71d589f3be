//! `cargo xtask budget`: how many instructions ten operations of the host take, beside
//! what they may take, `benches/budget.json`.
//!
//! valgrind counts them, so the figures are the same each time, whatever else the
//! machine does. They depend on what the code is made and run with, which the file
//! names: with another compiler, C library or kind of processor nothing is compared.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::process::output_of;
use crate::progress::step;
use crate::{debian, filters, layout, workspace};

/// How much more an operation may take than the file says, in percent.
const MORE_PERCENT: u64 = 5;

/// What valgrind knows of a processor that libraries choose their code by.
const PROCESSOR_FLAGS: [&str; 9] = [
    "abm", "avx", "avx2", "bmi1", "bmi2", "fma", "popcnt", "sse4_2", "ssse3",
];

/// The function in which instructions count.
const COUNTED: &str = "weir_budget::counted";

/// Compares, or with `update` writes the file. Returns a line for why that could not be
/// done.
pub(crate) fn run(update: bool) -> Result<Vec<String>> {
    if let Err(reason) = debian::install(&["valgrind"]) {
        ensure!(!update, "{reason:#}");
        return Ok(vec![format!("{reason:#}")]);
    }
    filters::run()?;
    workspace::build()?;
    let with = circumstances();
    let path = layout::root().join("benches/budget.json");
    let budget: Value = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .with_context(|| format!("{} is no JSON", path.display()))?,
        Err(_) => json!({}),
    };
    if !update && budget["with"].is_null() {
        let what = "there is no benches/budget.json; `cargo xtask budget --update` writes it";
        return Ok(vec![what.to_owned()]);
    }
    if !update && budget["with"] != with {
        return Ok(vec![format!(
            "not compared: the budget is for {}, and here is {with}; \
             `cargo xtask budget --update` writes one for it",
            budget["with"]
        )]);
    }
    let counted = step("counting instructions", count)?;
    for (name, count) in &counted {
        let was = budget["instructions"][name].as_u64();
        let was = was.map_or_else(String::new, |was| format!(", budget {was}"));
        println!("    {name}: {count}{was}");
    }
    if update {
        let text = json!({ "with": with, "instructions": Map::from_iter(counted) });
        fs::write(path, format!("{text:#}\n"))?;
        return Ok(Vec::new());
    }
    let excesses = excesses(&budget["instructions"], &counted);
    if !excesses.is_empty() {
        bail!(
            "more instructions than benches/budget.json allows: {}; if that is worth it, \
             `cargo xtask budget --update` and say so in a commit",
            excesses.join("; ")
        );
    }
    Ok(Vec::new())
}

/// What the figures depend on, beside the code.
fn circumstances() -> Value {
    let tell = |program: &str, argument: &str| {
        output_of(Command::new(program).arg(argument)).unwrap_or_default()
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find_map(|line| line.strip_prefix("flags"));
    let flags: Vec<_> = flags.unwrap_or_default().split_whitespace().collect();
    let known: Vec<_> = PROCESSOR_FLAGS
        .into_iter()
        .filter(|flag| flags.contains(flag))
        .collect();
    // They decide what is inlined, and are unset for most people.
    let settings = ["CARGO_INCREMENTAL", "RUSTFLAGS"].map(|name| {
        let value = env::var(name).unwrap_or_default();
        format!("{name}={value}")
    });
    json!({
        "compiler": tell("rustc", "--version"),
        "libc": tell("getconf", "GNU_LIBC_VERSION"),
        "settings": settings,
        "processor": format!("{} {}", env::consts::ARCH, known.join(" ")),
        "valgrind": tell("valgrind", "--version"),
    })
}

/// Instructions of each operation, done once.
fn count() -> Result<Vec<(String, Value)>> {
    let folder = layout::root().join("target/budget");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let dumps = folder.join("dump");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", dumps.display()))
        .arg(layout::root().join("target/debug/weir-budget"))
        .env("WEIR_FILTERS_DIR", layout::modules());
    let output = output_of(&mut valgrind).context("weir-budget fails under valgrind")?;
    let mut lines = output.lines();
    let times: u64 = lines.next().unwrap_or_default().parse()?;
    let names = lines.enumerate();
    let counts = names.map(|(place, name)| {
        let total = total(&dump(&dumps, place + 1))?;
        Ok((name.to_owned(), json!(total / times)))
    });
    counts.collect()
}

/// The file that callgrind leaves the `number`th time.
fn dump(dumps: &Path, number: usize) -> PathBuf {
    let mut name = dumps.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn total(dump: &Path) -> Result<u64> {
    let text = fs::read_to_string(dump)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.with_context(|| format!("{} has no total", dump.display()))
}

/// Which operations take too much, and by how much.
fn excesses(budget: &Value, counted: &[(String, Value)]) -> Vec<String> {
    let mut excesses = Vec::new();
    for (name, count) in counted {
        let count = count.as_u64().unwrap_or(u64::MAX);
        match budget[name].as_u64() {
            None => excesses.push(format!("{name} is not in the budget")),
            Some(allowed) if count * 100 > allowed * (100 + MORE_PERCENT) => {
                let percent = (count as f64 / allowed as f64 - 1.0) * 100.0;
                excesses.push(format!(
                    "{name} takes {count}, {percent:.1} % above {allowed}"
                ));
            }
            Some(_) => {}
        }
    }
    excesses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: u64) -> Vec<String> {
        let budget = json!({ "stream": 1000 });
        excesses(&budget, &[("stream".to_owned(), json!(count))])
    }

    #[test]
    fn a_twentieth_more_is_allowed() {
        assert!(told(1050).is_empty());
        assert!(told(10).is_empty());
    }

    #[test]
    fn what_takes_more_is_told_by_name_and_share() {
        assert_eq!(told(1100), ["stream takes 1100, 10.0 % above 1000"]);
    }

    #[test]
    fn what_nobody_has_allowed_is_told() {
        let counted = [("tick".to_owned(), json!(1))];
        assert_eq!(
            excesses(&json!({}), &counted),
            ["tick is not in the budget"]
        );
    }
}
