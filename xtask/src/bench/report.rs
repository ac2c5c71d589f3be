//! The figures of all scenarios as tables, and where they are kept.

use std::fmt::Write as _;
use std::fs;
use std::slice;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::figures::{CORE, CPU, FAILED, Figure, MEMORY, P50, P99, P999, PEAK, RATE, START, USER};
use super::plot;
use super::scenario::{Extension, Kind, SCENARIOS, extensions};
use crate::layout;

/// Where the file has what one more hello filter adds.
const ONE_MORE: &str = "one more hello filter";

/// Between these lines of the document stands what is made here.
const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

/// A table: its heading, what a cell holds, and whether with lowest and highest.
struct Table {
    heading: &'static str,
    figures: &'static [Figure],
    spread: bool,
}

const TABLES: [Table; 8] = [
    Table {
        heading: "CPU per request, us",
        figures: &[CPU],
        spread: true,
    },
    Table {
        heading: "Of it in user mode, us",
        figures: &[USER],
        spread: true,
    },
    Table {
        heading: "Requests per second, closed loop",
        figures: &[RATE],
        spread: true,
    },
    Table {
        heading: "CPU meanwhile, % of a core",
        figures: &[CORE],
        spread: false,
    },
    Table {
        heading: "Latency at 70 % of what the slower of Weir and Envoy can do, us: \
                  p99 / p50 / p99.9",
        figures: &[P99, P50, P999],
        spread: false,
    },
    Table {
        heading: "Memory after the load, MiB: resident / peak",
        figures: &[MEMORY, PEAK],
        spread: false,
    },
    Table {
        heading: "From the start of the process to the first answer, ms",
        figures: &[START],
        spread: true,
    },
    Table {
        heading: "Requests that failed, %",
        figures: &[FAILED],
        spread: true,
    },
];

/// Whether two runs differ in nothing but the time at which they were made.
fn is_comparable(one: &Value, other: &Value) -> bool {
    let without_date = |machine: &Value| {
        let mut machine = machine.clone();
        if let Some(facts) = machine.as_object_mut() {
            facts.remove("date");
        }
        machine
    };
    without_date(one) == without_date(other)
}

/// All results: those of this run, and of others of the same programs on the same machine
/// the scenarios that it did not have.
pub(super) struct Report(Value);

impl Report {
    pub(super) fn new(machine: Value) -> Self {
        let parts = [
            ("machine", machine),
            ("scenarios", json!({})),
            (ONE_MORE, json!({})),
        ];
        Self(
            parts
                .into_iter()
                .map(|(name, part)| (name.to_owned(), part))
                .collect(),
        )
    }

    /// Adds what an earlier run has left in the document's folder.
    pub(super) fn with_earlier(machine: Value) -> Result<Self> {
        let path = layout::root().join("docs/performance.json");
        let mut report = Self::new(machine);
        if path.exists() {
            let earlier: Value = serde_json::from_slice(&fs::read(&path)?)
                .with_context(|| format!("{} is no JSON", path.display()))?;
            if is_comparable(&earlier["machine"], &report.0["machine"]) {
                for part in ["scenarios", ONE_MORE] {
                    report.0[part] = earlier[part].clone();
                }
            }
        }
        Ok(report)
    }

    /// Adds what came of a scenario, in the place of what an earlier run knew of it.
    pub(super) fn add(&mut self, name: &str, result: Value) {
        self.0["scenarios"][name] = result;
        for extension in extensions().filter(|extension| extension.chains.contains(&name)) {
            self.0[ONE_MORE][extension.title()] = Value::Null;
        }
    }

    /// What each filter adds from one length of a chain to another, by proxy.
    pub(super) fn add_one_more(&mut self, extension: &Extension, added: Value) {
        self.0[ONE_MORE][extension.title()] = added;
    }

    /// The tables, in Markdown.
    pub(super) fn tables(&self) -> String {
        let mut text = String::new();
        for table in TABLES {
            // Writing to a string does not fail.
            let _ = self.table(&table, &mut text);
        }
        let _ = self.native(&mut text);
        let _ = self.one_more(&mut text);
        text
    }

    /// What one more hello filter adds.
    fn one_more(&self, text: &mut String) -> std::fmt::Result {
        let mut rows = String::new();
        for extension in extensions() {
            let title = extension.title();
            let added = &self.0[ONE_MORE][&title];
            let proxies = [Kind::Weir, Kind::Envoy].map(|kind| &added[kind.name()]);
            let cells = |figure: Figure| {
                let of = |proxy| cell(proxy, slice::from_ref(&figure), true);
                let ([weir, envoy], ratio) = (proxies.map(of), quotient(proxies, &figure)?);
                Some(format!("{} | {} | {ratio}", weir?, envoy?))
            };
            if let (Some(all), Some(user)) = (cells(CPU), cells(USER)) {
                writeln!(rows, "| {title} | {all} | {user} |")?;
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n**What one more hello filter adds to the CPU per request, us**\n\n\
             | filters | Weir | Envoy | Weir / Envoy | Weir, user mode | Envoy, user mode \
             | Weir / Envoy |\n|---|---|---|---|---|---|---|"
        )?;
        text.push_str(&rows);
        Ok(())
    }

    /// What filters cost beside the same done by Weir itself.
    fn native(&self, text: &mut String) -> std::fmt::Result {
        let Table {
            figures, heading, ..
        } = &TABLES[0];
        let mut rows = String::new();
        for scenario in SCENARIOS {
            let proxies = &self.0["scenarios"][scenario.name]["proxies"];
            let [filter, native] =
                [Kind::Weir, Kind::Native].map(|kind| cell(&proxies[kind.name()], figures, true));
            let Some((filter, native)) = filter.zip(native) else {
                continue;
            };
            let ratio = ratio(&proxies[Kind::Native.name()], &figures[0]);
            let title = scenario.title;
            writeln!(rows, "| {title} | {filter} | {native} | {ratio} |")?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n**The same done by a filter and by Weir itself: {heading}**\n\n\
             | | by a filter | by Weir itself | ratio |\n|---|---|---|---|"
        )?;
        text.push_str(&rows);
        Ok(())
    }

    fn table(&self, table: &Table, text: &mut String) -> std::fmt::Result {
        let mut rows = String::new();
        for scenario in SCENARIOS {
            let result = &self.0["scenarios"][scenario.name];
            let cells = [Kind::Weir, Kind::Envoy, Kind::Nginx]
                .map(|kind| cell(&result["proxies"][kind.name()], table.figures, table.spread));
            if cells[0].is_none() || is_all_well(result, table) {
                continue;
            }
            let [weir, envoy, nginx] = cells.map(Option::unwrap_or_default);
            let beside = &result["proxies"][Kind::Envoy.name()];
            let ratio = ratio(beside, &table.figures[0]);
            let title = scenario.title;
            writeln!(rows, "| {title} | {weir} | {envoy} | {nginx} | {ratio} |")?;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let heading = table.heading;
        writeln!(text, "\n**{heading}**\n")?;
        writeln!(
            text,
            "| | Weir | Envoy | nginx | Weir / Envoy |\n|---|---|---|---|---|"
        )?;
        text.push_str(&rows);
        Ok(())
    }

    /// Writes the file, the plot, and the tables into the document.
    pub(super) fn save(&self) -> Result<()> {
        let docs = layout::root().join("docs");
        let mut text = serde_json::to_string_pretty(&self.0)?;
        text.push('\n');
        fs::write(docs.join("performance.json"), text)?;
        fs::write(docs.join("performance.svg"), plot::of_cpu(&self.bars()))?;
        let path = docs.join("performance.md");
        let document = fs::read_to_string(&path)?;
        let around = document.split_once(BEGIN).and_then(|(before, rest)| {
            let (_, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) =
            around.with_context(|| format!("{} lacks {BEGIN}", path.display()))?;
        let (machine, tables) = (self.machine(), self.tables());
        let document = format!("{before}{BEGIN}\n{machine}{tables}\n{END}{after}");
        fs::write(path, document)?;
        Ok(())
    }

    /// Of each scenario, its title and each proxy's CPU per request.
    fn bars(&self) -> Vec<(&'static str, [f64; 3])> {
        let bars = SCENARIOS.iter().map(|scenario| {
            let proxies = &self.0["scenarios"][scenario.name]["proxies"];
            let cpu = [Kind::Weir, Kind::Envoy, Kind::Nginx]
                .map(|kind| median(&proxies[kind.name()], &CPU).unwrap_or(0.0));
            (scenario.title, cpu)
        });
        bars.filter(|(_, cpu)| cpu[0] > 0.0).collect()
    }

    fn machine(&self) -> String {
        let empty = Map::new();
        let machine = self.0["machine"].as_object().unwrap_or(&empty);
        let lines = machine.iter().filter_map(|(name, value)| {
            let value = value.as_str()?;
            Some(format!("- {name}: {value}\n"))
        });
        lines.collect()
    }
}

/// Whether nothing failed where a table tells of failures.
fn is_all_well(result: &Value, table: &Table) -> bool {
    let kinds = [Kind::Weir, Kind::Envoy];
    let highest = |kind: Kind| result["proxies"][kind.name()][FAILED.name][2].as_f64();
    table.figures[0].name == FAILED.name && kinds.iter().all(|&kind| highest(kind) == Some(0.0))
}

fn median(proxy: &Value, figure: &Figure) -> Option<f64> {
    proxy[figure.name][1].as_f64()
}

fn cell(proxy: &Value, figures: &[Figure], with_spread: bool) -> Option<String> {
    let mut cells = Vec::new();
    for figure in figures {
        let decimals = figure.decimals;
        let mut cell = format!("{:.decimals$}", median(proxy, figure)?);
        if with_spread {
            let bound = |place: usize| proxy[figure.name][place].as_f64();
            let (lowest, highest) = (bound(0)?, bound(2)?);
            cell += &format!(" ({lowest:.decimals$}-{highest:.decimals$})");
        }
        cells.push(cell);
    }
    Some(cells.join(" / "))
}

/// Median of what Weir takes of what another proxy takes; nothing where it cannot be said.
fn ratio(other: &Value, figure: &Figure) -> String {
    let ratio = median(&other["weir_ratio"], figure);
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

/// The first one's median as part of the other one's.
fn quotient(proxies: [&Value; 2], figure: &Figure) -> Option<String> {
    let [one, other] = proxies.map(|proxy| median(proxy, figure));
    Some(format!("{:.2}", one? / other.filter(|other| *other > 0.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new(json!({ "kernel": "6.1" }));
        let proxy = |cpu: [f64; 3]| json!({ "cpu_us": cpu, "failed_percent": [0.0, 0.0, 0.0] });
        let mut envoy = proxy([30.0, 40.0, 50.0]);
        envoy["weir_ratio"] = json!({ "cpu_us": [0.4, 0.5, 0.6] });
        let proxies = json!({ "Weir": proxy([10.0, 20.0, 25.0]), "Envoy": envoy });
        report.add("plain", json!({ "proxies": proxies }));
        report
    }

    #[test]
    fn row_has_medians_spreads_and_ratio() {
        let row = "| plain proxy | 20.0 (10.0-25.0) | 40.0 (30.0-50.0) |  | 0.50 |\n";
        assert!(report().tables().contains(row), "{}", report().tables());
    }

    #[test]
    fn a_filter_stands_beside_what_weir_does_itself() {
        let mut report = report();
        assert!(!report.tables().contains("by Weir itself"));
        let mut native = json!({ "cpu_us": [20.0, 20.0, 20.0] });
        native["weir_ratio"] = json!({ "cpu_us": [1.1, 1.2, 1.3] });
        let proxies = json!({ "Weir": { "cpu_us": [24.0, 24.0, 24.0] }, "Weir, native": native });
        report.add("hello", json!({ "proxies": proxies }));
        let row = "| one hello filter | 24.0 (24.0-24.0) | 20.0 (20.0-20.0) | 1.20 |\n";
        assert!(report.tables().contains(row), "{}", report.tables());
    }

    #[test]
    fn what_one_more_filter_adds_is_told_of_the_chains_that_there_are() {
        let mut report = report();
        let proxy = |cpu: f64, user: f64| json!({ "cpu_us": [cpu - 0.5, cpu, cpu + 0.5], "cpu_user_us": [user, user, user] });
        let added = json!({ "Weir": proxy(2.0, 1.5), "Envoy": proxy(10.0, 5.0) });
        let extension = extensions().find(|extension| extension.title() == "from 1 to 5");
        let extension = extension.unwrap();
        report.add_one_more(&extension, added);
        let tables = report.tables();
        let row = "| from 1 to 5 | 2.0 (1.5-2.5) | 10.0 (9.5-10.5) | 0.20 \
                   | 1.5 (1.5-1.5) | 5.0 (5.0-5.0) | 0.30 |\n";
        assert!(tables.contains(row), "{tables}");
        assert_eq!(tables.matches("| from ").count(), 1, "{tables}");
        // One of the two is measured again, alone.
        report.add("hello-5", json!({}));
        assert!(!report.tables().contains("| from "));
    }

    #[test]
    fn tables_without_anything_to_tell_are_left_out() {
        let tables = report().tables();
        assert_eq!(tables.matches("\n**").count(), 1, "{tables}");
    }
}
