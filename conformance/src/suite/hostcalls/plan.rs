//! The rows and columns: which operations are played in which callbacks, and how.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::bootstrap::replaced;
use super::super::case::{Case, CaseFile};

/// Cases that share a process: each costs Envoy three VMs.
const CASES_MAX: usize = 64;

/// What is played.
pub(super) struct Plan {
    /// Versions of the ABI, with the probe of each.
    versions: BTreeMap<String, String>,
    rows: Vec<Row>,
    callbacks: Vec<Callback>,
    crashes: Vec<Cells>,
    differs: Vec<Cells>,
}

/// An operation of the probe.
struct Row {
    operation: String,
    /// None for all.
    versions: Option<Vec<String>>,
    /// In a callback of its own.
    alone: bool,
}

struct Callback {
    name: String,
    /// The case, with a place for operations in it.
    template: Value,
}

/// A case, and what is to be read in it.
pub(super) struct Play {
    pub(super) case: Case,
    pub(super) callback: String,
    pub(super) operations: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFile {
    versions: BTreeMap<String, String>,
    words: BTreeMap<String, Vec<String>>,
    together: Vec<Operation>,
    alone: Vec<Operation>,
    request: Map<String, Value>,
    callbacks: Vec<Map<String, Value>>,
    crashes: Vec<Cells>,
    differs: Vec<Cells>,
}

/// An operation of all versions, or of some.
#[derive(Deserialize)]
#[serde(untagged)]
enum Operation {
    Always(String),
    In(BTreeMap<String, Vec<String>>),
}

/// Some operations in some callbacks; none stand for all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cells {
    /// The row of `DIFFERENCES.md`.
    difference: String,
    #[serde(default)]
    operations: Vec<String>,
    #[serde(default)]
    callbacks: Vec<String>,
}

impl Cells {
    fn contain(&self, operation: &str, callback: &str) -> bool {
        let any = |names: &[String], name| names.is_empty() || names.iter().any(|n| n == name);
        any(&self.operations, operation) && any(&self.callbacks, callback)
    }
}

impl Plan {
    /// Reads a plan whose differences are `known`.
    ///
    /// # Errors
    ///
    /// Names what makes no sense.
    pub(super) fn load(file: &Path, known: impl Fn(&str) -> bool) -> Result<Self> {
        let place = || format!("in {}", file.display());
        let text = fs::read_to_string(file).with_context(place)?;
        let parsed: PlanFile = serde_saphyr::from_str(&text).with_context(place)?;
        let mut rows: Vec<Row> = Vec::new();
        for (operations, alone) in [(parsed.together, false), (parsed.alone, true)] {
            for operation in operations {
                let (operation, versions) = match operation {
                    Operation::Always(operation) => (operation, None),
                    Operation::In(map) => {
                        let mut map = map.into_iter();
                        let (operation, versions) = map.next().with_context(place)?;
                        (operation, Some(versions))
                    }
                };
                for operation in expanded(&operation, &parsed.words) {
                    ensure!(
                        rows.iter().all(|row| row.operation != operation),
                        "{}: `{operation}` stands there twice",
                        file.display()
                    );
                    rows.push(Row {
                        operation,
                        versions: versions.clone(),
                        alone,
                    });
                }
            }
        }
        let mut callbacks = Vec::new();
        for mut template in parsed.callbacks {
            let name = template.get("name").and_then(Value::as_str);
            let name = name.with_context(place)?.to_owned();
            if !template.contains_key("downstream_protocol") {
                for (key, value) in &parsed.request {
                    template.entry(key).or_insert_with(|| value.clone());
                }
            }
            let template = Value::Object(template);
            callbacks.push(Callback { name, template });
        }
        let plan = Self {
            versions: parsed.versions,
            rows,
            callbacks,
            crashes: parsed.crashes,
            differs: parsed.differs,
        };
        for cells in plan.crashes.iter().chain(&plan.differs) {
            ensure!(
                known(&cells.difference),
                "{}: `{}` is not in DIFFERENCES.md",
                file.display(),
                cells.difference
            );
            for name in &cells.operations {
                let found = plan.rows.iter().any(|row| row.operation == *name);
                ensure!(found, "{}: there is no `{name}`", file.display());
            }
            for name in &cells.callbacks {
                let found = plan.callbacks.iter().any(|callback| callback.name == *name);
                ensure!(found, "{}: there is no `{name}`", file.display());
            }
        }
        Ok(plan)
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = &str> {
        self.versions.keys().map(String::as_str)
    }

    /// The operations that a version has, in their order.
    pub(super) fn operations(&self, version: &str) -> Vec<&str> {
        let rows = self.rows.iter().filter(|row| row.is_in(version));
        rows.map(|row| row.operation.as_str()).collect()
    }

    pub(super) fn callbacks(&self) -> Vec<&str> {
        self.callbacks.iter().map(|c| c.name.as_str()).collect()
    }

    /// Whether Weir's status is another one on purpose.
    pub(super) fn differs(&self, operation: &str, callback: &str) -> bool {
        let mut cells = self.differs.iter().chain(&self.crashes);
        cells.any(|cells| cells.contain(operation, callback))
    }

    /// What is played in the callbacks that are `asked` for, by process; with
    /// `spare`, without what ends Envoy.
    ///
    /// # Errors
    ///
    /// If a callback is no case.
    pub(super) fn processes(
        &self,
        version: &str,
        asked: impl Fn(&str) -> bool,
        spare: bool,
    ) -> Result<Vec<Vec<Play>>> {
        let (mut plays, mut last) = (Vec::new(), Vec::new());
        for column in self.callbacks.iter().filter(|c| asked(&c.name)) {
            let rows = self.rows.iter().filter(|row| row.is_in(version));
            let rows = rows.filter(|row| {
                let mut crashes = self.crashes.iter();
                !spare || !crashes.any(|cells| cells.contain(&row.operation, &column.name))
            });
            let (alone, together): (Vec<&Row>, Vec<&Row>) = rows.partition(|row| row.alone);
            let alone = alone.into_iter().map(|row| vec![row]);
            for rows in std::iter::once(together).chain(alone) {
                let play = column.play(&rows, &self.versions[version])?;
                // What is read when the proxy ends must be of that time alone.
                let of = if play.case.terminate {
                    &mut last
                } else {
                    &mut plays
                };
                of.push(play);
            }
        }
        let mut processes = Vec::new();
        for mut plays in [plays, last] {
            while !plays.is_empty() {
                let rest = plays.split_off(plays.len().min(CASES_MAX));
                processes.push(std::mem::replace(&mut plays, rest));
            }
        }
        Ok(processes)
    }
}

impl Row {
    fn is_in(&self, version: &str) -> bool {
        let versions = self.versions.as_ref();
        versions.is_none_or(|versions| versions.iter().any(|v| v == version))
    }
}

impl Callback {
    fn play(&self, rows: &[&Row], module: &str) -> Result<Play> {
        let operations: Vec<String> = rows.iter().map(|row| row.operation.clone()).collect();
        let template = replaced(&self.template, "{operations}", &operations.join(" ; "));
        let file: CaseFile =
            serde_json::from_value(template).with_context(|| format!("callback {}", self.name))?;
        let mut case = Case::new(file)?;
        if let [
            Row {
                alone: true,
                operation,
                ..
            },
        ] = rows
        {
            case.name = format!("{}.{}", case.name, operation.replace(' ', "-"));
        }
        for filter in &mut case.filters {
            filter.module = Some(module.to_owned());
        }
        Ok(Play {
            case,
            callback: self.name.clone(),
            operations,
        })
    }
}

/// An operation for each meaning of the word in it.
fn expanded(operation: &str, words: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    for (word, meanings) in words {
        let word = format!("{{{word}}}");
        if operation.contains(&word) {
            let meanings = meanings.iter();
            return meanings.map(|by| operation.replace(&word, by)).collect();
        }
    }
    vec![operation.to_owned()]
}
